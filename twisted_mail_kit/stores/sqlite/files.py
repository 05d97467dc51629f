"""The file functions that the store stands on: one small seam, where tests let a disk fail or lose its power."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

PART = ".part"
"""What a file is called in addition until it is whole."""
PIECE = 1 << 20
"""Octets that are copied at once."""
TOGETHER = 1000
"""Pieces that are written with one call; the system takes 1,024."""
SECTORS = 4096
"""Octets that are given up together where the disk cannot read them."""


class Files:
    """The operating system's files, by descriptor. Every method raises OSError."""

    def __init__(self) -> None:
        self._durable: set[Path] = set()
        """Directories whose names this process has synced."""

    def create(self, path: Path) -> int:
        """A new file, for reading and writing, which nobody else may read."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """An existing file, for reading. A pipe in its place is not waited for: reading from it fails."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def reopen(self, path: Path) -> int:
        """A file to go on writing to, for reading too; made where it is missing."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self, fd: int) -> None:
        """Let go of it; says nothing about what is on the disk."""
        os.close(fd)

    def write(self, fd: int, octets: bytes | memoryview, offset: int) -> int:
        """Write some of the octets; answers how many."""
        return os.pwrite(fd, octets, offset)

    def write_together(self, fd: int, pieces: Sequence[bytes], offset: int) -> int:
        """Write some of the octets of these pieces, 1,000 at most, one behind the other; answers how many octets."""
        return os.pwritev(fd, pieces, offset)

    def sync(self, fd: int) -> None:
        """Return when all that was written to the file would survive a power cut."""
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory would survive a power cut."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """At most `size` octets."""
        return os.pread(fd, size, offset)

    def read_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        """`size` octets where they are in memory already, or None: the disk would have to be waited for."""
        buffer = bytearray(size)
        try:
            got = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                return None
            raise
        return bytes(buffer) if got == size else None

    def cut(self, fd: int, size: int) -> None:
        """What is behind the first `size` octets is gone, or comes back after a power cut."""
        os.ftruncate(fd, size)

    def size(self, fd: int) -> int:
        """Octets in the file."""
        return os.fstat(fd).st_size

    def is_removed(self, fd: int) -> bool:
        """Nobody can open it any more: its room is given back when the last descriptor is closed."""
        return os.fstat(fd).st_nlink == 0

    def rename(self, path: Path, to: Path) -> None:
        """In the place of what had that name before; durable after `sync_directory`."""
        path.replace(to)

    def remove(self, path: Path) -> None:
        """The name is gone; whoever has the file open may go on reading."""
        path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        """Which nobody else may look into; its name is durable when this returns, whoever made it."""
        if path in self._durable:
            return
        # One that is there already may have been made by someone who died, or failed, before the sync.
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync_directory(path.parent)
        self._durable.add(path)

    def lock(self, fd: int, is_shared: bool = False) -> bool:
        """Take the file (or directory) until it is closed; False: another one has it."""
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, fd: int) -> None:
        """Others may have it, though it stays open."""
        fcntl.flock(fd, fcntl.LOCK_UN)


def write_all(files: Files, fd: int, octets: bytes, offset: int) -> None:
    """Write all of them, however few the disk takes at once."""
    done = files.write(fd, octets, offset)
    while done < len(octets):
        more = files.write(fd, memoryview(octets)[done:], offset + done)
        if more <= 0:
            raise OSError(errno.EIO, "the disk takes no more")
        done += more


def write_pieces(files: Files, fd: int, pieces: Sequence[bytes], offset: int) -> None:
    """As `write_all`, of octets in pieces that lie one behind the other in the file. They are not copied together."""
    for start in range(0, len(pieces), TOGETHER):
        some = pieces[start : start + TOGETHER]
        size = sum(map(len, some))
        done = files.write_together(fd, some, offset)
        if done < size:
            write_all(files, fd, b"".join(some)[done:], offset + done)
        offset += size


def read_all(files: Files, fd: int, size: int, offset: int) -> bytes:
    """`size` octets, fewer only at the end of the file."""
    octets = files.read(fd, size, offset)
    while octets and len(octets) < size:
        more = files.read(fd, size - len(octets), offset + len(octets))
        if not more:
            break
        octets += more
    return octets


def used_size(files: Files, fd: int, start: int = 0) -> int:
    """Octets in the file without the zeros at its end, or `start` where only zeros follow. Raises OSError."""
    end = files.size(fd)
    while end > start:
        at = max(start, end - PIECE)
        octets = read_all(files, fd, end - at, at).rstrip(b"\0")
        if octets:
            return at + len(octets)
        end = at
    return min(end, start)


def read_around(files: Files, fd: int, size: int, offset: int) -> bytes:
    """As `read_all`; what the disk cannot read becomes zeros, a few kilobytes around it. Raises no OSError."""
    try:
        return read_all(files, fd, size, offset)
    except OSError:
        pass
    pieces = []
    for at in range(offset, offset + size, SECTORS):
        wanted = min(SECTORS, offset + size - at)
        try:
            octets = read_all(files, fd, wanted, at)
        except OSError:
            octets = bytes(wanted)
        pieces.append(octets)
        if len(octets) < wanted:
            break
    return b"".join(pieces)


class OpenFile:
    """A descriptor that is closed when the last one who reads from it lets go."""

    __slots__ = ("fd", "files")

    def __init__(self, files: Files, fd: int) -> None:
        self.files = files
        self.fd = fd

    def __del__(self) -> None:
        self.files.close(self.fd)


def copy_file(source: Path, target: Path, files: Files) -> int:
    """A new file with the same octets, synced; answers how many. Raises OSError."""
    original = OpenFile(files, files.open(source))
    copy = OpenFile(files, files.create(target))
    at = 0
    while octets := read_all(files, original.fd, PIECE, at):
        write_all(files, copy.fd, octets, at)
        at += len(octets)
    files.sync(copy.fd)
    return at


def copy_into_place(source: Path, target: Path, files: Files, mode: int = 0o600) -> None:
    """`target` becomes a copy of `source`, whole and durable, or stays as it was. Raises OSError."""
    part = target.with_name(target.name + PART)
    part.unlink(missing_ok=True)
    copy_file(source, part, files)
    part.chmod(mode)
    part.replace(target)
    files.sync_directory(target.parent)


def write_saved(path: Path, octets: bytes) -> None:
    """Octets that were saved, in a file for a person to look at (0600), synced. Raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("wb") as file:
        path.chmod(0o600)
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


def is_full(error: OSError | sqlite3.Error) -> bool:
    """There is no room: it may come back, and nothing is broken."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
