"""Files that are there after a power cut, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted_mail_kit.errors import OverQuota, Unavailable

FULL = (errno.ENOSPC, errno.EDQUOT)
PIECE = 256 * 1024


@contextmanager
def troubles() -> Iterator[None]:
    """What the system says of files, in mail words: OverQuota, Unavailable."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = f"{where}{error.strerror or error}"
        raise (OverQuota if error.errno in FULL else Unavailable)(said) from error


class SyncFailed(OSError):
    """Nobody knows what the disk has of what was written before."""


def sync(number: int) -> None:
    """What was written to an open file, or directory, is durable. Raises SyncFailed."""
    try:
        os.fsync(number)
    except OSError as error:
        raise SyncFailed(error.errno, f"a sync failed: {error.strerror}") from error


class Files:
    """Makes files and directories of one account; where we run as root, they belong to whoever owns the account's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._owner: tuple[int, int] | None = None

    def own(self, path: Path | int) -> None:
        """Give it to the account's owner."""
        if os.geteuid() != 0:
            return
        if self._owner is None:
            there = next(one for one in (self.root, *self.root.parents) if one.exists()).stat()
            self._owner = there.st_uid, there.st_gid
        if self._owner != (0, 0):
            os.chown(path, *self._owner)

    def make_directory(self, path: Path) -> bool:
        """Make it, and those above it; says whether it was missing."""
        if path.is_dir():
            return False
        self.make_directory(path.parent)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        self.own(path)
        sync_directory(path.parent)
        return True

    def create(self, path: Path) -> int:
        """A new file, open for writing. Raises FileExistsError."""
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self.own(number)
        return number

    def replace(self, path: Path, octets: bytes, scratch: Path) -> None:
        """Put a whole file in the place of another: who looks sees the old one or the new one. `scratch` is a
        directory of the same file system, for what is half done."""
        half = scratch / f"mailkit-{os.getpid()}-{os.urandom(8).hex()}"
        number = self.create(half)
        try:
            try:
                write_all(number, octets)
                sync(number)
            finally:
                os.close(number)
            half.replace(path)
        except BaseException:
            half.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def write_all(number: int, octets: bytes | memoryview) -> None:
    """All of it, however little the system takes at once."""
    left = memoryview(octets)
    while left:
        left = left[os.write(number, left) :]


def sync_directory(path: Path) -> None:
    """Names that were changed in it are durable when this returns."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(number)
    finally:
        os.close(number)


def copy(source: Path, number: int) -> None:
    """Append a file's octets to an open one."""
    with source.open("rb", buffering=0) as octets:
        while piece := octets.read(PIECE):
            write_all(number, piece)


def signature(path: Path) -> str:
    """Another one for every file that was put here; empty where there is none."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return ""
    return f"{there.st_ino}.{there.st_size}.{there.st_mtime_ns}"


def touched(path: Path) -> int:
    """When names in that directory were changed last, in nanoseconds; 0: it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
