"""Records where they lie: which file a blob is in, and whether it is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from twisted_mail_kit.stores.sqlite.files import PIECE, Files, OpenFile, read_all
from twisted_mail_kit.stores.sqlite.segments import (
    CHECK,
    HEADER,
    HEADER_SIZE,
    LARGE,
    MAGIC,
    Damaged,
    Location,
    large_path,
    segment_path,
)


def record_path(root: Path, location: Location) -> Path:
    """The file that a blob is in."""
    if location.segment == LARGE:
        return large_path(root, location.number)
    return segment_path(root, location.segment)


def check_record_in(files: Files, file: OpenFile, location: Location, rest: Callable[[], None]) -> None:
    """Raise Damaged unless the record is there, a piece at a time, with a `rest` between two. Raises OSError."""
    number, _, offset, size = location
    if offset < HEADER_SIZE or size < 0:
        raise Damaged(f"blob {number:x}: it cannot be at octet {offset}")
    octets = read_all(files, file.fd, HEADER_SIZE + min(size, PIECE), offset - HEADER_SIZE)
    header = octets[: HEADER.size]
    if len(octets) < HEADER_SIZE or CHECK.unpack_from(octets, HEADER.size)[0] != crc32(header):
        raise Damaged(f"blob {number:x} at octet {offset}: its header is damaged or missing")
    magic, its_number, its_size, checksum = HEADER.unpack(header)
    if (magic, its_number, its_size) != (MAGIC, number, size):
        raise Damaged(f"blob {number:x} at octet {offset}: another record is there")
    octets = octets[HEADER_SIZE:]
    done, sum = len(octets), crc32(octets)
    while octets and done < size:
        octets = read_all(files, file.fd, min(size - done, PIECE), offset + done)
        done, sum = done + len(octets), crc32(octets, sum)
        rest()
    if done != size:
        raise Damaged(f"blob {number:x} at octet {offset}: {done} octets are there of {size}")
    if sum != checksum:
        raise Damaged(f"blob {number:x} at octet {offset}: its octets do not have their checksum")
