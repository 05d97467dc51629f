"""Both bundled spools keep every promise of a spool; and a spool that breaks one is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor

from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.sqlite import SQLiteSpool
from twisted_mail_kit.testing.contracts.spool import SpoolContract, spool_contract

TestSQLiteSpool = spool_contract(lambda path: SQLiteSpool(path / "queue", reactor), persistent=True)


class TestMemorySpool(SpoolContract):
    def make_spool(self, tmp_path: Path) -> MemorySpool:
        return MemorySpool()

    def reopen(self, spool: Any) -> MemorySpool:
        return spool.reopened()
