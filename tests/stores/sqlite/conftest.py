"""A store in a fresh directory, and files that fail when they are told to."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from twisted_mail_kit.interfaces import IAccount
from twisted_mail_kit.mail.operations import Add
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.files import Files


class BadFiles(Files):
    """Counts the calls that write; from `fail_at` on, as many as `failures` go wrong.

    It remembers what was synced, so that a power cut can be played.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.fail_at = -1
        self.failures = 0
        self.kind = "write sync create sync_directory"
        self.errno = errno.ENOSPC
        self.short = False
        self.synced: dict[str, int] = {}

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failures and name in self.kind.split() and len(self.calls) > self.fail_at >= 0:
            self.failures -= 1
            raise OSError(self.errno, os.strerror(self.errno))

    def create(self, path: Path) -> int:
        self._called("create")
        fd = super().create(path)
        self.synced[str(path)] = 0
        return fd

    def write(self, fd: int, octets: bytes | memoryview, offset: int) -> int:
        try:
            self._called("write")
        except OSError:
            super().write(fd, memoryview(octets)[: len(octets) // 2], offset)
            raise
        if self.short and len(octets) > 1:
            octets = memoryview(octets)[: len(octets) // 2]
        return super().write(fd, octets, offset)

    def write_together(self, fd: int, pieces: Sequence[bytes], offset: int) -> int:
        return self.write(fd, b"".join(pieces), offset)

    def sync(self, fd: int) -> None:
        self._called("sync")
        super().sync(fd)
        self.synced[str(Path(f"/proc/self/fd/{fd}").readlink())] = os.fstat(fd).st_size

    def sync_directory(self, path: Path) -> None:
        self._called("sync_directory")
        super().sync_directory(path)

    def cut_power(self) -> None:
        """What was not synced is lost."""
        for path, size in self.synced.items():
            if path.endswith((".log", ".blob")) and Path(path).exists():
                os.truncate(path, size)


@pytest.fixture
def files() -> BadFiles:
    return BadFiles()


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path, files: BadFiles) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "store", reactor, files=files)
    yield store
    await store.close()


async def blob(account: IAccount, octets: bytes, pieces: int = 1) -> str:
    writer = account.new_blob()
    step = max(1, -(-len(octets) // pieces))
    for start in range(0, len(octets), step):
        await writer.write(octets[start : start + step])
    return await writer.commit()


async def add(account: IAccount, mailbox_id: str, octets: bytes) -> int:
    applied = await account.apply([Add(mailbox_id, await blob(account, octets), 0)])
    return applied.results[0].uid
