"""The contract of a store, held by stores at the other end of a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.workers.bench import FarStore, HalfFarStore
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.testing.contracts import MailStoreContract


class TestMemoryStoreOverALine(MailStoreContract):
    levels = ("core", "abilities")

    def make_store(self, tmp_path: Path) -> Any:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        return FarStore(MemoryStore(self.clock))

    def pass_time(self, store: Any, seconds: float) -> None:
        self.clock.advance(seconds)


class TestSQLiteStoreOverALine(MailStoreContract):
    levels = ("core", "abilities")
    persistent = True

    def make_store(self, tmp_path: Path) -> Any:
        return FarStore(SQLiteStore(tmp_path / "store", reactor))


class TestSQLiteStoreReadFromNear(MailStoreContract):
    levels = ("core", "abilities")
    persistent = True

    def make_store(self, tmp_path: Path) -> Any:
        return HalfFarStore(SQLiteStore(tmp_path / "store", reactor))
