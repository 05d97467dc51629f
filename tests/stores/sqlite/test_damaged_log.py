"""SQLite's log of the index: what is torn is passed over, what is damaged is told, and what can be is saved."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.stores.sqlite import SQLiteStore, wal
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.repair import repair

from .conftest import add
from .filled import read_all

PAGE = 4096
FRAME = 24 + PAGE
MESSAGES = 12


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    return tmp_path / "killed"


async def kill(root: Path) -> dict:
    """A store whose process is gone in the middle of its work: its index is nearly all in the log."""
    store = SQLiteStore(root.with_name("alive"), reactor)
    chance = random.Random(1)
    kept = {}
    for name in ("alice", "bob"):
        account = await store.open_account(name, create=True)
        box = (await account.mailboxes())[0]
        for _ in range(MESSAGES):
            octets = chance.randbytes(500)
            kept[name, box.name, await add(account, box.id, octets)] = octets
    shutil.copytree(store.path, root)
    await store.close()
    return kept


def octets_of(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def flip(path: Path, at: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 0x10
    path.write_bytes(octets)


def frame(number: int, at: int) -> int:
    return 32 + number * FRAME + at


PLACES = {
    "the magic": 1,
    "the page size": 10,
    "the salt": 17,
    "the checksum": 27,
    "a page's number": frame(20, 3),
    "a frame's salt": frame(20, 9),
    "a frame's checksum": frame(20, 18),
    "a page": frame(20, 24 + 2000),
    "the first page": frame(0, 24 + 50),
}


@pytest.mark.parametrize("place", PLACES)
async def test_damage_before_later_commits_is_told_and_repaired(killed: Path, place: str) -> None:
    kept = await kill(killed)
    log = killed / "index.sqlite-wal"
    flip(log, PLACES[place])
    before = octets_of(killed)
    for _ in range(2):
        with pytest.raises(
            ConfigurationError, match=r"index\.sqlite-wal: is damaged at octet \d+, and \d+ commits.*fsck"
        ):
            SQLiteStore(killed, reactor)
    (problem,) = check(killed).problems
    assert str(log) in problem and "mailkit fsck --repair" in problem
    assert octets_of(killed) == before, "nothing is made worse"
    found = repair(killed)
    assert found.counts["problems left"] == 0
    assert check(killed).problems == ()
    store = SQLiteStore(killed, reactor)
    after, errors = await read_all(store)
    assert not errors
    assert after.items() <= kept.items()
    put_aside = {path.read_bytes() for path in (killed / "lost+found").glob("unknown-*.eml")}
    assert set(kept.values()) <= set(after.values()) | put_aside, "every message is in its mailbox, or was put aside"
    # No UID means another message than before.
    account = await store.open_account("alice", create=True)
    (box,) = await account.mailboxes()
    assert box.uidvalidity > 1_000_000
    await add(account, box.id, b"and on it goes")
    await store.close()


async def test_a_last_commit_that_is_torn_was_promised_to_nobody(killed: Path) -> None:
    await kill(killed)
    log = killed / "index.sqlite-wal"
    whole = log.read_bytes()
    for octets in (whole[:-1], whole[:-PAGE], whole[:-FRAME], whole + b"\0" * 5000, whole + whole[32 : 32 + FRAME]):
        log.write_bytes(octets)
        assert wal.damage(killed / "index.sqlite") == ""
    log.write_bytes(whole[:-1])
    assert check(killed).problems == ()
    store = SQLiteStore(killed, reactor)
    _, errors = await read_all(store)
    assert not errors
    await store.close()


async def test_messages_of_which_only_the_octets_are_left_are_put_aside(killed: Path) -> None:
    kept = await kill(killed)
    log = killed / "index.sqlite-wal"
    octets = bytearray(log.read_bytes())
    for number in range(30, len(octets) // FRAME - 8):  # a stretch of the disk is gone
        octets[frame(number, 30) : frame(number, 30) + 64] = os.urandom(64)
    log.write_bytes(octets)
    with pytest.raises(ConfigurationError, match="fsck --repair"):
        SQLiteStore(killed, reactor)
    repair(killed)
    store = SQLiteStore(killed, reactor)
    after, _ = await read_all(store)
    put_aside = {path.read_bytes() for path in (killed / "lost+found").glob("unknown-*.eml")}
    assert set(kept.values()) <= set(after.values()) | put_aside
    (copy,) = (killed / "lost+found").glob("index-*")
    assert (copy / "index.sqlite-wal").read_bytes() == octets
    await store.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "one", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE one (number INTEGER PRIMARY KEY, octets)")
    yield connection
    connection.close()


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
def test_the_log_is_read_as_sqlite_reads_it(tmp_path: Path, page_size: int) -> None:
    connection = sqlite3.connect(tmp_path / "two", isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE one (octets)")
    for _ in range(20):
        connection.execute("INSERT INTO one VALUES (?)", (os.urandom(3000),))
    log = wal.read_log(tmp_path / "two-wal")
    assert log is not None and log.page_size == page_size
    assert log.taken == len(log.frames) and log.dropped == 0
    shutil.copy(tmp_path / "two", tmp_path / "three")
    assert wal.apply_log(tmp_path / "three", log, tmp_path / "two-wal") == len(log.frames)
    copy = sqlite3.connect(tmp_path / "three")
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert copy.execute("SELECT * FROM one").fetchall() == connection.execute("SELECT * FROM one").fetchall()
    copy.close()
    connection.close()


def test_what_an_earlier_log_has_left_behind_the_new_one_is_no_damage(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    for _ in range(50):
        database.execute("INSERT INTO one (octets) VALUES (?)", (os.urandom(3000),))
    database.execute("PRAGMA wal_checkpoint(FULL)")
    for count in range(5):
        database.execute("INSERT INTO one (octets) VALUES (?)", (b"%d" % count,))
        log = wal.read_log(tmp_path / "one-wal")
        assert log is not None and log.taken == len(log.frames) <= 10
        assert wal.damage(tmp_path / "one") == ""


def test_a_log_that_somebody_writes_to_is_never_taken_for_damaged(tmp_path: Path, database: sqlite3.Connection) -> None:
    is_over = threading.Event()

    def write() -> None:
        mine = sqlite3.connect(tmp_path / "one", isolation_level=None, timeout=10)
        mine.execute("PRAGMA wal_autocheckpoint = 20")
        mine.execute("PRAGMA synchronous = OFF")
        while not is_over.is_set():
            mine.execute("INSERT INTO one (octets) VALUES (?)", (b"x" * 3000,))
        mine.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert [wal.damage(tmp_path / "one") for _ in range(100)] == [""] * 100
    finally:
        is_over.set()
        thread.join()
