"""Saves every message that can be read from segments and large files, with no help of an index."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from twisted_mail_kit.errors import ConfigurationError, Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.stores.sqlite.segments import CHECK, HEADER, HEADER_SIZE, MAGIC


def salvage(root: Path, folder: Path) -> Findings:
    """Write each whole record below `root` into `folder`, as ``<blob number>.eml``; nothing in `root` is changed.

    Messages that were removed may be among them; accounts and mailboxes are not known. Raises Unavailable,
    ConfigurationError (the folder has files in it).
    """
    counts = {"messages saved": 0, "octets": 0}
    problems = []
    if not any(root.glob("segments/*.log")) and not any(root.glob("large/*/*.blob")):
        raise ConfigurationError([f"{root}: there is no segment and no large file here"])
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigurationError([f"{folder}: is not empty"])
        for path in (*sorted(root.glob("segments/*.log")), *sorted(root.glob("large/*/*.blob"))):
            passed_over = 0
            if not path.is_file():
                problems.append(f"{path}: there is something here that is no file")
                continue
            try:
                source = path.open("rb")
            except OSError as error:
                problems.append(f"{path}: {error.strerror}")
                continue
            with source:
                if not os.fstat(source.fileno()).st_size:
                    continue
                with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as octets:
                    end = 0
                    for number, start, size in records(octets):
                        passed_over += start - HEADER_SIZE - end
                        end = start + size
                        with (folder / f"{number:x}.eml").open("wb") as file:
                            Path(file.name).chmod(0o600)
                            with memoryview(octets) as whole, whole[start:end] as piece:
                                file.write(piece)
                        counts["messages saved"] += 1
                        counts["octets"] += size
                    # A segment that was written to when its program died may end with zeros, where more was to come.
                    passed_over += len(octets[end:].rstrip(b"\0"))
            if passed_over:
                problems.append(f"{path}: {passed_over} octets are no whole message, and were passed over")
    except OSError as error:
        raise Unavailable(f"{error.filename or folder}: {error.strerror}") from error
    return Findings(counts, tuple(problems))


def whole_records(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(blob number, octets) of each whole record of a file that begins at `start` or later. Raises OSError."""
    if path.is_file():
        with path.open("rb") as source:
            for number, offset, size in places(path, start):
                source.seek(offset)
                yield number, source.read(size)


def places(path: Path, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """As `records`, of a file that begins at `start` or later; a pipe or a folder has none. Raises OSError."""
    if not path.is_file():
        return
    with path.open("rb") as source:
        if os.fstat(source.fileno()).st_size > start:
            with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as octets:
                yield from records(octets, start)


def records(octets: mmap.mmap, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """(blob number, offset of the first octet, size) of each whole record; what lies between them is passed over."""
    at = octets.find(MAGIC, start)
    while 0 <= at <= len(octets) - HEADER_SIZE:
        header = octets[at : at + HEADER.size]
        if CHECK.unpack_from(octets, at + HEADER.size)[0] == crc32(header):
            _, number, size, checksum = HEADER.unpack(header)
            first = at + HEADER_SIZE
            if first + size <= len(octets):
                with memoryview(octets) as whole, whole[first : first + size] as piece:
                    is_whole = crc32(piece) == checksum
                if is_whole:
                    yield number, first, size
                    at = octets.find(MAGIC, first + size)
                    continue
        at = octets.find(MAGIC, at + 1)
