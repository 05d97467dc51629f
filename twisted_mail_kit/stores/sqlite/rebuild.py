"""Makes an index anew from the rows of a broken one that can be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.stores.sqlite import schema, wal
from twisted_mail_kit.stores.sqlite.files import Files

OLD, NEW = f"{schema.INDEX}.old", f"{schema.INDEX}.new"
"""What the index is called while it is being replaced."""


def rebuild(root: Path, copy: Path, log_is_damaged: bool = False) -> list[str]:
    """Put every row that can be read in `copy`, the index as it was found, into a new one, and that in its place.

    Where its log is damaged, commits behind the damage are read too, as far as they make a database. Raises
    Unavailable, OSError; then nothing was changed.
    """
    ways = [True, False] if log_is_damaged else [False]
    for reads_on in ways:
        # To open a database is to change it: the copy stays as it is, what is read is a copy of it.
        work = shutil.copytree(copy, copy.with_name(f"{copy.name}.work"))
        try:
            told = _read_on(work, copy) if reads_on else []
            told += _rebuild(root, work / schema.INDEX)
            break
        except BaseException as error:
            (root / NEW).unlink(missing_ok=True)
            if not isinstance(error, Unavailable) or reads_on is ways[-1]:
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    _put_in_place(root)
    return [*told, f"{root / schema.INDEX}: made anew from the rows that could be read"]


def _read_on(work: Path, copy: Path) -> list[str]:
    """Bring into the database what its log has, also behind the damage."""
    source = wal.log_path(copy / schema.INDEX)
    log = wal.read_log(source)
    for name in (wal.log_path(work / schema.INDEX), work / f"{schema.INDEX}-shm"):
        name.unlink(missing_ok=True)
    frames = wal.apply_log(work / schema.INDEX, log, source) if log is not None else 0
    return [f"{source}: {frames} pages of it could be read"]


def _put_in_place(root: Path) -> None:
    """What interrupts this leaves no index, which is told at the start; never one with the log of another."""
    index = root / schema.INDEX
    (root / NEW).chmod(0o600)
    with (root / NEW).open("rb") as file:
        os.fsync(file.fileno())
    index.replace(root / OLD)
    for name in (wal.log_path(index), root / f"{schema.INDEX}-shm"):
        name.unlink(missing_ok=True)
    Files().sync_directory(root)
    (root / NEW).replace(index)
    (root / OLD).unlink()
    Files().sync_directory(root)


def _rebuild(root: Path, broken: Path) -> list[str]:
    index, told = root / schema.INDEX, []
    (root / NEW).unlink(missing_ok=True)
    try:
        target = sqlite3.connect(root / NEW, isolation_level=None)
        with closing(target), closing(sqlite3.connect(broken, isolation_level=None)) as source:
            target.execute("PRAGMA journal_mode = DELETE")
            target.execute("BEGIN")
            for statement in schema.SCHEMA:
                target.execute(statement)
            version = source.execute("PRAGMA user_version").fetchone()[0]
            target.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            target.execute(f"PRAGMA user_version = {version}")
            gaps = set()
            for table in TABLES:
                lost = copy_table(source, target, table, ORDER.get(table, "id"))
                if lost and table in ESSENTIAL:
                    raise Unavailable(
                        f"{index}: the table {table} cannot be read ({lost}), so nothing was changed:"
                        " put a backup back with mailkit restore, or save the messages with mailkit fsck --salvage"
                    )
                if lost:
                    gaps.add(table)
                    told.append(f"{index}: rows of the table {table} are lost: {lost}")
            # A message is both of its rows, or none.
            halves = target.execute("DELETE FROM facts WHERE id NOT IN (SELECT id FROM entries)").rowcount
            halves += target.execute("DELETE FROM entries WHERE id NOT IN (SELECT id FROM facts)").rowcount
            if halves:
                told.append(f"{index}: {halves} messages are lost, of which only a part could be read")
            if halves or gaps & {"removals", "entries", "facts"}:
                # Messages are gone of which no tombstone tells.
                target.execute("UPDATE accounts SET modseq = modseq + 1")
                target.execute("UPDATE accounts SET forgotten = modseq")
                told.append("mail programs will synchronise from the beginning")
            target.execute("DELETE FROM sqlite_sequence")
            target.execute("INSERT INTO sqlite_sequence SELECT 'accounts', max(id) FROM accounts")
            target.execute(
                "INSERT INTO sqlite_sequence SELECT 'mailboxes', max(id) FROM (SELECT id FROM mailboxes"
                " UNION SELECT message >> 32 FROM removals UNION SELECT id >> 32 FROM messages UNION SELECT 0)"
            )
            _find_segments(root, target)
            target.execute("COMMIT")
    except sqlite3.Error as error:
        raise Unavailable(
            f"{index}: cannot be read ({error}), nothing was changed: put a backup back with mailkit restore,"
            " or save the messages with mailkit fsck --salvage"
        ) from error
    return told


def _find_segments(root: Path, target: sqlite3.Connection) -> None:
    """A segment whose row is lost would be taken for nobody's, and be removed. None of their numbers comes again."""
    know_segments(target)
    numbers = [int(path.stem) for path in root.glob("segments/*.log") if path.stem.isdecimal()]
    (most,) = target.execute("SELECT coalesce(max(id), 0) FROM segments").fetchone()
    target.execute("INSERT INTO sqlite_sequence VALUES ('segments', ?)", (max([most, *numbers]),))


def know_segments(connection: sqlite3.Connection) -> None:
    """Segments that blobs lie in have a row each. In a transaction; raises sqlite3.Error."""
    connection.execute(
        'INSERT OR IGNORE INTO segments (id, "end", low, high, closed)'
        ' SELECT segment, max("offset" + size), min(blob), max(blob), ? FROM blobs'
        " WHERE segment != 0 AND segment NOT IN (SELECT id FROM segments) GROUP BY segment",
        (int(time.time()),),
    )


ESSENTIAL = {"store", "accounts", "mailboxes"}
"""Without these, UIDs could be given out twice, or mail to the wrong person."""
TABLES = ("store", "accounts", "mailboxes", "entries", "facts", "removals", "graves", "blobs", "segments", "tokens")
ORDER = {
    "store": "key",
    "removals": "account, modseq, message",
    "blobs": "blob, account",
    "tokens": "period, key",
    "graves": "mailbox",
}


def copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, order: str) -> str:
    """From both ends to where it cannot be read; answers what was in the way, or nothing."""
    columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    marks, names = ", ".join("?" * len(columns)), ", ".join(f'"{name}"' for name in columns)
    trouble = ""
    for direction in ("", " DESC"):
        by = ", ".join(f"{one.strip()}{direction}" for one in order.split(","))
        # NOT INDEXED: a table is read by itself, however broken its indexes are.
        sql = f"SELECT {names} FROM {table} NOT INDEXED ORDER BY {by}"
        try:
            for row in source.execute(sql):
                try:
                    target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
                except sqlite3.IntegrityError as error:
                    trouble = str(error)
        except sqlite3.DatabaseError as error:
            trouble = str(error)
            continue
        break
    return trouble
