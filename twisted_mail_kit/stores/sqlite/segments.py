"""Segments: append-only files of message bodies, a checksum a record.

A record is a header of 28 octets (magic, blob number, size, CRC-32 of the octets, CRC-32 of the header before it) and
the octets. The index says where a record is; what the index does not know is dead space, however it came about. So a
half-written tail needs no repair. A segment is written by the process that made it, and by no later one.
"""

from __future__ import annotations

import errno
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from twisted_mail_kit.stores.sqlite.files import Files, OpenFile, is_full, read_all, write_all

HEADER = Struct(">4sQQI")
CHECK = Struct(">I")
HEADER_SIZE = HEADER.size + CHECK.size
MAGIC = b"TMKb"
NO_LOW = (1 << 63) - 1
RUN = 120 * 1024
"""Octets that are read at once: below what malloc asks the system for anew each time, which costs more than reading."""
_GAP = 8 * 1024
"""Octets of others that are read and thrown away rather than to read once more."""
LARGE = 0
"""The segment number of blobs that have a file of their own."""


class Location(NamedTuple):
    """Where a blob's octets are."""

    number: int
    """The blob's."""
    segment: int
    offset: int
    """Of the first octet; the record's header stands before it."""
    size: int


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


# Hot path: the bodies of a whole mailbox. Messages that came one after the other lie so: one read gets them all, and
# a record's header is made again and compared rather than taken apart.


def runs(locations: Iterable[Location]) -> list[list[Location]]:
    """The locations in the same order, put together where one read gets several: at most `RUN` octets, in one segment,
    with little between them."""
    result: list[list[Location]] = []
    run: list[Location] = []
    segment, begin, end = -1, 0, 0
    for location in locations:
        offset = location[2]
        if (
            location[1] == segment
            and segment != LARGE
            and end <= offset <= end + _GAP
            and offset + location[3] - begin <= RUN
        ):
            run.append(location)
        else:
            run = [location]
            result.append(run)
            segment, begin = location[1], offset
        end = offset + location[3]
    return result


def span(run: Sequence[Location]) -> tuple[int, int]:
    """Where the records of a run begin in the file, and how many octets they have."""
    start = run[0].offset - HEADER_SIZE
    return start, run[-1].offset + run[-1].size - start


def cut_run(octets: bytes, start: int, run: Sequence[Location]) -> list[bytes]:
    """The blobs out of the octets that begin at `start` of the file. Raises Damaged."""
    result = []
    for number, _, offset, size in run:
        at = offset - start
        body = octets[at : at + size]
        if octets[at - HEADER_SIZE : at - CHECK.size] != HEADER.pack(MAGIC, number, size, crc32(body)):
            check_record(octets[at - HEADER_SIZE : at + size], number, size)
        result.append(body)
    return result


class SegmentReader:
    """Reads records; keeps the files that were read from last open."""

    OPEN_FILES = 64

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._root = root
        self._open: OrderedDict[tuple[int, int], OpenFile] = OrderedDict()

    def read_now(self, location: Location, offset: int, size: int) -> bytes | None:
        """As `read`, or None where the disk would have to be waited for. In the reactor thread."""
        file = self._file(location)
        whole = offset == 0 and size >= location.size
        if not whole:
            return self._files.read_cached(file.fd, min(size, location.size - offset), location.offset + offset)
        record = self._files.read_cached(file.fd, HEADER_SIZE + location.size, location.offset - HEADER_SIZE)
        if record is None:
            return None
        check_record(record, location.number, location.size)
        return record[HEADER_SIZE:]

    def opened(self, location: Location) -> OpenFile:
        """The file, for `read` in another thread. Raises FileNotFoundError."""
        return self._file(location)

    def read(self, file: OpenFile, location: Location, offset: int, size: int) -> bytes:
        """Octets of a blob; one that is read whole is checked. In any thread. Raises Damaged, OSError."""
        if offset == 0 and size >= location.size:
            record = read_all(self._files, file.fd, HEADER_SIZE + location.size, location.offset - HEADER_SIZE)
            check_record(record, location.number, location.size)
            return record[HEADER_SIZE:]
        wanted = min(size, location.size - offset)
        octets = read_all(self._files, file.fd, wanted, location.offset + offset)
        if len(octets) != wanted:
            raise Damaged(f"blob {location.number}: the file is too short")
        return octets

    def read_run_now(self, run: Sequence[Location]) -> list[bytes] | None:
        """Whole blobs of a run (see `runs`), or None where the disk would have to be waited for. In the reactor thread.

        Raises FileNotFoundError, Damaged.
        """
        start, size = span(run)
        octets = self._files.read_cached(self._file(run[0]).fd, size, start)
        return None if octets is None else cut_run(octets, start, run)

    def read_run(self, file: OpenFile, run: Sequence[Location]) -> list[bytes]:
        """Whole blobs of a run. In any thread. Raises Damaged, OSError."""
        start, size = span(run)
        return cut_run(read_all(self._files, file.fd, size, start), start, run)

    def forget(self) -> None:
        """Let go of all files."""
        self._open.clear()

    def forget_removed(self) -> None:
        """Let go of files that are gone, so that the disk gets their room back."""
        for key in [key for key, file in self._open.items() if self._files.is_removed(file.fd)]:
            del self._open[key]

    def _file(self, location: Location) -> OpenFile:
        key = (location.segment, location.number if location.segment == LARGE else 0)
        file = self._open.get(key)
        if file is None:
            if location.segment == LARGE:
                path = large_path(self._root, location.number)
            else:
                path = segment_path(self._root, location.segment)
            self.forget_removed()
            file = self._open[key] = OpenFile(self._files, self._files.open(path))
            if len(self._open) > self.OPEN_FILES:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(key)
        return file


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
        self.appended = 0
        """When something was appended last, seconds."""

    @property
    def is_open(self) -> bool:
        """There is a file that is written to."""
        return self._file is not None

    def append(self, connection: sqlite3.Connection, blobs: Iterable[tuple[int, bytes]]) -> list[Location]:
        """Write records one after the other; they are not durable yet. Raises OSError, sqlite3.Error.

        After an error nothing of these is there, and the next call may well succeed.
        """
        if self._file is None or self._is_spent or self.end >= self._segment_size:
            self._begin(connection)
        assert self._file is not None
        pieces, locations, end = [], [], self.end
        for number, octets in blobs:
            pieces.append(record_header(number, len(octets), crc32(octets)))
            pieces.append(octets)
            locations.append(Location(number, self.segment, end + HEADER_SIZE, len(octets)))
            end += HEADER_SIZE + len(octets)
        self.is_dirty = True
        self.appended = int(self._seconds())
        try:
            write_all(self._files, self._file.fd, b"".join(pieces), self.end)
        except OSError as error:
            # What was written in part is written over the next time. A disk that fails otherwise than by being full
            # gets another file, after this one is synced: records in it may be waiting for that.
            if not is_full(error):
                self._is_spent = True
            raise
        self.end = end
        self.low = min([self.low, *(location.number for location in locations)])
        self.high = max([self.high, *(location.number for location in locations)])
        return locations

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
        self._file, self._is_spent, self.segment, self.end = file, False, segment, 0
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
