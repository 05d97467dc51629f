"""Runs: each opening of a spool has a number and a locked file, so that others can tell what the dead left behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from twisted_mail_kit.stores.sqlite.files import Files, OpenFile
from twisted_mail_kit.stores.sqlite.segments import large_path

# Blob numbers are run << 32 | count (stores/sqlite/blobs.py). A large blob is written before the database knows it:
# while its run lives, nobody else may take it for an orphan.


def begin_run(connection: sqlite3.Connection, root: Path, files: Files) -> tuple[int, OpenFile]:
    """A new number, and its file, which is locked for as long as it is open. Within a write transaction, as `sweep`,
    so that nobody finds the file before it is locked. Raises OSError, sqlite3.Error."""
    sql = "UPDATE spool SET value = value + 1 WHERE key = 'run' RETURNING value"
    run = int(connection.execute(sql).fetchall()[0][0])
    path = _lock_path(root, run)
    files.remove(path)  # left over where the database was put back from a copy
    file = OpenFile(files, files.create(path))
    files.lock(file.fd)
    return run, file


def end_run(root: Path, files: Files, run: int) -> None:
    """The run ends in order."""
    files.remove(_lock_path(root, run))


def sweep(connection: sqlite3.Connection, root: Path, files: Files) -> int:
    """Remove large blobs that no message refers to, and whose run is dead; answers how many. Within a write
    transaction. Raises OSError, sqlite3.Error."""
    alive: dict[int, bool] = {}
    removed = 0
    for path, number in _large_blobs(root):
        run = number >> 32
        if run not in alive:
            alive[run] = _is_alive(root, files, run)
        if alive[run] or connection.execute("SELECT 1 FROM blobs WHERE id = ?", (number,)).fetchall():
            continue
        files.remove(path)
        removed += 1
    for path in list((root / "runs").glob("*.lock")):
        try:
            run = int(path.stem, 16)
        except ValueError:
            continue
        if not _is_alive(root, files, run):
            files.remove(path)
    return removed


def _large_blobs(root: Path) -> Iterator[tuple[Path, int]]:
    for path in list((root / "large").glob("*/*.blob")):
        try:
            number = int(path.stem, 16)
        except ValueError:
            continue
        if path == large_path(root, number):
            yield path, number


def _is_alive(root: Path, files: Files, run: int) -> bool:
    try:
        file = OpenFile(files, files.open(_lock_path(root, run)))
    except FileNotFoundError:
        return False
    return not files.lock(file.fd)


def _lock_path(root: Path, run: int) -> Path:
    return root / "runs" / f"{run:08x}.lock"
