"""A queue that is damaged: what can be sent stays, what cannot is put aside with a word about whose it was."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from twisted.logger import LogLevel, capturedLogs

from tests.damage.rooms import QUEUE, fill_queue, octets_of
from twisted_mail_kit.errors import ConfigurationError, MailError, Unavailable
from twisted_mail_kit.queue.sqlite import schema
from twisted_mail_kit.queue.sqlite.fsck import check
from twisted_mail_kit.queue.sqlite.repair import repair, salvage
from twisted_mail_kit.stores.sqlite import wal


async def waiting(root: Path) -> dict[str, bytes]:
    """Message id -> its octets, of those that can be read."""
    spool = QUEUE.open(root)
    found = {}
    for message, _ in await spool.messages():
        try:
            found[message.id] = await spool.read_blob(message.blob_id, 0, 1 << 20)
        except MailError:
            pass
    await spool.close()
    return found


BLOB = "(SELECT blob FROM messages WHERE id = 'm2')"
WHOLE = {"m1": b"one" * 100, "m2": b"two" * 100, "m3": b"x" * 400_000}


def change(root: Path, sql: str) -> None:
    with sqlite3.connect(root / schema.DATABASE) as connection:
        connection.execute(sql)
    connection.close()


async def test_a_sound_queue_has_no_problems_and_is_left_alone(tmp_path: Path) -> None:
    await fill_queue(tmp_path)
    before = octets_of(tmp_path)
    assert check(tmp_path).problems == ()
    assert check(tmp_path).counts == {"queued messages": 3, "queued recipients": 3}
    assert repair(tmp_path).problems == ()
    assert octets_of(tmp_path) == before


@pytest.mark.parametrize("which", ["in the database", "in its file", "its file is missing", "its file is cut"])
async def test_a_message_whose_octets_are_damaged_leaves_the_queue_and_is_told(tmp_path: Path, which: str) -> None:
    await fill_queue(tmp_path)
    (large,) = tmp_path.glob("large/*/*.blob")
    if which == "in the database":
        change(tmp_path, "UPDATE blobs SET octets = CAST('other' AS BLOB) WHERE id = " + BLOB)
    elif which == "in its file":
        octets = bytearray(large.read_bytes())
        octets[5000] ^= 1
        large.write_bytes(octets)
    elif which == "its file is missing":
        large.unlink()
    else:
        os.truncate(large, 1000)
    hurt = "m2" if which == "in the database" else "m3"
    (problem,) = check(tmp_path).problems
    assert f"queued message {hurt}" in problem and "mailkit fsck --repair" in problem
    found = repair(tmp_path)
    assert found.counts["problems left"] == 0
    (line,) = [line for line in found.problems if line.startswith("removed from the queue")]
    assert hurt in line and "ann@example.org" in line and "joe" in line
    assert check(tmp_path).problems == ()
    assert await waiting(tmp_path) == {id: octets for id, octets in WHOLE.items() if id != hurt}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM destinations",
        "UPDATE destinations SET due = 1e12",
        "DELETE FROM messages WHERE id = 'm2'",
        "DELETE FROM recipients WHERE message = 'm2'",
    ],
)
async def test_what_would_never_be_sent_is_found_and_mended(tmp_path: Path, sql: str) -> None:
    await fill_queue(tmp_path)
    change(tmp_path, sql)
    assert check(tmp_path).problems or "recipients" in sql
    found = repair(tmp_path)
    assert found.counts.get("problems left", 0) == 0
    assert await waiting(tmp_path) == {id: octets for id, octets in WHOLE.items() if id != "m2" or "m2" not in sql} or (
        "recipients" in sql
    )
    spool = QUEUE.open(tmp_path)
    assert await spool.next_due() == 9e9
    await spool.close()


async def test_every_kind_of_page_may_be_damaged(tmp_path: Path) -> None:
    """Each page of the database in turn: it is opened, or refused with its name; what is repaired can be sent."""
    sound = tmp_path / "sound"
    await fill_queue(sound)
    size = (sound / schema.DATABASE).stat().st_size
    lost = 0
    for page in range(size // 4096):
        root = tmp_path / str(page)
        shutil.copytree(sound, root)
        with (root / schema.DATABASE).open("r+b") as file:
            file.seek(page * 4096 + (100 if page == 0 else 0))
            file.write(os.urandom(64))
        before = octets_of(root)
        try:
            problems = check(root).problems
        except (Unavailable, ConfigurationError) as error:
            assert str(root / schema.DATABASE) in str(error)
            problems = (str(error),)
        assert octets_of(root) == before
        assert all(str(root) in line for line in problems)
        try:
            assert repair(root).counts.get("problems left", 0) == 0
        except (Unavailable, ConfigurationError) as error:
            assert str(root) in str(error)
            assert (root / schema.DATABASE).read_bytes() == before[schema.DATABASE][1]
            saved = salvage(root, tmp_path / f"saved-{page}")
            assert saved.counts["queued messages saved"] >= 1
            lost += 1
            continue
        found = await waiting(root)
        assert found.items() <= WHOLE.items()
        put_aside = {path.read_bytes() for path in (root / "lost+found").glob("*.eml")} if problems else set()
        assert len(found) + len(put_aside) >= 2, page
    assert lost <= 5, "the first page, and those of which all of a table hangs"


async def test_a_damaged_log_does_not_stop_the_server_and_is_kept_aside(tmp_path: Path) -> None:
    await fill_queue(tmp_path / "first")
    spool = QUEUE.open(tmp_path / "first")
    for number in range(20):
        await spool.change("m1", next_try=float(number))
    root = tmp_path / "queue"
    shutil.copytree(tmp_path / "first", root)
    await spool.close()
    log = wal.log_path(root / schema.DATABASE)
    octets = bytearray(log.read_bytes())
    octets[len(octets) // 2] ^= 1
    log.write_bytes(octets)
    (problem,) = check(root).problems
    assert str(log) in problem
    shutil.copytree(root, tmp_path / "repaired")
    with capturedLogs() as captured:
        assert (await waiting(root)).items() <= WHOLE.items()
    (critical,) = [event for event in captured if event["log_level"] is LogLevel.critical]
    assert (Path(critical["copy"]) / log.name).read_bytes() == octets
    assert check(root).problems == ()
    found = repair(tmp_path / "repaired")
    assert found.counts["problems left"] == 0
    assert await waiting(tmp_path / "repaired") == WHOLE


async def test_random_bits_never_make_another_message(tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    await fill_queue(sound)
    for seed in range(40):
        chance, root = random.Random(seed), tmp_path / str(seed)
        shutil.copytree(sound, root)
        octets = bytearray((root / schema.DATABASE).read_bytes())
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
        (root / schema.DATABASE).write_bytes(octets)
        try:
            assert set((await waiting(root)).values()) <= set(WHOLE.values())
            repair(root)
        except MailError as error:
            assert str(root) in str(error)
            continue
        assert set((await waiting(root)).values()) <= set(WHOLE.values())
        shutil.rmtree(root)
