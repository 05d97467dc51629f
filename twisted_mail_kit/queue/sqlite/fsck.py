"""Checks a spool's directory: each message's octets against their checksum, the database against itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from attrs import define, field

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.queue.codec import Unreadable
from twisted_mail_kit.queue.sqlite import rows, schema
from twisted_mail_kit.queue.sqlite.reading import STRIDE, Reader, read_large
from twisted_mail_kit.stores.sqlite import schema as store_schema
from twisted_mail_kit.stores.sqlite import wal
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.segments import Damaged

ADVICE = "run mailkit fsck --repair with the server down"


@define
class Found:
    """What a check of a spool has found."""

    counts: dict[str, int] = field(factory=lambda: {"queued messages": 0, "queued recipients": 0})
    problems: list[str] = field(factory=list)
    damaged: dict[str, str] = field(factory=dict)
    """Message id -> what is wrong with it."""
    is_broken: bool = False
    """Rows cannot be read: the database has to be made anew."""
    log_is_damaged: bool = False

    def tell(self, problem: str) -> None:
        """One line that an operator can do something about."""
        self.problems.append(problem)

    def broken(self, database: Path, why: str) -> None:
        """The database is damaged."""
        self.is_broken = True
        self.tell(f"{database}: the queue's database is damaged: {why}: {ADVICE}")


def look(root: Path, files: Files | None = None) -> Found:
    """Read all of it; waits for the disk, changes nothing. Raises Unavailable, ConfigurationError."""
    files, found, database = files or Files(), Found(), root / schema.DATABASE
    try:
        damage = wal.damage(database)
        if damage:
            found.log_is_damaged = found.is_broken = True
            found.tell(f"{damage}: {ADVICE}, or start the server, which goes on without them")
            return found
        with closing(schema.open_reader(database, 5.0)) as connection:
            schema.see_that_it_is_ours(connection, database)
            connection.execute("BEGIN")
            _look(root, files, connection, found)
    except sqlite3.OperationalError as error:
        raise store_schema.trouble(database, error) from error
    except sqlite3.DatabaseError as error:
        found.broken(database, str(error))
    except OSError as error:
        raise Unavailable(f"{error.filename or database}: {error.strerror}") from error
    return found


def check(root: Path, files: Files | None = None) -> Findings:
    """As `look`, in the words of IMaintenance.check."""
    found = look(root, files)
    return Findings(found.counts, tuple(found.problems))


def is_here(root: Path) -> bool:
    """Whether there is a spool of ours."""
    return (root / schema.DATABASE).is_file()


def _look(root: Path, files: Files, connection: sqlite3.Connection, found: Found) -> None:
    database = root / schema.DATABASE
    for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall():
        if line != "ok":
            found.broken(database, " ".join(str(line).split()))
    reader = Reader(connection)
    for row in connection.execute(f"SELECT {rows.MESSAGE} FROM messages ORDER BY id"):
        found.counts["queued messages"] += 1
        why = _wrong_with(root, files, reader, row)
        if why:
            found.damaged[row[0]] = why
            found.tell(f"{database}: queued message {row[0]}: {why}: {ADVICE}")
    for row in connection.execute(f"SELECT {rows.RECIPIENT} FROM recipients"):
        found.counts["queued recipients"] += 1
        try:
            rows.recipient(row)
        except Unreadable as error:
            found.tell(f"{database}: {error}: it is held: see mailkit queue show {row[0]}")
    for (message,) in connection.execute(
        "SELECT DISTINCT message FROM recipients WHERE message NOT IN (SELECT id FROM messages)"
    ):
        found.broken(database, f"recipients of {message}, which is not there")
    for (destination,) in connection.execute(NEVER_TRIED):
        found.broken(database, f"nobody would try {destination} when it is due")


NEVER_TRIED = (
    "SELECT destination FROM recipients LEFT JOIN destinations ON name = destination WHERE ready IS NOT NULL"
    " GROUP BY destination HAVING due IS NULL OR due > min(ready)"
)
"""Destinations of which the spool does not know when something is to be done."""


def _wrong_with(root: Path, files: Files, reader: Reader, row: rows.Row) -> str:
    try:
        message = rows.message(row)
        found = reader.blob(row[1])
        if found is None:
            return "its octets are not there"
        size, octets = found
        if octets is None:
            read_large(root, files, row[1], size, 0, STRIDE)
        if size != message.size:
            return f"it has {size} octets, and should have {message.size}"
    except FileNotFoundError:
        return f"{row[1]:x}.blob is missing"
    except (OSError, Damaged, Unreadable) as error:
        return str(error)
    return ""
