"""The bundled spool: a door to a directory with a database of what waits, and large messages beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound, Unavailable
from twisted_mail_kit.interfaces import IBlobWriter, ISpool, ISpoolCounts
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, Settled, SpoolCounts, TraceEvent
from twisted_mail_kit.net.threads import DaemonThreads
from twisted_mail_kit.queue.codec import encode_envelope
from twisted_mail_kit.queue.sqlite import jobs, leasing, rows, schema
from twisted_mail_kit.queue.sqlite.batch import Batch
from twisted_mail_kit.queue.sqlite.housekeeping import Housekeeping
from twisted_mail_kit.queue.sqlite.reading import Reader, read_large
from twisted_mail_kit.queue.sqlite.runs import begin_run, end_run
from twisted_mail_kit.queue.sqlite.settings import SpoolSettings
from twisted_mail_kit.queue.sqlite.writer import Writer
from twisted_mail_kit.stores.sqlite import schema as store_schema
from twisted_mail_kit.stores.sqlite.blobs import BlobWriter, Workroom
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile
from twisted_mail_kit.stores.sqlite.rows import blob_number
from twisted_mail_kit.stores.sqlite.segments import Damaged, large_path
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

T = TypeVar("T")
OURS = 0
"""The blobs' one account: a spool has no other."""


