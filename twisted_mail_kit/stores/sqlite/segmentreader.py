"""Reading bodies out of segments: one, a few, or many with one read where they lie one behind the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import error as StructError
from zlib import crc32

from twisted_mail_kit.stores.sqlite.files import Files, OpenFile, read_all
from twisted_mail_kit.stores.sqlite.segments import (
    CHECK,
    HEADER,
    HEADER_SIZE,
    LARGE,
    MAGIC,
    Damaged,
    Location,
    Place,
    check_record,
    large_path,
    segment_path,
)

RUN = 120 * 1024
"""Octets that are read at once: below what malloc asks the system for anew each time, which costs more than reading."""
_GAP = 8 * 1024
"""Octets of others that are read and thrown away rather than to read once more."""

# Hot path: the bodies of a whole mailbox. Messages that came one after the other lie so: one read gets them all, and
# a record's header is made again and compared rather than taken apart.


def runs(places: Iterable[Place]) -> list[list[Place]]:
    """The places in the same order, put together where one read gets several: at most `RUN` octets, in one segment,
    with little between them."""
    result: list[list[Place]] = []
    run: list[Place] = []
    here, begin, end = LARGE, 0, 0
    for place in places:
        _, segment, offset, size = place
        if segment == here != LARGE and end <= offset <= end + _GAP and offset + size - begin <= RUN:
            run.append(place)
        else:
            run = [place]
            result.append(run)
            here, begin = segment, offset
        end = offset + size
    return result


def span(run: Sequence[Place]) -> tuple[int, int]:
    """Where the records of a run begin in the file, and how many octets they have."""
    start = run[0][2] - HEADER_SIZE
    return start, run[-1][2] + run[-1][3] - start


def cut_run(octets: bytes, start: int, run: Sequence[Place]) -> list[bytes | None]:
    """The blobs out of the octets that begin at `start` of the file; None for one that is damaged."""
    result: list[bytes | None] = []
    pack, crc, magic, before = HEADER.pack, crc32, MAGIC, start + HEADER_SIZE
    for number, _, offset, size in run:
        body = octets[offset - start : offset - start + size]
        # A header that is right up to its own checksum is right.
        whole = octets.startswith(pack(magic, number, size, crc(body)), offset - before)
        result.append(body if whole else None)
    return result


def cut_neighbours(octets: bytes, numbers: Iterable[int]) -> list[bytes] | None:
    """The blobs of these numbers out of octets that begin with the record of the first; None unless all of them are
    there in that order, and whole. What lies between is passed over.

    The index is not asked for each: the records tell their numbers and sizes, and each one's checksum that it is true.
    """
    result: list[bytes] = []
    at, unpack, crc = 0, HEADER.unpack_from, crc32
    try:
        for wanted in numbers:
            magic, number, size, checksum = unpack(octets, at)
            while number != wanted:
                header = octets[at : at + HEADER.size]
                if magic != MAGIC or CHECK.unpack_from(octets, at + HEADER.size)[0] != crc(header):
                    return None
                at += HEADER_SIZE + size
                magic, number, size, checksum = unpack(octets, at)
            at += HEADER_SIZE
            body = octets[at : at + size]
            if magic != MAGIC or len(body) != size or crc(body) != checksum:
                return None
            result.append(body)
            at += size
    except StructError:
        return None  # they end before
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
        file = self.opened(location)
        whole = offset == 0 and size >= location.size
        if not whole:
            return self._files.read_cached(file.fd, min(size, location.size - offset), location.offset + offset)
        record = self._files.read_cached(file.fd, HEADER_SIZE + location.size, location.offset - HEADER_SIZE)
        if record is None:
            return None
        check_record(record, location.number, location.size)
        return record[HEADER_SIZE:]

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

    def read_whole_now(self, place: Place) -> bytes | None:
        """A whole blob, or None where it is damaged, or the disk would have to be waited for. In the reactor thread.
        Raises OSError."""
        number, _, offset, size = place
        record = self._files.read_cached(self.opened(place).fd, HEADER_SIZE + size, offset - HEADER_SIZE)
        if record is None:
            return None
        body = record[HEADER_SIZE:]
        return body if record.startswith(HEADER.pack(MAGIC, number, size, crc32(body))) else None

    def read_run_now(self, run: Sequence[Place]) -> list[bytes | None] | None:
        """Whole blobs of a run (see `runs`, `cut_run`), or None where the disk would have to be waited for. In the
        reactor thread.

        Raises OSError.
        """
        start, size = span(run)
        octets = self._files.read_cached(self.opened(run[0]).fd, size, start)
        return None if octets is None else cut_run(octets, start, run)

    def read_neighbours_now(self, first: Place, last: Place, numbers: Sequence[int]) -> list[bytes] | None:
        """Whole blobs of ascending numbers, the first and the last of which are at these places; None where that does
        not get all of them, or the disk would have to be waited for. In the reactor thread. Raises OSError."""
        if not first[1] == last[1] != LARGE:
            return None
        start, size = span((first, last))
        octets = self._files.read_cached(self.opened(first).fd, size, start) if HEADER_SIZE < size <= RUN else None
        return None if octets is None else cut_neighbours(octets, numbers)

    def read_run(self, file: OpenFile, run: Sequence[Place]) -> list[bytes | None]:
        """Whole blobs of a run. In any thread. Raises OSError."""
        start, size = span(run)
        return cut_run(read_all(self._files, file.fd, size, start), start, run)

    def forget(self) -> None:
        """Let go of all files."""
        self._open.clear()

    def forget_removed(self) -> None:
        """Let go of files that are gone, so that the disk gets their room back."""
        for key in [key for key, file in self._open.items() if self._files.is_removed(file.fd)]:
            del self._open[key]

    def opened(self, place: Place) -> OpenFile:
        """The file that a blob is in, for `read` in another thread. Raises FileNotFoundError."""
        number, segment, _, _ = place
        key = (segment, number if segment == LARGE else 0)
        file = self._open.get(key)
        if file is None:
            path = large_path(self._root, number) if segment == LARGE else segment_path(self._root, segment)
            self.forget_removed()
            file = self._open[key] = OpenFile(self._files, self._files.open(path))
            if len(self._open) > self.OPEN_FILES:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(key)
        return file
