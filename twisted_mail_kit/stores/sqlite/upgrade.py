"""Brings the index of an older format to today's, in one transaction or not at all.

Whoever changes the tables raises `schema.VERSION` by one and adds a Step here, in four moves:

1. Before the change, keep a small store of the old format: its dump under ``tests/stores/sqlite/`` beside the others.
2. Write the Step's statements out in full. They may not use `schema.SCHEMA`, which is about to become another one: a
   step describes what was, and is never changed again.
3. Only add, copy and drop: a statement that fails for one row leaves the operator with a store that does not open.
4. `tests/stores/sqlite/test_upgrade.py` takes each kept store through all steps, compares every fact, holds the tables
   against those of a new store, and kills the program in the middle.

The upgrade writes everything that changes to the log of the database first, so it takes up to the size of the index
once more on the disk. A program of the old format that still has the store open is answered with errors by SQLite from
then on, takes no message any more, and refuses to open it again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from twisted_mail_kit.errors import Unavailable

log = Logger()


@dataclass(frozen=True, slots=True)
class Step:
    """From the format before to this one."""

    version: int
    """The format that it makes."""
    statements: Sequence[str]


STEPS: Sequence[Step] = (
    # Format 1 had one row a message. Now what changes and what lists are made of (`entries`) is apart from what never
    # changes (`facts`), and a view is called as the table was.
    Step(
        2,
        (
            """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, account INTEGER NOT NULL, modseq INTEGER NOT NULL, flags NOT NULL,
        size INTEGER NOT NULL, internal_date INTEGER NOT NULL)""",
            """CREATE TABLE facts (
        id INTEGER PRIMARY KEY, email_id TEXT NOT NULL, thread_id TEXT NOT NULL, blob_id TEXT NOT NULL,
        saved_date INTEGER NOT NULL, created INTEGER NOT NULL, summary BLOB NOT NULL)""",
            "INSERT INTO entries SELECT id, account, modseq, flags, size, internal_date FROM messages ORDER BY id",
            "INSERT INTO facts SELECT id, email_id, thread_id, blob_id, saved_date, created, summary"
            " FROM messages ORDER BY id",
            "DROP TABLE messages",
            "CREATE INDEX entries_modseq ON entries (account, modseq)",
            """CREATE VIEW messages AS SELECT entries.id, account, email_id, thread_id, blob_id, size, internal_date,
        saved_date, flags, modseq, created, summary FROM entries LEFT JOIN facts ON facts.id = entries.id""",
            "CREATE TRIGGER entries_gone AFTER DELETE ON entries BEGIN DELETE FROM facts WHERE id = OLD.id; END",
            # Tokens lie together by periods of ten days.
            "UPDATE OR REPLACE tokens SET day = day - day % 10",
        ),
    ),
    # Until format 2 a token's key was the hash alone. Those that are there are looked for as long as they count.
    Step(
        3,
        (
            "INSERT INTO store SELECT 'older_tokens', day FROM tokens ORDER BY day DESC LIMIT 1",
            "ALTER TABLE tokens RENAME COLUMN day TO period",
        ),
    ),
)


def upgrade(connection: sqlite3.Connection, index: Path, wanted: int, steps: Sequence[Step] = STEPS) -> None:
    """Bring an index that is ours to the format `wanted`; an index that has it already is left as it is.

    Returns when it would survive a power cut. Raises Unavailable where it could not be done: then the index is as it
    was, and the next start tries again.
    """
    if _version(connection) >= wanted:
        return
    began = time.monotonic()
    try:
        connection.execute("BEGIN IMMEDIATE")
        version = _version(connection)  # another process may have been quicker
        if version < wanted:
            megabytes = index.stat().st_size / 1e6
            log.info(
                "{index}: bringing format {old} to format {new}, {megabytes:.0f} MB; this may take a while",
                index=str(index),
                old=version,
                new=wanted,
                megabytes=megabytes,
            )
            for step in steps:
                if version < step.version <= wanted:
                    for statement in step.statements:
                        connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {wanted}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        what = "the disk is full: make room for the size of this file, and start again" if full else str(error)
        log.error("{index}: stays in format {old}: {what}", index=str(index), old=_version(connection), what=what)
        raise Unavailable(f"{index}: could not be brought to format {wanted}, nothing was changed: {what}") from error
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    log.info(
        "{index}: is in format {new} now, after {seconds:.1f} s",
        index=str(index),
        new=wanted,
        seconds=time.monotonic() - began,
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
