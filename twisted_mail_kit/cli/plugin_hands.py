"""What the general contract knows of a plugin's part: how it is made, and how time passes for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.cli.plugin_part import TurnedReactor, made


class Hands:
    """Makes the part as the server does."""

    kind = name = ""
    options: Sequence[str] = ()

    def made(self, tmp_path: Path, reactor: Any) -> Any:
        """A new one, in that folder."""
        return made(self.kind, self.name, self.options, tmp_path, reactor)


class StoreHands(Hands):
    """A store whose clock can be turned, where it is the server's."""

    reactor: TurnedReactor | None = None

    def made(self, tmp_path: Path, reactor: Any) -> Any:
        """With the same clock each time."""
        self.reactor = self.reactor or TurnedReactor(reactor)
        return super().made(tmp_path, self.reactor)

    def pass_time(self, store: Any, seconds: float) -> Any:
        """Turn the clock. A store that never asked for the time by `context.clock` has one that we cannot turn."""
        assert self.reactor is not None
        if not self.reactor.was_asked:
            pytest.skip("it does not ask context.clock what time it is: what it forgets in time was not looked at")
        self.reactor.ahead += seconds


class MemoryStoreHands(StoreHands):
    """The reference."""


class SQLiteStoreHands(StoreHands):
    """The embedded store, with all that its operator has."""

    async def pass_time(self, store: Any, seconds: float) -> None:
        """As a night would, with its housekeeping."""
        super().pass_time(store, seconds)
        await store.keep_house()

    def restore(self, directory: Path) -> Any:
        """As `mailkit restore` does."""
        from twisted_mail_kit.stores.sqlite import SQLiteStore
        from twisted_mail_kit.stores.sqlite.restore import restore

        assert self.reactor is not None
        there = directory.with_name(f"{directory.name} restored")
        restore(directory, there)
        return SQLiteStore(there, self.reactor)

    def hold_lock(self, tmp_path: Path) -> Any:
        """As another program would that writes to the index."""
        connection = sqlite3.connect(tmp_path / "store" / "index.sqlite")
        connection.execute("BEGIN IMMEDIATE")
        return connection
