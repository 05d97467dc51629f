"""Backup of the spool: its database as it is at one moment, and the large messages that it names."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from twisted_mail_kit.errors import OverQuota, Unavailable
from twisted_mail_kit.queue.sqlite import schema
from twisted_mail_kit.stores.sqlite.files import PART, Files, copy_into_place, is_full
from twisted_mail_kit.stores.sqlite.keeping import snapshot
from twisted_mail_kit.stores.sqlite.schema import reading
from twisted_mail_kit.stores.sqlite.segments import large_path

ATTEMPTS = 5


def backup(root: Path, directory: Path, files: Files | None = None) -> int:
    """Make `directory` a copy of the spool in `root`, in use or not; answers how many messages wait in it.

    Waits for the disk. Raises Unavailable, OverQuota.
    """
    files = files or Files()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):
            try:
                return _attempt(root, directory, files)
            except FileNotFoundError:
                continue  # a message has left the queue between its row and its file
        raise Unavailable(f"{root}: a large message's file is missing, or the queue is too busy to be copied")
    except sqlite3.Error as error:
        if is_full(error):
            raise OverQuota(f"{directory}: the disk is full") from error
        raise Unavailable(f"{root / schema.DATABASE}: {error}") from error
    except OSError as error:
        if is_full(error):
            raise OverQuota(f"{directory}: the disk is full") from error
        raise Unavailable(f"{error.filename or directory}: the queue was not copied: {error.strerror}") from error


def _attempt(root: Path, directory: Path, files: Files) -> int:
    new = directory / (schema.DATABASE + PART)
    try:
        address = reading(root / schema.DATABASE)
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as source:
            snapshot(source, new, files, "SELECT count(*) FROM messages")
        with closing(sqlite3.connect(new)) as target:
            (messages,) = target.execute("SELECT count(*) FROM messages").fetchone()
            numbers = [number for (number,) in target.execute("SELECT id FROM blobs WHERE octets IS NULL")]
        kept = set()
        for number in numbers:
            path = large_path(directory, number)
            kept.add(path)
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                copy_into_place(large_path(root, number), path, files)
        fd = files.open(new)
        try:
            files.sync(fd)
        finally:
            files.close(fd)
        new.replace(directory / schema.DATABASE)
        files.sync_directory(directory)
    finally:
        for left in (new, new.with_name(f"{new.name}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)
    for path in directory.glob("large/*/*"):
        if path not in kept:
            files.remove(path)
    return int(messages)
