"""Segments: append-only files of message bodies, a checksum a record.

A record is a header of 28 octets (magic, blob number, size, CRC-32 of the octets, CRC-32 of the header before it) and
the octets. The index says where a record is; what the index does not know is dead space, however it came about. So a
half-written tail needs no repair. A segment is written by the process that made it, and by no later one. While it is,
zeros may follow the last record.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from twisted_mail_kit.stores.sqlite.files import Files, OpenFile, is_full, write_all, write_pieces

HEADER = Struct(">4sQQI")
CHECK = Struct(">I")
HEADER_SIZE = HEADER.size + CHECK.size
MAGIC = b"TMKb"
NO_LOW = (1 << 63) - 1
LARGE = 0
"""The segment number of blobs that have a file of their own."""
FEW = 64 * 1024
"""Octets that are appended at once, after which room is made for more like them."""
ROOM = bytes(256 * 1024)
"""Zeros that are written ahead, where few octets are appended at once. A sync of octets that took the place of others
waits for them alone; where the file has grown, it waits for the file system's own books too, half as long again. So
that is one sync in a hundred."""


class Location(NamedTuple):
    """Where a blob's octets are."""

    number: int
    """The blob's."""
    segment: int
    offset: int
    """Of the first octet; the record's header stands before it."""
    size: int


Place = tuple[int, int, int, int]
"""A Location as the index gives it, of many at once: an object a message less."""


class Mistrusted(Exception):
    """A sync failed: nobody knows what is on the disk. Not an OSError, so that it is never taken for a full disk."""


class Damaged(Exception):
    """The octets on the disk are not those that were written."""


def record_header(number: int, size: int, checksum: int) -> bytes:
    """What stands before a blob's octets."""
    header = HEADER.pack(MAGIC, number, size, checksum)
    return header + CHECK.pack(crc32(header))


def check_record(record: bytes, number: int, size: int) -> None:
    """Raise Damaged unless this is the blob's whole record."""
    if len(record) != HEADER_SIZE + size:
        raise Damaged(f"blob {number}: {len(record)} octets of {HEADER_SIZE + size}")
    header = record[: HEADER.size]
    if CHECK.unpack_from(record, HEADER.size)[0] != crc32(header):
        raise Damaged(f"blob {number}: its header does not have its checksum")
    if HEADER.unpack(header) != (MAGIC, number, size, crc32(memoryview(record)[HEADER_SIZE:])):
        raise Damaged(f"blob {number}: its octets do not have their checksum")


def segment_path(root: Path, segment: int) -> Path:
    """Where a segment is."""
    return root / "segments" / f"{segment:08d}.log"


def large_path(root: Path, number: int) -> Path:
    """Where a blob with a file of its own is; 256 directories, so that none gets too long."""
    return root / "large" / f"{number & 0xFF:02x}" / f"{number:x}.blob"


