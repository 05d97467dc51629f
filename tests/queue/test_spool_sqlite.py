"""The bundled spool's own: its directory, what is damaged in it, a disk that fails, processes that share it."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from twisted_mail_kit.errors import BlobNotFound, ConfigurationError, OverQuota, Unavailable
from twisted_mail_kit.mail.outcome import Delayed
from twisted_mail_kit.mail.queued import TraceEvent
from twisted_mail_kit.queue.sqlite import SpoolSettings, SQLiteSpool
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.testing.contracts.spool_bench import (
    BODY,
    NOW,
    lease,
    put,
    put_blob,
    queued,
    recipient_of,
    said,
    settle,
)

LARGE = b"0123456789" * 20_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "queue"


def open_spool(root: Path, **more: Any) -> SQLiteSpool:
    return SQLiteSpool(root, reactor, **more)


def spoil(root: Path, sql: str, *values: object) -> None:
    """Change the database behind the spool's back."""
    connection = sqlite3.connect(root / "queue.sqlite", isolation_level=None)
    assert connection.execute(sql, values).rowcount
    connection.close()


def large_files(root: Path) -> list[Path]:
    return sorted((root / "large").rglob("*.blob"))


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when it is so."""
    for _ in range(1000):
        if await condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("not within ten seconds")


# --- the directory ---------------------------------------------------------------------------------------------------


async def test_nobody_else_may_look_into_it(root: Path) -> None:
    spool = open_spool(root)
    await put(spool, "m1", "a.example", octets=LARGE)
    assert root.stat().st_mode & 0o777 == 0o700
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) >= 3 and {path.stat().st_mode & 0o077 for path in files} == {0}
    await spool.close()


async def test_another_programs_directory_is_left_alone(root: Path) -> None:
    root.mkdir()
    (root / "letters.txt").write_text("x")
    with pytest.raises(ConfigurationError, match=r"letters\.txt"):
        open_spool(root)
    assert [path.name for path in root.iterdir()] == ["letters.txt"]


async def test_a_newer_format_and_another_programs_database_are_refused(root: Path) -> None:
    await open_spool(root).close()
    spoil_version = sqlite3.connect(root / "queue.sqlite")
    spoil_version.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigurationError, match="format 2 is newer"):
        open_spool(root)
    spoil_version.execute("PRAGMA user_version = 1")
    spoil_version.execute("PRAGMA application_id = 7")
    spoil_version.close()
    with pytest.raises(ConfigurationError, match="another program"):
        open_spool(root)


async def test_what_is_no_database_is_refused(root: Path) -> None:
    root.mkdir()
    (root / "queue.sqlite").write_bytes(b"no database at all" * 1000)
    with pytest.raises(ConfigurationError):
        open_spool(root)


async def test_a_closed_spool_says_so(root: Path) -> None:
    spool = open_spool(root)
    await spool.close()
    await spool.close()
    for begun in (spool.next_due(), spool.messages(), spool.renew("one", NOW), spool.lease("one", NOW, NOW + 1)):
        with pytest.raises(Unavailable):
            await begun


# --- what is damaged -------------------------------------------------------------------------------------------------


async def test_an_envelope_that_cannot_be_read_is_held_aside_and_the_others_go_on(root: Path) -> None:
    spool = open_spool(root)
    for number, text in enumerate(["{", "[]", '{"v":1}', '{"v":9,"peer":{"host":""}}', None]):
        await put(spool, f"m{number}", "a.example", "b.example")
        if text is not None:
            spoil(root, "UPDATE messages SET envelope = ? WHERE id = ?", text, f"m{number}")
    assert sorted(said(await lease(spool))) == [("m4", "a.example", (0,)), ("m4", "b.example", (1,))]
    assert await spool.next_due() == NOW + 60
    for number in range(4):
        waits = await recipient_of(spool, f"m{number}")
        assert waits.is_held and isinstance(waits.last, Delayed) and "cannot be read" in waits.last.status.text
        (line,) = await spool.trace(f"m{number}")
        assert line.event == "held" and f"m{number}" in line.text
    waits = await recipient_of(spool, "m3")
    assert waits.last is not None and "version 9 is newer" in waits.last.status.text
    # Released, it is held again; removed, it is gone.
    assert await spool.change("m0", is_held=False) == 2
    assert not await lease(spool)
    assert (await recipient_of(spool, "m0")).is_held
    assert await spool.remove("m0") == 2
    assert sorted(await queued(spool)) == ["m1", "m2", "m3", "m4"]
    await spool.close()


@pytest.mark.parametrize(
    "damage",
    [
        "recipient = 'x'",
        'recipient = \'{"v":1,"to":[1,2]}\'',
        "recipient = x'00ff'",
        'last = \'[1,"?","","",0,""]\'',
        "next_try = 'tomorrow'",
        "attempts = 'many'",
    ],
)
async def test_a_recipient_that_cannot_be_read_is_held_aside_alone(root: Path, damage: str) -> None:
    spool = open_spool(root)
    await put(spool, "m1", "a.example", "a.example", "a.example")
    spoil(root, f"UPDATE recipients SET {damage} WHERE number = 1")
    assert said(await lease(spool)) == [("m1", "a.example", (0, 2))]
    waits = await recipient_of(spool, "m1", 1)
    assert waits.is_held and waits.last is not None
    await spool.close()


async def test_recipients_without_a_message_stop_nobody(root: Path) -> None:
    spool = open_spool(root)
    await put(spool, "m1", "a.example")
    await put(spool, "m2", "a.example")
    spoil(root, "DELETE FROM messages WHERE id = 'm1'")
    assert said(await lease(spool)) == [("m2", "a.example", (0,))]
    assert await spool.remove("m1") == 1
    await spool.close()


@pytest.mark.parametrize("octets", [BODY, LARGE])
async def test_octets_that_are_not_what_was_written_are_held_aside(root: Path, octets: bytes) -> None:
    spool = open_spool(root)
    message, other = await put(spool, "m1", "a.example", octets=octets), await put(spool, "m2", "a.example")
    leases = await lease(spool)
    if octets is BODY:
        spoil(root, "UPDATE blobs SET octets = zeroblob(size) WHERE id = (SELECT blob FROM messages WHERE id = 'm1')")
    else:
        with large_files(root)[0].open("r+b") as file:
            file.seek(100_000)
            file.write(b"!")
    with pytest.raises(Unavailable, match="checksum"):
        await spool.read_blob(message.blob_id, 0, 10)
    await settle(spool, leases, next_try=NOW + 1)
    assert (await recipient_of(spool, "m1")).is_held
    assert "checksum" in (await spool.trace("m1"))[0].text
    assert not (await recipient_of(spool, "m2")).is_held
    assert await spool.read_blob(other.blob_id, 0, 99) == BODY
    await spool.close()


@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_a_file_that_was_cut_off_or_lost_is_held_aside(root: Path, size: int) -> None:
    spool = open_spool(root)
    message = await put(spool, "m1", "a.example", octets=LARGE)
    (file,) = large_files(root)
    if size:
        os.truncate(file, size)
    else:
        file.unlink()
    with pytest.raises(Unavailable if size else BlobNotFound):
        await spool.read_blob(message.blob_id, 0, 10)
    assert (await recipient_of(spool, "m1")).is_held
    assert await spool.remove("m1") == 1
    await spool.close()


# --- octets ----------------------------------------------------------------------------------------------------------


async def test_large_octets_have_a_file_which_goes_with_the_message(root: Path) -> None:
    spool = open_spool(root)
    await put(spool, "m1", "a.example", "b.example", octets=LARGE)
    await put(spool, "m2", "a.example")
    assert len(large_files(root)) == 1
    for taken in [one for one in await lease(spool) if one.message.id == "m1"]:
        assert large_files(root)
        await settle(spool, [taken])
    assert not large_files(root)
    assert await queued(spool) == {"m2": [0]}
    await spool.close()


async def test_orphans_are_removed_at_start_and_what_is_being_written_is_not(root: Path) -> None:
    spool = open_spool(root)
    kept = await put(spool, "m1", "a.example", octets=LARGE)
    (file,) = large_files(root)
    # As a process leaves it that was killed: an unknown blob of a run whose lock nobody holds.
    orphan = file.with_name(f"{0x7F00000000 | int(file.stem, 16) & 0xFF:x}.blob")
    orphan.write_bytes(b"x")
    (root / "runs" / "0000007f.lock").write_bytes(b"")
    writing = spool.new_blob(len(LARGE))
    await writing.write(LARGE * 6)
    finished = await put_blob(spool, LARGE)
    assert len(large_files(root)) == 4
    other = open_spool(root)
    await put(other, "m2", "a.example", octets=LARGE)  # the first round of housekeeping is over soon
    await soon(lambda: succeed(not orphan.exists()))
    assert len(large_files(root)) == 4
    assert not (root / "runs" / "0000007f.lock").exists()
    assert await spool.read_blob(kept.blob_id, 0, 10) == await spool.read_blob(finished, 0, 10) == LARGE[:10]
    await spool.close()
    await other.close()
    assert not list((root / "runs").iterdir())


async def test_old_timelines_are_forgotten(root: Path) -> None:
    spool = open_spool(root)
    now = reactor.seconds()
    old = [TraceEvent("m1", now - 8 * 86400, "queued", "", "", str(number)) for number in range(2500)]
    await spool.record([*old, TraceEvent("m1", now - 6 * 86400, "delivered", "", "", "")])
    await spool.close()
    spool = open_spool(root)

    async def are_few() -> bool:
        return len(await spool.trace("m1")) == 1

    await soon(are_few)
    assert [line.event for line in await spool.trace("m1")] == ["delivered"]
    await spool.close()


# --- a disk that fails -----------------------------------------------------------------------------------------------


class FailingFiles(Files):
    """Raises what it is told to."""

    writing: int = 0
    syncing: int = 0

    def write(self, fd: int, octets: bytes | memoryview, offset: int) -> int:
        if self.writing:
            raise OSError(self.writing, "told to")
        return super().write(fd, octets, offset)

    def sync(self, fd: int) -> None:
        if self.syncing:
            raise OSError(self.syncing, "told to")
        super().sync(fd)


async def test_a_full_disk_refuses_a_large_message_and_takes_the_next(root: Path) -> None:
    files = FailingFiles()
    spool = open_spool(root, files=files)
    for number, wanted in ((errno.ENOSPC, OverQuota), (errno.EIO, Unavailable)):
        files.writing = number
        with pytest.raises(wanted):
            await put(spool, "m1", "a.example", octets=LARGE)
    files.writing = 0
    assert not large_files(root)
    await put(spool, "m1", "a.example", octets=LARGE)
    assert await queued(spool) == {"m1": [0]}
    await spool.close()


async def test_after_a_failed_sync_nothing_is_taken_until_it_is_opened_again(root: Path) -> None:
    files = FailingFiles()
    spool = open_spool(root, files=files)
    await put(spool, "m0", "a.example")
    files.syncing = errno.EIO
    with pytest.raises(Unavailable):
        await put(spool, "m1", "a.example", octets=LARGE)
    files.syncing = 0
    with pytest.raises(Unavailable, match="read-only"):
        await put(spool, "m2", "a.example")
    assert await queued(spool) == {"m0": [0]}
    await spool.close()
    spool = open_spool(root, files=files)
    await put(spool, "m1", "a.example", octets=LARGE)
    await spool.close()


async def test_a_full_database_refuses_and_takes_again_when_there_is_room(root: Path) -> None:
    spool = open_spool(root)
    await put(spool, "m0", "a.example")
    await spool._writer.submit(lambda batch: None)
    pages = spool._batch.connection.execute("PRAGMA page_count").fetchone()[0]
    spool._batch.connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    with pytest.raises(OverQuota):
        await put(spool, "m1", "a.example", octets=b"x" * 60_000)
    assert await queued(spool) == {"m0": [0]}
    spool._batch.connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    await put(spool, "m1", "a.example", octets=b"x" * 60_000)
    assert await queued(spool) == {"m0": [0], "m1": [0]}
    await spool.close()


async def test_a_database_that_somebody_else_locks_is_unavailable_for_a_while(root: Path) -> None:
    spool = open_spool(root, settings=SpoolSettings(lock_timeout=0.05))
    await put(spool, "m0", "a.example")
    other = sqlite3.connect(root / "queue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await put(spool, "m1", "a.example")
    assert await queued(spool) == {"m0": [0]}
    other.execute("ROLLBACK")
    other.close()
    await put(spool, "m1", "a.example")
    assert sorted(await queued(spool)) == ["m0", "m1"]
    await spool.close()


async def test_a_request_that_cannot_be_done_spoils_nobody_elses(root: Path) -> None:
    spool = open_spool(root)
    begun: list[Deferred[Any]] = [Deferred.fromCoroutine(put(spool, f"m{number}", "a.example")) for number in range(5)]
    wrong = [Deferred.fromCoroutine(put(spool, f"w{number}", "\ud800.example")) for number in range(2)]
    begun += [Deferred.fromCoroutine(put(spool, f"n{number}", "a.example")) for number in range(5)]
    await gatherResults(begun)
    for one in wrong:
        with pytest.raises(UnicodeEncodeError):
            await one
    assert len(await queued(spool)) == 10
    await spool.close()


# --- processes -------------------------------------------------------------------------------------------------------


async def test_of_two_processes_each_recipient_is_tried_by_one(root: Path) -> None:
    spool = open_spool(root)
    expected = set()
    for number in range(150):
        message_id = f"m{number:03}"
        await put(spool, message_id, "a.example", f"d{number % 7}.example", next_try=0.5, octets=message_id.encode())
        expected |= {(message_id, "0"), (message_id, "1")}

    def share() -> list[list[tuple[str, ...]]]:
        leaser = Path(__file__).with_name("leaser.py")
        both = [
            subprocess.Popen(
                [sys.executable, leaser, root, owner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for owner in ("one", "two")
        ]
        for process in both:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in both:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        tried = [process.communicate(timeout=60)[0].splitlines() for process in both]
        assert [process.returncode for process in both] == [0, 0]
        return [[tuple(line.split()) for line in lines] for lines in tried]

    one, two = await deferToThread(share)
    assert one and two, "one of them has done all of it"
    assert len(one) + len(two) == 300 and set(one) | set(two) == expected
    assert await queued(spool) == {}
    await spool.close()


async def test_a_queue_for_dead_hosts_does_not_hold_up_the_living(root: Path) -> None:
    spool = open_spool(root)
    for number in range(20):
        await put(spool, f"m{number:02}", *(f"dead{place}.example" for place in range(1000)), next_try=NOW)
    dead = [f"dead{place}.example" for place in range(1000)]
    await put(spool, "n1", "live.example", next_try=NOW + 1)
    begun = reactor.seconds()
    assert said(await lease(spool, now=NOW + 1, busy=dead)) == [("n1", "live.example", (0,))]
    for _ in range(9):
        await lease(spool, now=NOW + 1, busy=dead)
    assert (reactor.seconds() - begun) / 10 < 0.1
    # Not busy: in turn, so the living one is among the first thousand and one.
    await put(spool, "n2", "live.example", next_try=NOW + 2)
    served = 0
    while "live.example" not in {one[1] for one in said(await lease(spool, now=NOW + 2, limit=100))}:
        served += 100
    assert served <= 1000
    await spool.close()
