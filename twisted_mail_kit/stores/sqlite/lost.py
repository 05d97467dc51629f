"""Saves messages that an index which had to be made anew does not know any more."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.stores.sqlite import rows, schema
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile, read_all, write_saved
from twisted_mail_kit.stores.sqlite.records import record_path
from twisted_mail_kit.stores.sqlite.salvage import places, whole_records
from twisted_mail_kit.stores.sqlite.segments import HEADER_SIZE, LARGE, Damaged, Location, check_record


def find_octets(root: Path, connection: sqlite3.Connection, wanted: set[int]) -> set[int]:
    """Look through all segments and large files for whole records of these blobs, and write down where they are.

    That is what can be done where the index does not know it, or is wrong. In a transaction; answers which were found.
    Raises sqlite3.Error, Unavailable.
    """
    if not wanted:
        return set()
    (secret,) = connection.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()
    users: dict[int, set[int]] = {number: set() for number in wanted}
    for account, blob_id in connection.execute("SELECT account, blob_id FROM messages"):
        number = rows.blob_number(blob_id, secret)
        if number in users:
            users[number].add(account)
    found = set()
    try:
        for path in (*sorted(root.glob("segments/*.log")), *sorted(root.glob("large/*/*.blob"))):
            segment = int(path.stem) if path.suffix == ".log" and path.stem.isdecimal() else LARGE
            for number, offset, size in places(path):
                if number not in users or (segment == LARGE) != (path.suffix == ".blob"):
                    continue
                found.add(number)
                connection.executemany(
                    "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, 0, NULL)",
                    [(number, account, segment, offset, size) for account in users[number]],
                )
    except OSError as error:
        raise Unavailable(f"{error.filename or root}: {error.strerror}") from error
    return found


def save_unknown(root: Path, files: Files, connection: sqlite3.Connection) -> list[str]:
    """Write them into the store's lost+found; answers what there is to tell, one line each.

    That is: octets that an account has and none of its messages refers to, and whole records that came after what the
    index knows. Messages that were removed lately may be among the latter. Raises sqlite3.Error, Unavailable.
    """
    told = []
    try:
        for account, location in _without_message(connection):
            octets = _octets(root, files, location)
            if octets is not None:
                told.append(f"account {account}: a message whose row is lost: {_save(root, location.number, octets)}")
        known = {blob for (blob,) in connection.execute("SELECT DISTINCT blob FROM blobs")}
        ends = dict(connection.execute('SELECT id, "end" FROM segments'))
        for path in (*sorted(root.glob("segments/*.log")), *sorted(root.glob("large/*/*.blob"))):
            start = ends.get(int(path.stem), 0) if path.suffix == ".log" and path.stem.isdecimal() else 0
            for number, octets in whole_records(path, start):
                if number not in known:
                    known.add(number)
                    told.append(f"a message that no mailbox has: {_save(root, number, octets)}")
        if (root / schema.LOST).is_dir():
            files.sync_directory(root / schema.LOST)
    except OSError as error:
        raise Unavailable(f"{error.filename or root}: {error.strerror}") from error
    return told


def _without_message(connection: sqlite3.Connection) -> list[tuple[str, Location]]:
    """(account's name, where it is) of what was referred to, and is not."""
    (secret,) = connection.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()
    used = {
        (rows.blob_number(blob_id, secret), account)
        for account, blob_id in connection.execute("SELECT account, blob_id FROM messages")
    }
    alive = connection.execute(
        'SELECT account, coalesce(name, account), blob, segment, "offset", size FROM blobs'
        " LEFT JOIN accounts ON accounts.id = account WHERE gone IS NULL"
    )
    return [(str(name), Location(*where)) for account, name, *where in alive if (where[0], account) not in used]


def _octets(root: Path, files: Files, location: Location) -> bytes | None:
    try:
        file = OpenFile(files, files.open(record_path(root, location)))
        record = read_all(files, file.fd, HEADER_SIZE + location.size, location.offset - HEADER_SIZE)
        check_record(record, location.number, location.size)
    except (OSError, Damaged):
        return None
    return record[HEADER_SIZE:]


def _save(root: Path, number: int, octets: bytes) -> Path:
    path = root / schema.LOST / f"unknown-{number:x}.eml"
    write_saved(path, octets)
    return path
