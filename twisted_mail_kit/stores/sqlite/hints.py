"""Who has changed: told at once for commits of our own, soon for those of other processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from twisted_mail_kit.stores.sqlite.reading import Reader


class Hints:
    """The watchers of one store. Looks at the index from time to time, only while somebody watches."""

    log = Logger()

    def __init__(self, reader: Reader, clock: Any, interval: float) -> None:
        self._reader = reader
        self._clock = clock
        self._interval = interval
        self._watchers: dict[object, Callable[[str, int], None]] = {}
        self._told: dict[str, int] = {}
        """What our own commits have changed since the last look."""
        self._data_version = 0
        self._serial = 0
        self._next: Any = None

    def watch(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        """See IChangeHints."""
        watch = object()
        self._watchers[watch] = heard
        if self._next is None:
            self._data_version = self._reader.data_version()
            self._serial = self._reader.serial()
            self._next = self._clock.callLater(self._interval, self._look)

        def unwatch() -> None:
            self._watchers.pop(watch, None)
            if not self._watchers:
                self.stop()

        return unwatch

    def committed(self, changed: dict[str, int]) -> None:
        """Our own writer has committed these."""
        if self._watchers:
            for name, modseq in changed.items():
                if self._told.get(name, 0) < modseq:
                    self._told[name] = modseq
                    self._tell(name, modseq)

    def stop(self) -> None:
        """Look no more."""
        self._watchers.clear()
        self._told.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        self._next = self._clock.callLater(self._interval, self._look)
        try:
            version = self._reader.data_version()
            if version == self._data_version:
                return
            self._data_version = version
            changed = self._reader.changed_accounts(self._serial)
        except sqlite3.Error:
            self.log.failure("mail store: no look at other processes' changes")
            return
        told, self._told = self._told, {}
        for name, modseq, serial in changed:
            self._serial = max(self._serial, serial)
            if told.get(name, 0) < modseq:
                # It may be our own commit, still on its way here; `committed` does not tell it again.
                self._told[name] = modseq
                self._tell(name, modseq)

    def _tell(self, name: str, modseq: int) -> None:
        for heard in list(self._watchers.values()):
            try:
                heard(name, modseq)
            except Exception:
                self.log.failure("a watcher of {account} failed", account=name)
