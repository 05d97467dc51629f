"""Reads the journal that the shim writes: each write, sync and change of a name below one directory, in order."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEAD = struct.Struct("<c7xQqII")

KINDS = {
    "O": "create",
    "W": "write",
    "T": "truncate",
    "B": "sync begins",
    "E": "sync ends",
    "F": "sync fails",
    "R": "rename",
    "L": "link",
    "U": "unlink",
    "D": "mkdir",
    "M": "says",
    "Z": "past the shim",
}


class Entry(NamedTuple):
    """One thing that was done."""

    kind: str
    """A key of `KINDS`."""
    inode: int
    at: int
    """Offset of a write, size of a truncate, number of a sync."""
    first: bytes
    """The octets of a write, the path of a name, the line that was said."""
    second: bytes
    """The new path of a rename."""

    def told(self, name: str) -> str:
        """In words, for a file of that name."""
        if self.kind == "W":
            return f"{KINDS[self.kind]} {name}: {len(self.first)} octets at {self.at}"
        if self.kind in "RLUDOZ":
            return f"{KINDS[self.kind]} {' -> '.join(os.fsdecode(path) for path in (self.first, self.second) if path)}"
        return f"{KINDS[self.kind]} {name} {self.at if self.kind in 'TBEF' else ''}"


def read_journal(path: Path) -> Iterator[Entry]:
    """All entries; one that was cut off at the end is none."""
    octets = memoryview(path.read_bytes())
    start = 0
    while start + HEAD.size <= len(octets):
        kind, inode, at, first, second = HEAD.unpack_from(octets, start)
        start += HEAD.size
        end = start + first + second
        if end > len(octets):
            return
        yield Entry(kind.decode(), inode, at, bytes(octets[start : start + first]), bytes(octets[start + first : end]))
        start = end
