"""Repairs a spool that nobody has open: what can be sent stays in it, what cannot is put aside and told."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.queue.codec import Unreadable
from twisted_mail_kit.queue.sqlite import rows, schema
from twisted_mail_kit.queue.sqlite.fsck import Found, look
from twisted_mail_kit.stores.sqlite import wal
from twisted_mail_kit.stores.sqlite.files import Files, write_saved
from twisted_mail_kit.stores.sqlite.keeping import keep_copy
from twisted_mail_kit.stores.sqlite.rebuild import copy_table
from twisted_mail_kit.stores.sqlite.renumber import RUNS
from twisted_mail_kit.stores.sqlite.salvage import whole_records
from twisted_mail_kit.stores.sqlite.segments import large_path

TABLES = {"messages": "id", "blobs": "id", "recipients": "message, destination, number", "events": "rowid"}
"""What is copied, in which order; destinations are made anew."""


def repair(root: Path, files: Files | None = None) -> Findings:
    """Repair the directory; `problems` is what was found, and what was done about it, one line each.

    Raises Unavailable where it cannot be repaired; then nothing was changed. The caller sees to it that nobody has it
    open.
    """
    files = files or Files()
    found = look(root, files)
    if not found.problems:
        return Findings(found.counts)
    database = root / schema.DATABASE
    try:
        copy = keep_copy(database, root / schema.LOST)
        told = [*found.problems, f"the queue's database as it was: {copy}"]
        if found.is_broken:
            told += _rebuild(root, copy, found)
            found = look(root, files)
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            for id, why in found.damaged.items():
                told.append(_put_aside(root, connection, id, why))
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"{database}: cannot be repaired: {error}: put a backup back with mailkit restore") from error
    after = look(root, files)
    told += [f"still: {line}" for line in after.problems]
    return Findings({**after.counts, "problems left": len(after.problems)}, tuple(told))


def salvage(root: Path, folder: Path) -> Findings:
    """Write the octets of each message that can be read into `folder`, as ``<blob number>.eml``; changes nothing.

    Raises Unavailable.
    """
    counts, problems = {"queued messages saved": 0}, []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(root.glob("large/*/*.blob")):
            for number, octets in whole_records(path):
                write_saved(folder / f"{number:x}.eml", octets)
                counts["queued messages saved"] += 1
        work = folder / "work"
        if (root / schema.DATABASE).is_file():
            work.mkdir()
            for path in (root / schema.DATABASE, wal.log_path(root / schema.DATABASE)):
                if path.is_file():
                    shutil.copy(path, work / path.name)  # to open it is to change it
            try:
                for number, octets in _inline(work / schema.DATABASE):
                    write_saved(folder / f"{number:x}.eml", octets)
                    counts["queued messages saved"] += 1
            except sqlite3.Error as error:
                problems.append(f"{root / schema.DATABASE}: {error}")
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise Unavailable(f"{error.filename or folder}: {error.strerror}") from error
    return Findings(counts, tuple(problems))


def _inline(database: Path) -> Iterator[tuple[int, bytes]]:
    with closing(sqlite3.connect(database)) as connection:
        for number, octets in connection.execute("SELECT id, octets FROM blobs NOT INDEXED WHERE octets IS NOT NULL"):
            if type(octets) is bytes:
                yield number, octets


def _rebuild(root: Path, copy: Path, found: Found) -> list[str]:
    """Put every row that can be read into a new database, and that in the old one's place."""
    database, new, told = root / schema.DATABASE, root / f"{schema.DATABASE}.new", []
    work = shutil.copytree(copy, copy.with_name(f"{copy.name}.work"))
    new.unlink(missing_ok=True)
    try:
        broken = work / schema.DATABASE
        if found.log_is_damaged:
            log = wal.read_log(wal.log_path(broken))
            frames = wal.apply_log(broken, log, wal.log_path(copy / schema.DATABASE)) if log is not None else 0
            wal.log_path(broken).unlink()
            told.append(f"{wal.log_path(database)}: {frames} pages of it could be read")
        with (
            closing(sqlite3.connect(new, isolation_level=None)) as target,
            closing(sqlite3.connect(broken, isolation_level=None)) as source,
        ):
            target.execute("PRAGMA auto_vacuum = INCREMENTAL")
            target.execute("BEGIN")
            for statement in schema.SCHEMA:
                target.execute(statement)
            target.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            target.execute(f"PRAGMA user_version = {schema.VERSION}")
            for table, order in TABLES.items():
                lost = copy_table(source, target, table, order)
                if lost and table != "events" and not target.execute(f"SELECT 1 FROM {table}").fetchone():
                    raise Unavailable(
                        f"{database}: the table {table} cannot be read ({lost}), so nothing was changed: put a backup"
                        " back with mailkit restore, or save the messages with mailkit fsck --salvage"
                    )
                if lost:
                    told.append(f"{database}: rows of the table {table} are lost: {lost}")
            told += _count_anew(root, target)
            target.execute("COMMIT")
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    new.chmod(0o600)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    # What interrupts this leaves no database, which is told at the start where large messages wait.
    database.unlink(missing_ok=True)
    for name in (wal.log_path(database), root / f"{schema.DATABASE}-shm"):
        name.unlink(missing_ok=True)
    Files().sync_directory(root)
    new.replace(database)
    Files().sync_directory(root)
    return [*told, f"{database}: made anew from the rows that could be read"]


