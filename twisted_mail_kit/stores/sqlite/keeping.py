"""Copies of a database, its log with it: as it was found, and as it is at one moment."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from twisted_mail_kit.stores.sqlite import wal
from twisted_mail_kit.stores.sqlite.files import Files


def keep_copy(database: Path, lost: Path) -> Path:
    """Copy it as it was found, for a person to look at, into a new folder in `lost`; durable. Raises OSError."""
    lost.mkdir(mode=0o700, exist_ok=True)
    base = f"{database.stem}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    taken = len(list(lost.glob(base + "*")))
    copy = lost / (f"{base}-{taken}" if taken else base)
    copy.mkdir(mode=0o700)
    for path in (database, wal.log_path(database)):
        if path.exists():
            shutil.copy2(path, copy / path.name)
            with (copy / path.name).open("rb") as file:
                os.fsync(file.fileno())
    for folder in (copy, lost, lost.parent):
        Files().sync_directory(folder)
    return copy


def snapshot(
    source: sqlite3.Connection,
    target: Path,
    files: Files,
    moment: str,
    pages: int = -1,
    rest: Callable[[], object] = int,
) -> None:
    """A new file with the database as it is now, in one piece and without a log beside it; not synced yet.

    `moment` is a question whose answer is of that moment; `rest` is called between so many `pages`. Raises
    sqlite3.Error, OSError.
    """
    target.unlink(missing_ok=True)
    files.close(files.create(target))
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # it is synced as a whole
        source.execute("BEGIN")
        try:
            source.execute(moment).fetchone()
            source.backup(copy, pages=pages, progress=lambda *_: rest())
        finally:
            # At once: the log cannot be emptied while it lasts.
            source.execute("COMMIT")
        # So it can be read from a medium that is read-only.
        copy.execute("PRAGMA journal_mode = DELETE")
