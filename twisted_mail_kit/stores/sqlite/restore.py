"""Restore: a backup is checked, copied to where a store is to be, and made to go on from there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from twisted_mail_kit.errors import ConfigurationError, OverQuota, Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.stores.sqlite import schema
from twisted_mail_kit.stores.sqlite.backup import MARK
from twisted_mail_kit.stores.sqlite.files import PART, Files, copy_file, is_full
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.renumber import renumber
from twisted_mail_kit.stores.sqlite.repair import repair


def restore(directory: Path, root: Path, files: Files | None = None, is_partial: bool = False) -> Findings:
    """Make `root`, which must not be there or be empty, the store that `directory` is a backup of; waits for the disk.

    Every checksum is looked at first. `is_partial`: where the backup is damaged, restore the rest of it; `problems` is
    what was found, and what is not in the new store, as `repair` tells it. Raises ConfigurationError (no backup, the
    target is taken), Unavailable (the backup is damaged), OverQuota (no room). Until it is done there is nothing at
    `root`.
    """
    files = files or Files()
    if not (directory / MARK).is_file():
        raise ConfigurationError([f"{directory}: this is no backup of a mail store, or one that was never finished"])
    if not (directory / schema.INDEX).is_file():
        raise ConfigurationError([f"{directory}: this backup was never finished: there is nothing to restore"])
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigurationError([f"{root}: is not empty: nothing is restored on top of what is there"])
    if not is_partial:
        _see_that_it_is_whole(directory, files)
    new = root.with_name(root.name + PART)
    try:
        shutil.rmtree(new, ignore_errors=True)  # left by one that was interrupted
        counts = _copy(directory, new, files)
        problems = _keep_what_is_whole(new, files) if is_partial else ()
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
    return Findings(counts, tuple(line.replace(str(new), str(root)) for line in problems))


def _keep_what_is_whole(new: Path, files: Files) -> Sequence[str]:
    """Repair the copy, in today's format; answers what was found and done."""
    index = new / schema.INDEX
    try:
        schema.open_writer(index, 5.0, 16 << 20).close()
    except ConfigurationError:
        pass  # it is damaged, so it is made anew
    return repair(new, files).problems


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
            + ": take an older one, or restore the rest of it with --partial"
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
        renumber(connection, int(time.time()))
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
