"""Killed at any moment, the store keeps what it has acknowledged."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from twisted_mail_kit.stores.sqlite import SQLiteStore

CRASHER = Path(__file__).with_name("crasher.py")


def start(root: Path, account: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(CRASHER), str(root), account], stdout=subprocess.PIPE, text=True)


def kill_later(child: subprocess.Popen[str], seconds: float) -> list[list[str]]:
    """What it had acknowledged, some time after its first word."""
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.wait()
    lines = (first + rest).split("\n")
    return [line.split() for line in lines[:-1]]  # the last one may be cut


def check_index(root: Path) -> None:
    """The counters say what the rows say."""
    connection = sqlite3.connect(root / "index.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for box, total, size, uidnext, modseq in connection.execute(
        "SELECT id, total, size, uidnext, modseq FROM mailboxes"
    ):
        row = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(max(id), 0), coalesce(max(modseq), 0)"
            " FROM messages WHERE id >> 32 = ?",
            (box,),
        ).fetchone()
        assert row[:2] == (total, size)
        assert row[2] & 0xFFFFFFFF < uidnext
        assert row[3] <= modseq
    wrong = connection.execute(
        "SELECT count(*) FROM (SELECT blob_id, account, count(*) AS n FROM messages GROUP BY blob_id, account)"
    ).fetchone()[0]
    assert wrong == connection.execute("SELECT count(*) FROM blobs WHERE refs > 0").fetchone()[0]
    connection.close()


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    chance = random.Random(8)
    hashes: dict[int, str] = {}
    seen: set[int] = set()
    gone: set[int] = set()
    root = tmp_path / "store"
    for number in range(20):
        lines = await deferToThread(kill_later, start(root, "alice"), chance.random() * 0.15)
        for what, uid, *more in lines:
            if what == "added":
                assert int(uid) not in hashes, "a UID was used twice"
                hashes[int(uid)] = more[0]
            else:
                (seen if what == "seen" else gone).add(int(uid))
        if number % 5 == 4:
            await check(root, hashes, seen, gone)
    assert len(hashes) > 100


async def check(root: Path, hashes: dict[int, str], seen: set[int], gone: set[int]) -> None:
    store = SQLiteStore(root, reactor)
    try:
        account = await store.open_account("alice")
        box = (await account.mailboxes())[0]
        there = {row.uid: row for row in await account.messages(box.id, limit=1_000_000)}
        for uid in hashes:
            # The kill may have come between a removal and its acknowledgement.
            assert uid in there or uid % 5 == 0
        for uid, row in there.items():
            octets = await account.read_blob(row.blob_id, 0, row.size)
            if uid in hashes:
                assert hashlib.sha256(octets).hexdigest() == hashes[uid]
        assert not gone & there.keys()
        assert all({r"\Seen", "$Kept"} <= there[uid].flags for uid in seen & there.keys())
    finally:
        await store.close()
    await deferToThread(check_index, root)


async def test_two_processes_write_to_one_directory(tmp_path: Path) -> None:
    root = tmp_path / "store"
    children = [start(root, "alice"), start(root, "alice")]
    store = SQLiteStore(root, reactor)
    heard: list[int] = []
    try:
        unwatch = store.watch_changes(lambda name, modseq: heard.append(modseq))
        both = [deferToThread(kill_later, child, 1.3) for child in children]
        acknowledged = [await lines for lines in both]
        unwatch()
    finally:
        await store.close()
    hashes: dict[int, str] = {}
    for lines in acknowledged:
        added = {int(uid): more[0] for what, uid, *more in lines if what == "added"}
        assert added, "one of the two could not write"
        assert not added.keys() & hashes.keys(), "two got the same UID"
        hashes.update(added)
    assert heard == sorted(heard) and heard, "the watcher heard nothing of the others"
    await check(root, hashes, set(), set())