class SegmentLog:
    """The segment that this process appends to. Only the writer thread comes here."""

    def __init__(self, files: Files, root: Path, segment_size: int, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.segment = 0
        self.end = 0
        self.low, self.high = NO_LOW, 0
        self.is_dirty = False
        """Something was written that is not known to be on the disk."""
        self._files = files
        self._root = root
        self._segment_size = segment_size
        self._file: OpenFile | None = None
        self._is_spent = False
        self._room = 0
        """Where the zeros end that were written ahead; less than `end`: there are none."""
        self.appended = 0
        """When something was appended last, seconds."""

    @property
    def is_open(self) -> bool:
        """There is a file that is written to."""
        return self._file is not None

    def append(self, connection: sqlite3.Connection, blobs: Iterable[tuple[int, Sequence[bytes]]]) -> list[Location]:
        """Write records (blob number, its octets in pieces) one after the other; they are not durable yet. Raises
        OSError, sqlite3.Error.

        After an error nothing of these is there, and the next call may well succeed.
        """
        if self._file is None or self._is_spent or self.end >= self._segment_size:
            self._begin(connection)
        assert self._file is not None
        pieces: list[bytes] = []
        locations, end = [], self.end
        for number, octets in blobs:
            size = checksum = 0
            for piece in octets:
                size += len(piece)
                checksum = crc32(piece, checksum)
            pieces.append(record_header(number, size, checksum))
            pieces += octets
            locations.append(Location(number, self.segment, end + HEADER_SIZE, size))
            end += HEADER_SIZE + size
        self.is_dirty = True
        self.appended = int(self._seconds())
        try:
            write_pieces(self._files, self._file.fd, pieces, self.end)
        except OSError as error:
            # What was written in part is written over the next time. A disk that fails otherwise than by being full
            # gets another file, after this one is synced: records in it may be waiting for that.
            if not is_full(error):
                self._is_spent = True
            raise
        if end - self.end < FEW:
            self._make_room(self._file.fd, end)
        self.end = end
        self.low = min([self.low, *(location.number for location in locations)])
        self.high = max([self.high, *(location.number for location in locations)])
        return locations

    def _make_room(self, fd: int, end: int) -> None:
        """See ROOM; not where it was made already."""
        if self._room < end < self._segment_size:
            zeros = ROOM[: self._segment_size - end]
            try:
                write_all(self._files, fd, zeros, end)
            except OSError:
                self._cut(fd, end)  # they only make it faster; on a full disk somebody else needs the room
            else:
                self._room = end + len(zeros)

    def _cut(self, fd: int, end: int) -> None:
        try:
            self._files.cut(fd, end)
        except OSError:
            pass  # zeros at the end are in nobody's way

    def sync(self) -> None:
        """Return when all that was appended would survive a power cut. Raises Mistrusted."""
        if self.is_dirty and self._file is not None:
            try:
                self._files.sync(self._file.fd)
            except OSError as error:
                raise Mistrusted(f"segment {self.segment}: sync failed: {error}") from error
            self.is_dirty = False

    def close(self, connection: sqlite3.Connection) -> None:
        """Let go of the file, which is never written again. Raises sqlite3.Error."""
        if self._file is not None:
            connection.execute(
                'UPDATE segments SET "end" = ?, low = ?, high = ?, closed = ? WHERE id = ?',
                (self.end, self.low, self.high, self.appended, self.segment),
            )
            if self._room > self.end:
                self._cut(self._file.fd, self.end)
            self._file = None

    def _begin(self, connection: sqlite3.Connection) -> None:
        self.sync()
        directory = self._root / "segments"
        self._files.make_directory(directory)
        self.close(connection)
        while True:
            # The number is taken in a transaction of its own, so that it belongs to us before the file is there.
            cursor = connection.execute(
                'INSERT INTO segments ("end", low, high, closed) VALUES (0, ?, 0, 0)', (NO_LOW,)
            )
            segment = cursor.lastrowid
            assert segment is not None
            try:
                fd = self._files.create(segment_path(self._root, segment))
                break
            except FileExistsError:  # left over from a database that was put back from a copy
                continue
        file = OpenFile(self._files, fd)
        self._files.lock(fd)
        try:
            self._files.sync_directory(directory)
        except OSError as error:
            raise Mistrusted(f"{directory}: sync failed: {error}") from error
        self._file, self._is_spent, self.segment, self.end, self._room = file, False, segment, 0, 0
        self.appended = int(self._seconds())
        self.low, self.high = NO_LOW, 0


class LargeFile:
    """One large blob's own file, in the making. Its methods wait for the disk; never in the reactor thread."""

    def __init__(self, files: Files, root: Path, number: int) -> None:
        self._files = files
        self._path = large_path(root, number)
        self._number = number
        self._file: OpenFile | None = None
        self._checksum = 0
        self._is_removed = False
        self.size = 0

    def write(self, octets: bytes) -> None:
        """Append. Raises OSError."""
        if self._is_removed:
            raise OSError(errno.ECANCELED, "the blob was aborted")
        file = self._file
        if file is None:
            self._files.make_directory(self._path.parent.parent)
            self._files.make_directory(self._path.parent)
            file = self._file = OpenFile(self._files, self._files.create(self._path))
        write_all(self._files, file.fd, octets, HEADER_SIZE + self.size)
        self._checksum = crc32(octets, self._checksum)
        self.size += len(octets)

    def finish(self) -> Location:
        """The header comes last: a file without one was never finished. Raises OSError."""
        file = self._file
        if file is None:
            raise OSError(errno.ECANCELED, "the blob was aborted")
        write_all(self._files, file.fd, record_header(self._number, self.size, self._checksum), 0)
        return Location(self._number, LARGE, HEADER_SIZE, self.size)

    def sync(self) -> None:
        """Return when it would survive a power cut. Raises Mistrusted."""
        file = self._file
        if file is None:
            raise OSError(errno.ECANCELED, "the blob was aborted")
        try:
            self._files.sync(file.fd)
            self._files.sync_directory(self._path.parent)
        except OSError as error:
            raise Mistrusted(f"{self._path}: sync failed: {error}") from error
        self._file = None

    def remove(self) -> None:
        """It never was."""
        self._is_removed = True
        self._file = None
        try:
            self._files.remove(self._path)
        except OSError:
            pass  # nobody refers to it: housekeeping finds it, and takes it away
