"""Segments while they are written to: octets in pieces, and zeros ahead that are in nobody's way."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.logger import capturedLogs

from twisted_mail_kit.mail.operations import Add
from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore, rows
from twisted_mail_kit.stores.sqlite.files import TOGETHER, Files, used_size, write_pieces
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.salvage import salvage
from twisted_mail_kit.stores.sqlite.segments import HEADER_SIZE, ROOM

from .conftest import BadFiles, add, blob


def segment(root: Path) -> Path:
    (path,) = (root / "segments").iterdir()
    return path


def tail(root: Path, size: int) -> bytes:
    """What follows one message of that size."""
    return segment(root).read_bytes()[HEADER_SIZE + size :]


async def filled(root: Path, settings: SQLiteSettings | None = None, files: Files | None = None) -> SQLiteStore:
    """With one message of 500 octets."""
    store = SQLiteStore(root, reactor, settings, files)
    account = await store.open_account("joe", create=True)
    await add(account, (await account.mailboxes())[0].id, b"j" * 500)
    return store


async def test_zeros_are_ahead_while_it_is_written_to_and_gone_when_it_is_closed(tmp_path: Path) -> None:
    store = await filled(tmp_path / "store")
    assert tail(tmp_path / "store", 500) == ROOM
    account = await store.open_account("joe")
    size = segment(store.path).stat().st_size
    for number in range(20):
        await add(account, (await account.mailboxes())[0].id, b"%d" % number * 300)
    assert segment(store.path).stat().st_size == size
    await store.close()
    assert segment(store.path).stat().st_size < size - len(ROOM) // 2
    assert segment(store.path).read_bytes().rstrip(b"\0")[-1:] == b"9"
    assert check(store.path).problems == ()


async def test_there_are_none_behind_the_end_of_a_segment_or_many_octets(tmp_path: Path) -> None:
    store = await filled(tmp_path / "short", SQLiteSettings(segment_size=1000))
    assert tail(store.path, 500) == bytes(1000 - HEADER_SIZE - 500)
    await store.close()
    store = SQLiteStore(tmp_path / "many", reactor)
    account = await store.open_account("joe", create=True)
    await add(account, (await account.mailboxes())[0].id, b"m" * 100_000)
    assert tail(store.path, 100_000) == b""
    await store.close()


async def test_after_a_crash_zeros_are_not_told_and_all_else_is(tmp_path: Path) -> None:
    store = await filled(tmp_path / "store")
    for name, left in (("zeros", b""), ("torn", b"torn")):
        root = tmp_path / name
        shutil.copytree(store.path, root)  # as a crash would leave it
        octets = segment(root).read_bytes()
        segment(root).write_bytes(octets[: HEADER_SIZE + 500] + left + octets[HEADER_SIZE + 500 + len(left) :])
        with capturedLogs() as captured:
            await SQLiteStore(root, reactor).close()
        told = [event["octets"] for event in captured if "interrupted write" in event.get("log_format", "")]
        assert told == ([4] if left else [])
        found = salvage(root, tmp_path / f"{name} saved")
        assert found.counts["messages saved"] == 1
        assert len(found.problems) == (1 if left else 0)
    await store.close()


@pytest.mark.parametrize("failing", [errno.ENOSPC, errno.EIO])
async def test_where_they_cannot_be_written_the_message_is_there_all_the_same(
    tmp_path: Path, files: BadFiles, failing: int
) -> None:
    files.kind, files.errno = "write", failing
    store = SQLiteStore(tmp_path / "store", reactor, files=files)
    account = await store.open_account("joe", create=True)
    blob_id = await blob(account, b"j" * 500)
    # Four calls make the segment and write the message; the fifth writes zeros, of which half come to the disk.
    files.fail_at, files.failures = len(files.calls) + 4, 1
    await account.apply([Add((await account.mailboxes())[0].id, blob_id, 0)])
    assert files.failures == 0
    assert tail(store.path, 500) == b""
    await store.close()
    assert check(store.path).problems == ()


@pytest.mark.parametrize("short", [False, True])
async def test_octets_in_pieces_are_written_as_they_came(store: SQLiteStore, files: BadFiles, short: bool) -> None:
    files.short = short
    account = await store.open_account("joe", create=True)
    inbox = (await account.mailboxes())[0].id
    for size, pieces in ((900_000, 7), (30_000, 30), (5, 5), (0, 1), (40_000, 2)):
        octets = bytes(at % 251 for at in range(size))
        blob_id = await blob(account, octets, pieces) if size else await account.new_blob().commit()
        assert await account.read_blob(blob_id, 0, size + 1) == octets
        assert await account.read_blob(blob_id, size // 2, 10) == octets[size // 2 :][:10]
        await account.apply([Add(inbox, blob_id, 0)])
        assert await account.read_blob(blob_id, 0, size + 1) == octets
    assert (await store.check()).problems == ()


@pytest.mark.parametrize("short", [False, True])
def test_more_pieces_than_the_system_takes_at_once(tmp_path: Path, files: BadFiles, short: bool) -> None:
    files.short = short
    pieces = [b"%d," % number for number in range(2 * TOGETHER + 1)]
    fd = files.create(tmp_path / "file")
    write_pieces(files, fd, pieces, 3)
    files.close(fd)
    assert (tmp_path / "file").read_bytes() == b"\0\0\0" + b"".join(pieces)


@pytest.mark.parametrize("zeros", [0, 5, (1 << 20) - 3, (1 << 20) + 1, 3 << 20])
def test_the_size_without_zeros_at_the_end(tmp_path: Path, zeros: int) -> None:
    files = Files()
    (tmp_path / "file").write_bytes(b"\0\0abc" + bytes(zeros))
    fd = files.open(tmp_path / "file")
    assert [used_size(files, fd, start) for start in (0, 4)] == [5, 5]
    if zeros > 2:
        assert used_size(files, fd, 7) == 7
    assert used_size(files, fd, zeros + 9) == zeros + 5
    files.close(fd)


def test_tokens_of_later_messages_lie_behind_those_of_earlier_ones() -> None:
    keys = [rows.token_key(1, f"{new_trace_id(1_795_000_000 + number / 100)}:joe") for number in range(500)]
    assert keys == sorted(keys)
    assert len({*keys, *(rows.token_key(2, "a"), rows.token_key(1, "a"), rows.token_key(1, "a" * 100))}) == 503
    assert len(rows.token_key(1, "\udc80" * 50)) == 20
