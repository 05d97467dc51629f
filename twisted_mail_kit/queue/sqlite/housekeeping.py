"""What the writer forgets while nobody waits: old timelines, orphan files, room that is free."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import Logger

from twisted_mail_kit.queue.sqlite.batch import Batch
from twisted_mail_kit.queue.sqlite.runs import sweep
from twisted_mail_kit.queue.sqlite.settings import SpoolSettings
from twisted_mail_kit.stores.sqlite.files import Files

AT_ONCE = 1000
SWEEPS = 3600.0
"""Seconds between looks for the files of dead processes; the first is at start."""


class Housekeeping:
    """A round is many short transactions."""

    log = Logger()

    def __init__(self, root: Path, files: Files, settings: SpoolSettings) -> None:
        self._root = root
        self._files = files
        self._settings = settings
        self._next_sweep = 0.0

    def tidy(self, batch: Batch) -> bool:
        """One transaction of it; True: there is more to do. Raises OSError, sqlite3.Error."""
        if batch.seconds() >= self._next_sweep:
            self._next_sweep = batch.seconds() + SWEEPS
            batch.begin()
            removed = sweep(batch.connection, self._root, self._files)
            batch.commit()
            if removed:
                self.log.info("queue: {removed} files of interrupted messages were removed", removed=removed)
        return self._forget_events(batch) | self._give_room_back(batch)

    def _forget_events(self, batch: Batch) -> bool:
        before = batch.seconds() - self._settings.trace_age
        # Lines come in the order of time, more or less: a piece in which none is old ends the round.
        found = batch.execute("SELECT rowid, time FROM events ORDER BY rowid LIMIT ?", (AT_ONCE,)).fetchall()
        old = [(row,) for row, time in found if isinstance(time, float) and time < before]
        if old:
            batch.begin(is_durable=False)
            batch.executemany("DELETE FROM events WHERE rowid = ?", old)
            batch.commit()
        return len(old) == AT_ONCE

    def _give_room_back(self, batch: Batch) -> bool:
        free: int = batch.execute("PRAGMA freelist_count").fetchall()[0][0]
        if free < 4 * AT_ONCE:
            return False
        batch.execute(f"PRAGMA incremental_vacuum({AT_ONCE})").fetchall()
        return True
