"""Restore: a backup is checked, copied to where a store is to be, and made to go on from there."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from twisted_mail_kit.errors import ConfigurationError, OverQuota, Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.stores.sqlite import schema
from twisted_mail_kit.stores.sqlite.backup import MARK
from twisted_mail_kit.stores.sqlite.files import PART, Files, copy_file, is_full
from twisted_mail_kit.stores.sqlite.fsck import check

FAR = 1 << 32
"""How far modseqs and email ids jump: more than an account can have been given since the backup."""
SOME = 1 << 20
"""How far what is scarcer jumps: numbers of accounts, mailboxes and segments, and UIDVALIDITY."""
RUNS = 1 << 16
"""How far the number of the run jumps, which blob numbers begin with: so many starts of a server."""

# Mail programs remember what they saw after the backup was made, and the store has forgotten it. No UID under the same
# UIDVALIDITY, no modseq, no email, blob or mailbox id may come to mean something else. Every mailbox gets a new
# UIDVALIDITY (RFC 3501 2.3.1.1). To let UIDs jump would not do: what was expunged after the backup is there again under
# its old UID, and a program that looks for new mail above the last UID that it knows would never see it. All earlier
# modseqs are forgotten ones, so who asks for changes is told to begin anew.


def restore(directory: Path, root: Path, files: Files | None = None) -> Findings:
    """Make `root`, which must not be there or be empty, the store that `directory` is a backup of; waits for the disk.

    Every checksum is looked at first. Raises ConfigurationError (no backup, the target is taken), Unavailable (the
    backup is damaged), OverQuota (no room). Until it is done there is nothing at `root`.
    """
    files = files or Files()
    if not (directory / MARK).is_file():
        raise ConfigurationError([f"{directory}: this is no backup of a mail store, or one that was never finished"])
    if not (directory / schema.INDEX).is_file():
        raise ConfigurationError([f"{directory}: this backup was never finished: there is nothing to restore"])
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigurationError([f"{root}: is not empty: nothing is restored on top of what is there"])
    _see_that_it_is_whole(directory, files)
    new = root.with_name(root.name + PART)
    try:
        shutil.rmtree(new, ignore_errors=True)  # left by one that was interrupted
        counts = _copy(directory, new, files)
        counts |= _go_on_from_here(new / schema.INDEX)
        files.sync_directory(new)
        if root.exists():
            root.rmdir()
        new.rename(root)
        files.sync_directory(root.parent)
    except BaseException as error:
        shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, OSError):
            if is_full(error):
                raise OverQuota(f"{root.parent}: the disk is full: nothing was restored") from error
            raise Unavailable(f"{error.filename or root}: nothing was restored: {error.strerror}") from error
        if isinstance(error, sqlite3.Error):
            raise schema.trouble(new / schema.INDEX, error) from error
        raise
    return Findings(counts)


def _see_that_it_is_whole(directory: Path, files: Files) -> None:
    with closing(schema.open_reader(directory / schema.INDEX, 5.0)) as connection:
        try:
            schema.see_that_it_is_ours(connection, directory / schema.INDEX)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"{directory / schema.INDEX}: the backup is damaged: {error}") from error
    if version != schema.VERSION:
        # Its rows cannot be read before they are brought to today's format, and a backup is left as it is.
        return
    problems = check(directory, files).problems
    if problems:
        raise Unavailable(
            f"{directory}: the backup is damaged, nothing was restored: {problems[0]}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
            + ": copy it and run mailkit fsck --repair on the copy, or take an older one"
        )


def _copy(directory: Path, new: Path, files: Files) -> dict[str, int]:
    counts = {"files": 0, "octets": 0}
    for folder, folders, names in os.walk(directory):
        folders.sort()
        there = new / Path(folder).relative_to(directory)
        there.mkdir(mode=0o700, parents=True)
        for name in sorted(names):
            if name == MARK or name.endswith(PART) or name.startswith("."):
                continue
            counts["files"] += 1
            counts["octets"] += copy_file(Path(folder) / name, there / name, files)
        files.sync_directory(there)
    files.sync_directory(new.parent)
    return counts


def _go_on_from_here(index: Path) -> dict[str, int]:
    """Nothing that was given out after the backup is given out again. Raises sqlite3.Error, Unavailable."""
    before = _version(index)
    # This one brings an older format to today's.
    connection = schema.open_writer(index, 5.0, 16 << 20)
    with closing(connection):
        if before != schema.VERSION:
            problems = check(index.parent).problems
            if problems:
                raise Unavailable(f"the backup is damaged, nothing was restored: {problems[0]}")
        connection.execute("BEGIN IMMEDIATE")
        _renumber(connection, int(time.time()))
        connection.execute("COMMIT")
        counts = {
            "accounts": connection.execute("SELECT count(*) FROM accounts").fetchone()[0],
            "mailboxes": connection.execute("SELECT count(*) FROM mailboxes").fetchone()[0],
            "messages": connection.execute("SELECT coalesce(sum(total), 0) FROM mailboxes").fetchone()[0],
        }
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return counts


def _version(index: Path) -> int:
    with closing(sqlite3.connect(index)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _renumber(connection: sqlite3.Connection, now: int) -> None:
    execute = connection.execute
    execute("DELETE FROM removals")
    execute(
        "UPDATE accounts SET modseq = modseq + ?1, forgotten = modseq + ?1, emails = emails + ?1, removals = 0", (FAR,)
    )
    kept = dict(execute("SELECT key, value FROM store").fetchall())
    base = max(kept["uidvalidity"], now) + SOME
    execute(
        "UPDATE mailboxes SET uidvalidity = ? + place,"
        " modseq = (SELECT modseq FROM accounts WHERE accounts.id = mailboxes.account)"
        " FROM (SELECT id AS number, row_number() OVER (ORDER BY id) AS place FROM mailboxes) WHERE number = id",
        (base,),
    )
    (mailboxes,) = execute("SELECT count(*) FROM mailboxes").fetchone()
    execute("UPDATE store SET value = ? WHERE key = 'uidvalidity'", (base + mailboxes,))
    execute("UPDATE store SET value = value + ? WHERE key = 'run'", (RUNS,))
    execute("INSERT OR REPLACE INTO store VALUES ('identity', ?)", (secrets.token_bytes(16),))
    for table in ("accounts", "mailboxes", "segments"):
        if not execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?", (SOME, table)).rowcount:
            execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, SOME))
