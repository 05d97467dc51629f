"""The first page of a SQLite file, read without SQLite: to open another program's database is to change it."""

from __future__ import annotations

import os
from pathlib import Path
from struct import unpack_from
from typing import NamedTuple

from twisted_mail_kit.stores.sqlite import wal

# https://www.sqlite.org/fileformat2.html#the_database_header
MAGIC = b"SQLite format 3\0"
SIZE = 108
"""Octets: the header's, and of the first table's page that follows in the first page."""


class Header(NamedTuple):
    """Whose a database is."""

    application: int
    version: int
    is_empty: bool
    """There is no table in it yet."""


def read_header(database: Path, log: wal.Log | None) -> Header | None:
    """What the file says, or its log, which is newer; None: it is empty, or no SQLite database. Raises OSError."""
    newer = _in_log(database, log) if log is not None else None
    if newer is not None:
        return newer
    fd = os.open(database, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        octets = os.read(fd, SIZE)
    finally:
        os.close(fd)
    return _parse(octets)


def _in_log(database: Path, log: wal.Log) -> Header | None:
    firsts = [frame for frame in log.frames if frame.page == 1 and frame.is_whole]
    if not firsts:
        return None
    try:
        with wal.log_path(database).open("rb") as file:
            file.seek(firsts[-1].offset)
            return _parse(file.read(SIZE))
    except FileNotFoundError:
        return None  # somebody else has closed the database since we looked: all is in it now


def _parse(octets: bytes) -> Header | None:
    if len(octets) < SIZE or octets[: len(MAGIC)] != MAGIC:
        return None
    (version,), (application,) = unpack_from(">i", octets, 60), unpack_from(">I", octets, 68)
    kind, cells = octets[100], unpack_from(">H", octets, 103)[0]
    return Header(application, version, kind == 0x0D and not cells)