@implementer(ISpool, ISpoolCounts)
class SQLiteSpool:
    """A queue in one directory, which belongs to it alone; several processes may open it, each with owners of its own.

    Raises ConfigurationError where the directory is another program's, or of a newer format, and Unavailable where it
    cannot be opened now.
    """

    log = Logger()

    def __init__(
        self, path: Path, reactor: Any, settings: SpoolSettings | None = None, files: Files | None = None
    ) -> None:
        self.path = Path(path)
        self.settings = settings = settings or SpoolSettings()
        self._files = files = files or Files()
        self._reactor = reactor
        self._database = database = schema.prepare(self.path, files)
        connection = schema.open_writer(database, settings.lock_timeout, settings.cache_size)
        self._runs: dict[int, OpenFile] = {}
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._batch = Batch(connection, self._new_run(connection), reactor.seconds)
            connection.execute("COMMIT")
            self._reader = Reader(schema.open_reader(database, settings.lock_timeout))
        except (sqlite3.Error, OSError) as error:
            connection.close()
            raise Unavailable(f"{database}: {error}") from error
        self._spare: list[Reader] = []
        self._is_closed = False
        self._is_first_run_used = False
        self._threads = DaemonThreads(0, 2, "mail spool")
        self._threads.start()
        self._housekeeping = Housekeeping(self.path, files, settings)
        self._writer = Writer(
            reactor, self._batch, settings.housekeeping_interval, self._housekeeping.tidy, self._remove_large
        )
        self._workroom = Workroom(
            self.path,
            files,
            SQLiteSettings(small_message=settings.small_message),
            reactor.seconds,
            self._in_thread,
            self._next_run,
            self._writer.mistrust,
            b"",
        )
        self._writer.start()

    # --- octets ------------------------------------------------------------------------------------------------------

    def new_blob(self, size_hint: int | None = None) -> IBlobWriter:
        """See ISpool."""
        return BlobWriter(self._workroom, OURS, size_hint)

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See ISpool. What cannot be read, or is not what was written, is held: its messages, and no others."""
        number = blob_number(blob_id, b"")
        if number is None:
            raise BlobNotFound(blob_id)
        pending = self._workroom.find(blob_id, OURS)
        if pending is not None and pending.octets is not None:
            return pending.octets[offset : offset + size]
        try:
            if pending is not None and pending.location is not None:
                whole = pending.location.size
            else:
                found = self._now(lambda reader: reader.blob(number))
                if found is None:
                    raise BlobNotFound(blob_id)
                whole, octets = found
                if octets is not None:
                    return octets[offset : offset + size]
            if offset >= whole:
                return b""
            return await self._in_thread(lambda: read_large(self.path, self._files, number, whole, offset, size))
        except FileNotFoundError as error:
            await self._writer.submit(lambda batch: jobs.set_aside_blob(batch, number, "its octets are not there"))
            raise BlobNotFound(blob_id) from error
        except OSError as error:
            raise Unavailable(f"blob {blob_id}: {error}") from error
        except Damaged as error:
            why = str(error)
            await self._writer.submit(lambda batch: jobs.set_aside_blob(batch, number, why))
            raise Unavailable(why) from error

    # --- work --------------------------------------------------------------------------------------------------------

    async def add(
        self,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        owner: str = "",
        until: float = 0.0,
        events: Sequence[TraceEvent] = (),
    ) -> None:
        """See ISpool."""
        numbers = {one.number for one in recipients}
        if not numbers or len(numbers) < len(recipients) or any(one.message_id != message.id for one in recipients):
            raise ValueError("a message has recipients, each with a number of its own")
        number = blob_number(message.blob_id, b"")
        if number is None:
            raise BlobNotFound(message.blob_id)
        pending = self._workroom.find(message.blob_id, OURS)
        row = (message.id, number, message.size, encode_envelope(message.envelope))
        new = [rows.new_recipient(one, owner, self._batch.run, until) for one in recipients]
        lines = list(events)
        await self._writer.submit(lambda batch: jobs.add(batch, row, new, owner, pending, lines))
        if pending is not None:
            self._workroom.written(pending)

    async def lease(
        self, owner: str, now: float, until: float, limit: int = 100, busy: Sequence[str] = ()
    ) -> Sequence[Lease]:
        """See ISpool."""
        skipped = frozenset(busy)
        return await self._writer.submit(
            lambda batch: leasing.lease(batch, owner, now, until, limit, skipped), is_durable=False
        )

    async def renew(self, owner: str, until: float) -> None:
        """See ISpool."""
        await self._writer.submit(lambda batch: jobs.renew(batch, owner, float(until)), is_durable=False)

    async def settle(self, settled: Sequence[Settled], events: Sequence[TraceEvent] = ()) -> None:
        """See ISpool."""
        became, lines = list(settled), list(events)
        await self._writer.submit(lambda batch: jobs.settle(batch, became, lines))

    async def next_due(self) -> float | None:
        """See ISpool."""
        return self._now(lambda reader: reader.next_due())

    async def messages(
        self, after: str = "", limit: int = 100
    ) -> Sequence[tuple[QueuedMessage, Sequence[QueuedRecipient]]]:
        """See ISpool."""
        return await self._elsewhere(lambda reader: reader.messages(after, limit))

    async def change(
        self,
        message_id: str,
        next_try: float | None = None,
        is_held: bool | None = None,
        numbers: Sequence[int] | None = None,
    ) -> int:
        """See ISpool."""
        when = None if next_try is None else float(next_try)
        return await self._writer.submit(lambda batch: jobs.change(batch, message_id, when, is_held, numbers))

    async def remove(self, message_id: str, numbers: Sequence[int] | None = None) -> int:
        """See ISpool."""
        return await self._writer.submit(lambda batch: jobs.remove(batch, message_id, numbers))

    async def trace(self, trace_id: str) -> Sequence[TraceEvent]:
        """See ISpool."""
        return await self._elsewhere(lambda reader: reader.trace(trace_id))

    async def record(self, events: Sequence[TraceEvent]) -> None:
        """See ISpool."""
        lines = list(events)
        await self._writer.submit(lambda batch: batch.record(lines), is_durable=False)

    async def close(self) -> None:
        """See ISpool."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.close()
        for run in self._runs:
            end_run(self.path, self._files, run)
        self._runs.clear()
        for reader in (self._reader, *self._spare):
            reader.connection.close()
        self._spare.clear()
        if not self._writer.mistrusts:
            # Readers cannot do it. Left in the log, commits would hang on a file that is easily taken for rubbish.
            empty_log: Awaitable[None] = deferToThreadPool(
                self._reactor, self._threads, lambda: store_schema.empty_log(self._database)
            )
            await empty_log
        self._threads.stop()

    # --- ISpoolCounts ------------------------------------------------------------------------------------------------

    async def counts(self, now: float) -> SpoolCounts:
        """See ISpoolCounts."""
        return await self._elsewhere(lambda reader: reader.counts(now))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _now(self, question: Callable[[Reader], T]) -> T:
        """Ask in the reactor thread: what is a row or two."""
        if self._is_closed:
            raise Unavailable("the spool is closed")
        try:
            return question(self._reader)
        except sqlite3.Error as error:
            raise Unavailable(f"{self._database}: {error}") from error

    async def _elsewhere(self, question: Callable[[Reader], T]) -> T:
        """Ask in another thread: what takes long."""

        def ask() -> T:
            try:
                reader = self._spare.pop()
            except IndexError:
                reader = Reader(schema.open_reader(self._database, self.settings.lock_timeout))
            try:
                return question(reader)
            finally:
                self._spare.append(reader)

        try:
            return await self._in_thread(ask)
        except sqlite3.Error as error:
            raise Unavailable(f"{self._database}: {error}") from error

    def _in_thread(self, action: Callable[[], T]) -> Awaitable[T]:
        if self._is_closed:
            raise Unavailable("the spool is closed")
        begun: Awaitable[T] = deferToThreadPool(self._reactor, self._threads, action)
        return begun

    def _next_run(self) -> Awaitable[int]:
        """Blob numbers begin with it: with that of the opening, until the count after it is used up."""
        if not self._is_first_run_used:
            self._is_first_run_used = True
            return succeed(self._batch.run)
        return self._writer.submit(lambda batch: self._new_run(batch.connection))

    def _new_run(self, connection: sqlite3.Connection) -> int:
        run, file = begin_run(connection, self.path, self._files)
        self._runs[run] = file
        return run

    def _remove_large(self, numbers: list[int]) -> None:
        """Blobs whose last message has gone. In the writer's thread."""
        for number in numbers:
            try:
                self._files.remove(large_path(self.path, number))
            except OSError as error:  # it is swept away at the next start
                self.log.warn("queue: a file could not be removed: {error}", error=str(error))
