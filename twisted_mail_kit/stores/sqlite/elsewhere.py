"""The embedded store as other processes read it: index and segments, and nothing that writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from attrs import frozen

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.net.threads import DaemonThreads
from twisted_mail_kit.stores.sqlite import schema
from twisted_mail_kit.stores.sqlite.account import SQLiteAccount
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.reading import Reader
from twisted_mail_kit.stores.sqlite.segmentreader import SegmentReader
from twisted_mail_kit.stores.sqlite.segments import Location
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings
from twisted_mail_kit.stores.sqlite.store import SQLiteStore, _Asking


class SQLiteReader(SQLiteStore):
    """What `IReadElsewhere` asks for: accounts that can be read. Raises Unavailable."""

    def __init__(self, reactor: Any, path: Path, settings: SQLiteSettings) -> None:
        # Not super's: that one writes.
        self.path = path
        self.settings = settings
        self._files = Files()
        self._reactor = reactor
        self._index = path / schema.INDEX
        try:
            self._reader = Reader(schema.open_reader(self._index, settings.lock_timeout))
            (secret,) = self._reader.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"{self._index}: {error}") from error
        self._batch: Any = _Known(secret)
        self.workroom: Any = _NoWorkroom()
        self._asking = _Asking(self._reader, self._index)
        self._spare: list[Reader] = []
        self._segments = SegmentReader(self._files, path)
        self._locations: dict[tuple[int, str], Location] = {}
        self._threads = DaemonThreads(0, 2, "mail store")
        self._threads.start()
        self._is_closed = False

    async def open_account(self, name: str, create: bool = False) -> SQLiteAccount:
        """Raises AccountNotFound; never makes one."""
        return await super().open_account(name)

    async def close(self) -> None:
        """Let go of files and threads."""
        if self._is_closed:
            return
        self._is_closed = True
        await self.in_thread(self._segments.forget)
        for reader in (self._reader, *self._spare):
            reader.connection.close()
        self._spare.clear()
        self._threads.stop()


@frozen
class _Known:
    secret: bytes
    """Of the store's blob ids."""


class _NoWorkroom:
    """Blobs in the making are in the process that writes."""

    def find(self, blob_id: str, account: int) -> None:
        """There is none."""
