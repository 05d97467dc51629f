"""The files of indexes: a folder a mailbox, a file a block; made from mail, and made again where they are gone."""

from __future__ import annotations

import hashlib
import os
import shutil
from array import array
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from twisted_mail_kit.imap.index.block import Block

UNUSED = 30 * 86_400
"""Seconds after which the index of a mailbox that nobody has searched in is removed."""
_SPARE = 10
"""Nothing is written where less than one in so many of the disk's octets is free."""
_ENDING, _PART = ".block", ".part"
_HOUR = 3600.0


class NoRoom(OSError):
    """The disk is nearly full: what is left is for mail."""


class Shelf:
    """The blocks of one mailbox. All methods wait for the disk, some only a moment."""

    def __init__(self, root: Path, identity: bytes) -> None:
        self.folder = root / hashlib.sha256(identity).hexdigest()[:40]
        self.identity = identity

    def changed(self) -> int:
        """Another number than before where files may have come or gone."""
        try:
            return self.folder.stat().st_mtime_ns
        except OSError:
            return 0

    def names(self) -> list[str]:
        """Of all blocks, in order."""
        try:
            return sorted(one.name for one in self.folder.iterdir() if one.suffix == _ENDING)
        except OSError:
            return []

    def read(self, name: str) -> Block:
        """One of them. Raises Damaged, OSError."""
        return Block(self.folder / name, self.identity)

    def write(self, uids: array[int], pieces: Iterable[bytes]) -> str:
        """A new block: whole, or not there. It is not synced: what a power cut takes is made again. Answers its name.
        Raises OSError."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        disk = os.statvfs(self.folder)
        if disk.f_bavail * _SPARE < disk.f_blocks:
            raise NoRoom(f"{self.folder}: less than a tenth of the disk is free")
        # Of the same messages two processes make the same file.
        name = f"{min(uids):010}-{max(uids):010}-{crc32(uids.tobytes()):08x}{_ENDING}"
        part = self.folder / f"{name}.{os.getpid()}{_PART}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
            part.replace(self.folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return name

    def remove(self, name: str) -> None:
        """Nobody needs it any more."""
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError:
            pass  # not ours to remove: it is passed over another time

    def touch(self) -> None:
        """It is in use."""
        try:
            os.utime(self.folder)
        except OSError:
            pass  # not there


def sweep(root: Path, most: int, now: float) -> int:
    """Remove the indexes that nobody has used for long, and, while all of them have more than `most` octets, those used
    last before the others. Answers how many. Waits for the disk."""
    folders = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.stat(follow_symlinks=False).st_mtime, entry.path, _size(entry.path, now)))
    except OSError:
        return 0
    held, removed = sum(size for _, _, size in folders), 0
    for used, path, size in sorted(folders):
        if held <= most and now - used < UNUSED:
            break
        shutil.rmtree(path, ignore_errors=True)
        held -= size
        removed += 1
    return removed


def _size(folder: str, now: float) -> int:
    """Octets of its files, without those that somebody who died has left half written."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if entry.name.endswith(_PART) and now - found.st_mtime > _HOUR:
                    Path(entry).unlink(missing_ok=True)
                else:
                    total += found.st_size
    except OSError:
        pass  # somebody else removes it just now
    return total
