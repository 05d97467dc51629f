"""The embedded store keeps every store's promises."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore
from twisted_mail_kit.stores.sqlite.restore import restore
from twisted_mail_kit.testing.contracts import LEVELS, MailStoreContract


class LaterReactor:
    """The reactor, with a clock that can be turned forward."""

    def __init__(self) -> None:
        self.later = 0.0

    def seconds(self) -> float:
        return reactor.seconds() + self.later

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class TestSQLiteStore(MailStoreContract):
    persistent = True
    crashes = 120
    power_cuts = 60

    def make_store(self, tmp_path: Path) -> SQLiteStore:
        return SQLiteStore(tmp_path, LaterReactor())

    async def pass_time(self, store: SQLiteStore, seconds: float) -> None:
        store._reactor.later += seconds
        await store.keep_house()

    def restore(self, directory: Path) -> SQLiteStore:
        there = directory.with_name(f"{directory.name} restored")
        restore(directory, there)
        return SQLiteStore(there, reactor)


class TestSmallPieces(MailStoreContract):
    """All messages but the smallest have files of their own, and segments are short."""

    levels = [level for level in LEVELS if level not in ("streaming", "processes")]
    persistent = True
    crashes = 80
    power_cuts = 60

    def make_store(self, tmp_path: Path) -> SQLiteStore:
        return SQLiteStore(tmp_path, reactor, SQLiteSettings(small_message=64, segment_size=256, lock_timeout=2))

    def hold_lock(self, tmp_path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "index.sqlite")
        connection.execute("BEGIN IMMEDIATE")
        return connection