def _count_anew(root: Path, target: sqlite3.Connection) -> list[str]:
    """What follows from the rows; octets and recipients that no message has are put aside."""
    told = []
    sql = "SELECT message, recipient FROM recipients WHERE message NOT IN (SELECT id FROM messages)"
    for message, recipient in target.execute(sql).fetchall():
        told.append(f"recipient of the message {message}, which is lost: {recipient}")
    target.execute("DELETE FROM recipients WHERE message NOT IN (SELECT id FROM messages)")
    for (message,) in target.execute(
        "SELECT id FROM messages WHERE id NOT IN (SELECT message FROM recipients)"
    ).fetchall():
        told.append(_put_aside(root, target, message, "its recipients are lost"))
    sql = "SELECT id, octets FROM blobs WHERE id NOT IN (SELECT blob FROM messages)"
    for number, octets in target.execute(sql).fetchall():
        if type(octets) is bytes:
            path = root / schema.LOST / f"unknown-{number:x}.eml"
            write_saved(path, octets)
            told.append(f"octets of a message that is lost: {path}")
    target.execute("DELETE FROM blobs WHERE id NOT IN (SELECT blob FROM messages)")
    # Whoever had leased them is gone; to try again too early is better than never.
    target.execute(
        "UPDATE recipients SET owner = NULL, run = NULL, until = NULL,"
        " ready = CASE WHEN is_held THEN NULL ELSE next_try END"
    )
    target.execute(
        "INSERT INTO destinations SELECT destination, min(ready), 0 FROM recipients WHERE ready IS NOT NULL"
        " GROUP BY destination"
    )
    numbers = [int(path.stem, 16) for path in root.glob("large/*/*.blob") if _is_number(path.stem)]
    (most,) = target.execute("SELECT coalesce(max(id), 0) FROM blobs").fetchone()
    target.execute("INSERT INTO spool VALUES ('run', ?)", ((max([most, *numbers]) >> 32) + RUNS,))
    return told


def _is_number(text: str) -> bool:
    try:
        return bool(int(text, 16))
    except ValueError:
        return False


def _put_aside(root: Path, connection: sqlite3.Connection, id: str, why: str) -> str:
    """Take a message out of the queue; what is left of it is kept. Answers what there is to tell."""
    row = connection.execute(f"SELECT {rows.MESSAGE} FROM messages WHERE id = ?", (id,)).fetchone()
    try:
        sender = str(rows.message(row).envelope.sender or "<>")
    except Unreadable:
        sender = "an unknown sender"
    to = ", ".join(
        str(recipient)
        for (recipient,) in connection.execute("SELECT recipient FROM recipients WHERE message = ?", (id,))
    )
    blob = row[1] if type(row[1]) is int else 0
    kept = connection.execute("SELECT octets FROM blobs WHERE id = ?", (blob,)).fetchone()
    saved = ""
    path = root / schema.LOST / f"{blob:x}.eml"
    if kept is not None and type(kept[0]) is bytes:
        write_saved(path, kept[0])
        saved = f"; what is left of it: {path}"
    elif large_path(root, blob).is_file():
        write_saved(path, large_path(root, blob).read_bytes())
        saved = f"; what is left of it: {path}"
    connection.execute("DELETE FROM recipients WHERE message = ?", (id,))
    connection.execute("DELETE FROM messages WHERE id = ?", (id,))
    connection.execute("DELETE FROM blobs WHERE id = ? AND id NOT IN (SELECT blob FROM messages)", (blob,))
    return f"removed from the queue: {id}, from {sender} to {to}: {why}{saved}"
