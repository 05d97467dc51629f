"""The embedded store: doors to a directory with an index and segments of message bodies."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.errors import AccountNotFound, BadSyntax, BlobNotFound, Unavailable
from twisted_mail_kit.interfaces import (
    IAccountList,
    IChangeHints,
    IMailStore,
    IMaintenance,
    IReadElsewhere,
    ISharedBlobs,
)
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.mail.operations import CreateMailbox
from twisted_mail_kit.net.threads import DaemonThreads
from twisted_mail_kit.stores.sqlite import fsck, rows, schema
from twisted_mail_kit.stores.sqlite.account import SQLiteAccount
from twisted_mail_kit.stores.sqlite.backup import backup
from twisted_mail_kit.stores.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.blobs import BlobWriter, Workroom
from twisted_mail_kit.stores.sqlite.compaction import Compaction
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.fsck import tell_missing
from twisted_mail_kit.stores.sqlite.hints import Hints
from twisted_mail_kit.stores.sqlite.housekeeping import Housekeeping, recover
from twisted_mail_kit.stores.sqlite.operations import Work, remove_account
from twisted_mail_kit.stores.sqlite.reading import SHORT, Reader
from twisted_mail_kit.stores.sqlite.records import record_path
from twisted_mail_kit.stores.sqlite.segmentreader import RUN, SegmentReader, runs, span
from twisted_mail_kit.stores.sqlite.segments import Damaged, Location, Mistrusted, Place, SegmentLog
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings
from twisted_mail_kit.stores.sqlite.writer import Request, Writer

T = TypeVar("T")
AT_ONCE = 256 * 1024
"""Octets of a blob that are read in the reactor thread, where they are in memory."""
LOCATIONS = 4096
NEIGHBOURS = 8
"""So many blobs are worth to be looked for one behind the other."""


class _Asking:
    """A question in the reactor thread."""

    def __init__(self, reader: Reader, index: Path) -> None:
        self._reader = reader
        self._index = index

    def __enter__(self) -> Reader:
        return self._reader

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise schema.trouble(self._index, error) from error
        if isinstance(error, (ValueError, TypeError)):
            raise Unavailable(f"{self._index}: a row that cannot be ({error}): run mailkit fsck") from error


@implementer(IMailStore, ISharedBlobs, IAccountList, IChangeHints, IReadElsewhere, IMaintenance)
class SQLiteStore:
    """Many accounts in one directory, which belongs to this store alone; several processes may open it.

    Raises ConfigurationError where the directory is another program's, or of a newer format, and Unavailable where it
    cannot be opened now.
    """

    log = Logger()

    def __init__(
        self, path: Path, reactor: Any, settings: SQLiteSettings | None = None, files: Files | None = None
    ) -> None:
        self.path = Path(path)
        self.settings = settings = settings or SQLiteSettings()
        self._files = files = files or Files()
        self._reactor = reactor
        index = schema.prepare(self.path, files)
        connection = schema.open_writer(index, settings.lock_timeout, settings.cache_size)
        try:
            segment_log = SegmentLog(files, self.path, settings.segment_size, reactor.seconds)
            self._batch = batch = Batch(connection, segment_log, reactor.seconds)
            recover(self.path, files, batch, self.log)
            self._index = index
            tell_missing(self.path, connection, self.log)
            self._reader = Reader(schema.open_reader(index, settings.lock_timeout))
        except sqlite3.Error as error:
            connection.close()
            raise schema.trouble(index, error) from error
        except Mistrusted as error:
            connection.close()
            raise Unavailable(str(error)) from error
        except (TypeError, ValueError) as error:
            connection.close()
            raise Unavailable(f"{index}: a row is missing or damaged: run mailkit fsck") from error
        self._asking = _Asking(self._reader, index)
        self._spare: list[Reader] = []
        self._segments = SegmentReader(files, self.path)
        self._locations: dict[tuple[int, str], Location] = {}
        self._threads = DaemonThreads(0, 4, "mail store")
        self._threads.start()
        self._is_closed = False
        self._hints = Hints(self._reader, reactor, settings.watch_interval)
        self._housekeeping = Housekeeping(self.path, files, settings, self._house_kept)
        self.writer = Writer(reactor, batch, segment_log, settings, self._housekeeping.tidy, self._hints.committed)
        self.workroom = Workroom(
            self.path,
            files,
            settings,
            reactor.seconds,
            self.in_thread,
            self._next_run,
            self.writer.mistrust,
            batch.secret,
        )
        self._compaction = Compaction(
            self.path,
            files,
            settings,
            reactor.seconds,
            segment_log,
            lambda job: self.writer.submit(Request(job=job)),
            self.ask_elsewhere,
            self.in_thread,
            self._housekeeping,
            self.keep_house,
            self.writer.mistrust,
        )
        self.writer.start()

    # --- IMailStore --------------------------------------------------------------------------------------------------

    async def open_account(self, name: str, create: bool = False) -> SQLiteAccount:
        """See IMailStore."""
        number: int | None = None
        if _is_text(name):
            with self.asking() as reader:
                number = reader.account(name)
        if number is None:
            if not create:
                raise AccountNotFound(name)
            if not name or not _is_text(name):
                raise BadSyntax("an account's name has to be text")
            number = await self.writer.submit(Request(job=lambda batch: self._create(batch, name)))
        return SQLiteAccount(self, number, name)

    async def close(self) -> None:
        """See IMailStore."""
        if self._is_closed:
            return
        self._is_closed = True
        self._hints.stop()
        await self._compaction.stop()
        await self.writer.close()
        await self.in_thread(self._segments.forget)
        for reader in (self._reader, *self._spare):
            reader.connection.close()
        self._spare.clear()
        if not self.writer.mistrusts:
            # Readers cannot do it. Left in the log, commits would hang on a file that is easily taken for rubbish.
            await self.in_thread(lambda: schema.empty_log(self._index))
        self._threads.stop()

    # --- ISharedBlobs, IAccountList, IChangeHints --------------------------------------------------------------------

    def new_blob(self, size_hint: int | None = None) -> BlobWriter:
        """See ISharedBlobs."""
        return BlobWriter(self.workroom, None, size_hint)

    async def account_names(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See IAccountList."""
        with self.asking() as reader:
            if limit <= SHORT:
                return reader.account_names(after, max(limit, 0))
        return await self.ask_elsewhere(lambda reader: reader.account_names(after, limit))

    async def remove_account(self, name: str) -> None:
        """See IAccountList."""
        if not _is_text(name):
            raise AccountNotFound(name)
        await self.writer.submit(Request(job=lambda batch: remove_account(batch, name)))
        self._locations.clear()

    def watch_changes(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        """See IChangeHints."""
        return self._hints.watch(heard)

    def read_elsewhere(self) -> tuple[str, Mapping[str, object]]:
        """See IReadElsewhere."""
        where = {"path": self.path.absolute(), "settings": self.settings}
        return "twisted_mail_kit.stores.sqlite.elsewhere.SQLiteReader", where

    async def keep_house(self) -> None:
        """Forget now what need not be remembered; the writer does it from time to time by itself."""
        await self.writer.submit(Request(keeps_house=True))

    # --- IMaintenance ------------------------------------------------------------------------------------------------

    async def compact(self) -> Findings:
        """See IMaintenance."""
        house = self._housekeeping
        files, octets = house.files_freed, house.octets_freed
        await self._keep_house_well()
        findings = await self._compaction.run()
        await self._keep_house_well()
        self._forget_places()
        freed = {"files removed": house.files_freed - files, "octets freed": house.octets_freed - octets}
        problems = list(findings.problems)
        if house.is_held:
            problems.append(f"{self.path}: a backup is being made: what is dead is removed when it is over")
        return Findings({**findings.counts, **freed}, tuple(problems))

    async def _keep_house_well(self) -> None:
        while await self.writer.submit(Request(keeps_house=True)):
            pass

    async def backup(self, directory: Path) -> Findings:
        """See IMaintenance."""
        return await self.in_thread(lambda: backup(self.path, directory, self._files, lambda: not self._is_closed))

    async def check(self) -> Findings:
        """See IMaintenance."""
        return await self.in_thread(lambda: fsck.check(self.path, self._files, lambda: not self._is_closed))

    # --- for accounts ------------------------------------------------------------------------------------------------

    def asking(self) -> _Asking:
        """The reactor thread's reader; a database that cannot answer is Unavailable."""
        if self._is_closed:
            raise Unavailable("the store is closed")
        return self._asking

    async def ask_elsewhere(self, question: Callable[[Reader], T]) -> T:
        """Ask in another thread: what takes long."""

        def ask() -> T:
            try:
                reader = self._spare.pop()
            except IndexError:
                reader = Reader(schema.open_reader(self._index, self.settings.lock_timeout))
            try:
                return question(reader)
            finally:
                self._spare.append(reader)

        try:
            answer: T = await self.in_thread(ask)
        except sqlite3.Error as error:
            raise schema.trouble(self._index, error) from error
        except (ValueError, TypeError) as error:
            raise Unavailable(f"{self._index}: a row that cannot be ({error}): run mailkit fsck") from error
        return answer

    def in_thread(self, action: Callable[[], T]) -> Awaitable[T]:
        """Do it in a thread of this store."""
        if self._is_closed and self._threads.joined:
            raise Unavailable("the store is closed")
        return deferToThreadPool(self._reactor, self._threads, action)

    def locate(self, account: int, blob_id: str) -> Location | None:
        """Where the index has a blob, if this account may read it."""
        key = (account, blob_id)
        location = self._locations.get(key)
        if location is None:
            number = rows.blob_number(blob_id, self._batch.secret)
            if number is None:
                return None
            with self.asking() as reader:
                location = reader.location(account, number)
            if location is not None:
                if len(self._locations) >= LOCATIONS:
                    self._locations.clear()
                self._locations[key] = location
        return location

    async def read_octets(self, location: Location, offset: int, size: int) -> bytes:
        """Octets of a blob: at once where the system has them in memory, otherwise in a thread."""
        try:
            if min(size, location.size) <= AT_ONCE:
                octets = self._segments.read_now(location, offset, size)
                if octets is not None:
                    return octets
            file = self._segments.opened(location)
            return await self.in_thread(lambda: self._segments.read(file, location, offset, size))
        except FileNotFoundError as error:
            moved = self._look_again(location)
            if moved is None:
                raise BlobNotFound(f"blob {location.number}") from error
        except OSError as error:
            raise Unavailable(f"blob {location.number}: {error}") from error
        except Damaged as error:
            text = f"{record_path(self.path, location)}: {error}: run mailkit fsck"
            self.log.critical("mail store is damaged: {error}", error=text)
            raise Unavailable(text) from error
        return await self.read_octets(moved, offset, size)

    def read_whole_now(self, place: Place) -> bytes | None:
        """A blob that is whole, and in memory; None: `read_many` is to be asked."""
        try:
            return self._segments.read_whole_now(place) if place[3] <= AT_ONCE else None
        except OSError:
            return None

    def read_neighbours(self, account: int, numbers: Sequence[int]) -> Sequence[bytes] | None:
        """Whole blobs of ascending numbers that lie one behind the other, and in memory; None: not all of them do."""
        # Hot path: a mailbox's messages have mostly come one after the other, with few of other accounts between them.
        if len(numbers) < NEIGHBOURS or numbers[-1] - numbers[0] >= 2 * len(numbers):
            return None
        with self.asking() as reader:
            first, last = reader.places(account, (numbers[0], numbers[-1]))
        try:
            return self._segments.read_neighbours_now(first, last, numbers) if first and last else None
        except OSError:
            return None

    async def read_many(self, places: Sequence[Place]) -> list[bytes | None]:
        """Whole blobs; None for one that cannot be read this way now: `read_octets` says why."""
        found: list[bytes | None] = []
        for run in runs(places):
            try:
                bodies = self._segments.read_run_now(run) if span(run)[1] <= 2 * RUN else None
                if bodies is None:
                    bodies = await self._read_run(run)
            except OSError:
                found += [None] * len(run)
            else:
                found += bodies
        return found

    def _read_run(self, run: Sequence[Place]) -> Awaitable[list[bytes | None]]:
        file = self._segments.opened(run[0])
        return self.in_thread(lambda: self._segments.read_run(file, run))

    def _look_again(self, location: Location) -> Location | None:
        """Where a blob is whose segment was removed since we last looked."""
        self._locations.clear()
        with self.asking() as reader:
            moved = reader.location(None, location.number)
        return None if moved == location else moved

    # --- looking after it --------------------------------------------------------------------------------------------

    def _house_kept(self, segments: set[int]) -> None:
        """Something has died in these segments. In the writer's thread."""
        self._reactor.callFromThread(self._after_housekeeping, segments)

    def _after_housekeeping(self, segments: set[int]) -> None:
        if not self._is_closed:
            self._forget_places()
            Deferred.fromCoroutine(self._compaction.after_housekeeping(segments))

    def _forget_places(self) -> None:
        self._locations.clear()
        self._segments.forget_removed()

    # --- jobs of the writer ------------------------------------------------------------------------------------------

    def _next_run(self) -> Awaitable[int]:
        def job(batch: Batch) -> int:
            sql = "UPDATE store SET value = value + 1 WHERE key = 'run' RETURNING value"
            return int(batch.execute(sql).fetchone()[0])

        return self.writer.submit(Request(job=job))

    def _create(self, batch: Batch, name: str) -> int:
        row = batch.execute("SELECT id FROM accounts WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return int(row[0])  # somebody was quicker
        number = batch.execute(
            "INSERT INTO accounts (name, modseq, emails, removals, forgotten, serial) VALUES (?, 0, 0, 0, 0, 0)",
            (name,),
        ).lastrowid
        assert number is not None
        work = Work(batch, batch.account(number), {}, self.settings)
        work.run([CreateMailbox(("INBOX",), "inbox")])
        return number


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
