"""A block of an index: what a thousand rows of words have in them, turned so that one word is looked up in few octets.

Its form: a head, tables (UIDs, marks, owners of the rows), then for every number that three letters can be a slice with
a bit for each row; eight slices make a page, and each page has its checksum. A block never changes.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from struct import Struct
from zlib import crc32

from twisted_mail_kit.imap.index.codes import SLOTS
from twisted_mail_kit.imap.index.tail import Tail

_HEAD = Struct("<4s16sIIII")
# magic, whose index it is, messages, rows, octets of a slice; checksum of all that and of the tables
_MAGIC = b"TMK1"
_SLICES = 8
"""In a page."""
_PAGES = SLOTS // _SLICES
_CHECKSUM = 4
_PIECE = 64
"""Pages that are made in one go: a millisecond or two."""
_LARGEST = 64 * 1024
"""Messages, or rows, of a block that is believed."""
_IS_BIG_ENDIAN = sys.byteorder == "big"


class Damaged(Exception):
    """It is no block, not this index's, or not whole."""


def pack(tail: Tail, identity: bytes) -> Iterator[bytes]:
    """A block of what the tail has now, in pieces."""
    width = len(tail.groups)
    tables = b"".join(map(_packed, (tail.uids, tail.marks, tail.owners)))
    head = (_MAGIC, identity, len(tail.uids), len(tail.owners), width)
    checksum = crc32(tables, crc32(_HEAD.pack(*head, 0)))
    yield _HEAD.pack(*head, checksum) + tables
    octets = b"".join(tail.groups)
    for start in range(0, _PAGES, _PIECE):
        pages: list[bytes] = []
        for number in range(start, start + _PIECE):
            page = b"".join([octets[slot::SLOTS] for slot in range(number * _SLICES, (number + 1) * _SLICES)])
            pages += (page, _checksum(page, number, checksum))
        yield b"".join(pages)


class Block:
    """One block, in a file or in memory."""

    def __init__(self, source: Path | bytes, identity: bytes) -> None:
        """Read the tables. Raises Damaged, OSError."""
        self.source = source
        octets = self._read(0, _HEAD.size)
        if len(octets) < _HEAD.size:
            raise Damaged("it has no head")
        magic, whose, messages, count, self._width, self._seed = _HEAD.unpack(octets)
        if magic != _MAGIC or whose != identity:
            raise Damaged("it is of another index, or another form")
        if not 0 < messages <= count <= _LARGEST or self._width != (count + 7) // 8:
            raise Damaged("its head is wrong")
        tables = self._read(_HEAD.size, messages * 8 + count * 2)
        if self._seed != crc32(tables, crc32(octets[:-4] + bytes(4))):
            raise Damaged("its tables are wrong")
        self.uids = _unpacked("I", tables[: messages * 4])
        self.marks = _unpacked("I", tables[messages * 4 : messages * 8])
        self._owners = _unpacked("H", tables[messages * 8 :])
        if len(self._owners) != count or max(self._owners) >= messages:
            raise Damaged("its tables are wrong")
        self._start = _HEAD.size + len(tables)
        self._page = self._width * _SLICES

    @property
    def octets(self) -> int:
        """In memory."""
        tables = len(self.uids) * 8 + len(self._owners) * 2
        return tables + len(self.source) if isinstance(self.source, bytes) else tables

    @contextmanager
    def looking(self) -> Iterator[Callable[[Iterable[int]], set[int]]]:
        """Gives a function: UIDs of messages that have a row with all these numbers. Both raise Damaged, OSError."""
        descriptor = None if isinstance(self.source, bytes) else os.open(self.source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield partial(self._find, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _find(self, descriptor: int | None, asked: Iterable[int]) -> set[int]:
        bits = -1
        for code in asked:
            bits &= int.from_bytes(self._slice(code, descriptor), "little")
            if not bits:
                return set()
        uids, owners = self.uids, self._owners
        return {uids[owners[row]] for row in _places(bits)} if bits > 0 else set(uids)

    def _slice(self, code: int, descriptor: int | None) -> bytes:
        number, place = divmod(code, _SLICES)
        octets = self._read(self._start + number * (self._page + _CHECKSUM), self._page + _CHECKSUM, descriptor)
        page = octets[: self._page]
        if octets[self._page :] != _checksum(page, number, self._seed):
            raise Damaged(f"its page {number} is wrong")
        return page[place * self._width : (place + 1) * self._width]

    def _read(self, start: int, size: int, descriptor: int | None = None) -> bytes:
        if isinstance(self.source, bytes):
            return self.source[start : start + size]
        if descriptor is not None:
            return os.pread(descriptor, size, start)
        with self.source.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, start)


def _places(bits: int) -> Iterator[int]:
    """Where there are ones, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _checksum(page: bytes, number: int, seed: int) -> bytes:
    """Of a page in this place of this block: others have another head, and so another seed."""
    return crc32(page, crc32(number.to_bytes(4, "little"), seed)).to_bytes(_CHECKSUM, "little")


def _packed(table: array[int]) -> bytes:
    if _IS_BIG_ENDIAN:
        table = table[:]
        table.byteswap()
    return table.tobytes()


def _unpacked(typecode: str, octets: bytes) -> array[int]:
    table = array(typecode)
    table.frombytes(octets[: len(octets) // table.itemsize * table.itemsize])
    if _IS_BIG_ENDIAN:
        table.byteswap()
    return table
