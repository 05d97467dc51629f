"""Compaction: what lives in segments that are mostly dead is copied, so that their files can go."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from twisted_mail_kit.errors import OverQuota, Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.stores.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile, is_full, read_all, write_all
from twisted_mail_kit.stores.sqlite.housekeeping import Housekeeping
from twisted_mail_kit.stores.sqlite.reading import Reader
from twisted_mail_kit.stores.sqlite.segments import (
    HEADER_SIZE,
    LARGE,
    NO_LOW,
    Damaged,
    Location,
    Mistrusted,
    SegmentLog,
    check_record,
    segment_path,
)
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

# Records are read, checked, written and synced in a thread of the store, while mail goes in and out. The writer comes
# in only then, and only to let the index point to the copies: some hundred small updates, which share the next batch
# with whatever else it has to do. Until that is durable the index points to where the octets were, and after it to
# where they are synced: so nothing is lost whenever it ends, and a copy that the index never heard of is dead space.

SLICE = 2 << 20
"""Octets that are copied at once, and then synced."""
RECORDS = 250
"""Records that are moved with one transaction."""
BESIDE = 2
"""Segments that are looked at in each round though nothing has died in them that we know of."""
SHARE_WHEN_ASKED = 0.5


class _Ended(Exception):
    """The store is being closed."""


@define
class _Target:
    """The segment that copies go to. No other is written to by anybody but the process that made it."""

    segment: int
    file: OpenFile
    end: int = 0
    low: int = NO_LOW
    high: int = 0


@define
class _Done:
    counts: dict[str, int] = field(
        factory=lambda: {"segments looked at": 0, "segments compacted": 0, "records moved": 0, "octets moved": 0}
    )
    problems: list[str] = field(factory=list)


class Compaction:
    """One at a time in this process; several processes do no harm to each other. Lives in the reactor thread."""

    log = Logger()

    def __init__(
        self,
        root: Path,
        files: Files,
        settings: SQLiteSettings,
        seconds: Callable[[], float],
        segment_log: SegmentLog,
        submit: Callable[[Callable[[Batch], Any]], Deferred[Any]],
        ask: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        housekeeping: Housekeeping,
        tidy: Callable[[], Awaitable[None]],
        mistrust: Callable[[Mistrusted], None],
    ) -> None:
        self._root = root
        self._files = files
        self._settings = settings
        self._seconds = seconds
        self._segment_log = segment_log
        self._submit = submit
        self._ask = ask
        self._in_thread = in_thread
        self._housekeeping = housekeeping
        self._tidy = tidy
        self._mistrust = mistrust
        self._lock = DeferredLock()
        self._is_stopping = False
        self._target: _Target | None = None
        self._damaged: set[int] = set()
        """Segments that are left alone until somebody asks."""
        self._looked_at = 0

    # --- who asks ----------------------------------------------------------------------------------------------------

    async def run(self) -> Findings:
        """Look at all segments now. Raises Unavailable."""
        await self._lock.acquire()
        try:
            self._go_on()
            self._damaged.clear()
            known = await self._ask(lambda reader: reader.execute("SELECT id FROM segments ORDER BY id").fetchall())
            share = min(self._settings.compact_share, SHARE_WHEN_ASKED)
            await self._close_own(share)
            findings = await self._look_at([segment for (segment,) in known], share)
            await self._leave_target()
            return findings
        except _Ended:
            raise Unavailable("the store is closed") from None
        finally:
            self._lock.release()

    async def _close_own(self, share: float) -> None:
        """The segment that the writer appends to is a candidate too, where nothing comes any more."""
        log = self._segment_log

        def close(batch: Batch) -> None:
            if log.is_open and not log.is_dirty and self._housekeeping.is_quiet(log.appended, self._seconds()):
                log.close(batch.connection)

        if log.is_open and await self._ask(partial(self._is_mostly_dead, log.segment, share)):
            await self._submit(close)

    async def after_housekeeping(self, segments: set[int]) -> None:
        """Look at segments in which something has died, and at a few others. Logs what goes wrong."""
        if self._lock.locked or self._is_stopping or self._settings.compact_share >= 1:
            return
        await self._lock.acquire()
        try:
            self._go_on()
            others = await self._ask(
                lambda reader: reader.execute(
                    "SELECT id FROM segments WHERE id > ? AND closed > 0 ORDER BY id LIMIT ?", (self._looked_at, BESIDE)
                ).fetchall()
            )
            self._looked_at = others[-1][0] if len(others) == BESIDE else 0
            wanted = {*segments, *(segment for (segment,) in others)} - {LARGE} - self._damaged
            await self._look_at(sorted(wanted), self._settings.compact_share)
        except _Ended:
            pass
        except Unavailable as error:
            self.log.warn("mail store: compaction is tried again later: {error}", error=str(error))
        except Exception:
            self.log.failure("mail store: compaction failed; it is tried again later")
        finally:
            self._lock.release()

    async def stop(self) -> None:
        """Come to an end, soon: with the slice that is being copied."""
        self._is_stopping = True
        await self._lock.acquire()
        await self._leave_target()
        self._lock.release()  # whoever comes later finds that it is over

    # --- one after the other -----------------------------------------------------------------------------------------

    async def _look_at(self, segments: Iterable[int], share: float) -> Findings:
        done = _Done()
        for segment in segments:
            self._go_on()
            done.counts["segments looked at"] += 1
            if not await self._ask(partial(self._is_worth, segment, share)):
                continue
            try:
                await self._compact(segment, done)
            except Damaged as problem:
                self._damaged.add(segment)
                path = segment_path(self._root, segment)
                text = f"{path}: {problem}: its segment is kept as it is: run mailkit fsck"
                self.log.critical("mail store is damaged: {problem}", problem=text)
                done.problems.append(text)
            except OverQuota as problem:
                self.log.warn("mail store: compaction: {problem}", problem=str(problem))
                done.problems.append(str(problem))
                break
        return Findings(done.counts, tuple(done.problems))

    def _is_worth(self, segment: int, share: float, reader: Reader) -> bool:
        row = reader.execute("SELECT closed FROM segments WHERE id = ?", (segment,)).fetchone()
        if row is None or not self._housekeeping.is_quiet(row[0], self._seconds()):
            return False
        return self._is_mostly_dead(segment, share, reader)

    def _is_mostly_dead(self, segment: int, share: float, reader: Reader) -> bool:
        """And not dead altogether: those are housekeeping's."""
        row = reader.execute('SELECT "end", low, high FROM segments WHERE id = ?', (segment,)).fetchone()
        if row is None:
            return False
        # One shared by many accounts has many rows and one record.
        sizes = reader.execute(
            "SELECT size FROM blobs WHERE blob BETWEEN ? AND ? AND segment = ? GROUP BY blob", (*row[1:], segment)
        )
        live: int = sum(size + HEADER_SIZE for (size,) in sizes)
        return 0 < live < int(row[0]) * (1 - share)

    async def _compact(self, segment: int, done: _Done) -> None:
        """Copy all that lives in it. Raises Damaged, OverQuota, Unavailable, _Ended."""
        try:
            source = OpenFile(self._files, self._files.open(segment_path(self._root, segment)))
        except OSError as error:
            if not await self._ask(partial(self._is_mostly_dead, segment, 0.0)):
                return  # another process was quicker
            raise Damaged(str(error)) from error
        # Whoever writes to a segment has it locked, and so has another process that is compacting it.
        if not self._files.lock(source.fd):
            return
        try:
            await self._copy_all(source, segment, done)
        finally:
            # Now, and not when the last thread forgets it: the lock would keep the file from being removed.
            self._files.unlock(source.fd)
        await self._submit(lambda batch: self._housekeeping.emptied.add(segment))
        done.counts["segments compacted"] += 1
        await self._tidy()

    async def _copy_all(self, source: OpenFile, segment: int, done: _Done) -> None:
        after = -1
        while found := await self._ask(partial(self._living, segment, after)):
            self._go_on()
            after = found[-1].number
            places = await self._copied(source, found)
            try:
                await self._submit(partial(self._move, found, places))
            except BaseException:
                await self._leave_target()
                raise
            done.counts["records moved"] += len(found)
            done.counts["octets moved"] += sum(one.size for one in found)

    def _living(self, segment: int, after: int, reader: Reader) -> list[Location]:
        """The next records, not too many."""
        row = reader.execute("SELECT low, high FROM segments WHERE id = ?", (segment,)).fetchone()
        if row is None:
            return []
        found = []
        octets = 0
        for location in reader.execute(
            'SELECT blob, segment, "offset", size FROM blobs WHERE blob BETWEEN ? AND ? AND blob > ? AND segment = ?'
            " GROUP BY blob ORDER BY blob LIMIT ?",
            (*row, after, segment, RECORDS),
        ):
            found.append(Location(*location))
            octets += found[-1].size
            if octets >= SLICE:
                break
        return found

    async def _copied(self, source: OpenFile, found: list[Location]) -> list[Location]:
        """Copy these records, and sync them; answers where they are now."""
        try:
            if self._target is None or self._target.end >= self._settings.segment_size:
                await self._leave_target()
                self._target = await self._new_target()
            target = self._target
            places: list[Location] = await self._in_thread(lambda: self._copy(source, found, target))
            return places
        except OSError as error:
            await self._leave_target()
            if is_full(error):
                octets = sum(one.size for one in found)
                raise OverQuota(f"{self._root}: the disk is full: compaction needs {octets} octets to go on") from error
            raise Unavailable(f"{self._root}: compaction: {error}") from error
        except Mistrusted as error:
            self._target = None
            self._mistrust(error)
            raise Unavailable(str(error)) from error

    def _copy(self, source: OpenFile, found: list[Location], target: _Target) -> list[Location]:
        """In a thread. Raises Damaged, OSError (of the target), Mistrusted."""
        records, places, end = [], [], target.end
        for number, _, offset, size in found:
            try:
                record = read_all(self._files, source.fd, HEADER_SIZE + size, offset - HEADER_SIZE)
            except OSError as error:
                raise Damaged(f"blob {number:x}: {error}") from error
            check_record(record, number, size)
            records.append(record)
            places.append(Location(number, target.segment, end + HEADER_SIZE, size))
            end += len(record)
        write_all(self._files, target.file.fd, b"".join(records), target.end)
        try:
            self._files.sync(target.file.fd)
        except OSError as error:
            raise Mistrusted(f"segment {target.segment}: sync failed: {error}") from error
        target.end = end
        target.low = min(target.low, places[0].number)
        target.high = max(target.high, places[-1].number)
        return places

    def _move(self, found: list[Location], places: list[Location], batch: Batch) -> None:
        """The writer lets the index point to the copies; but to those only whose original it still points to."""
        target = self._target
        assert target is not None
        known = batch.execute(
            'UPDATE segments SET "end" = ?, low = ?, high = ?, closed = 0 WHERE id = ?',
            (target.end, target.low, target.high, target.segment),
        ).rowcount
        if not known:
            raise Unavailable(f"segment {target.segment} was given up by another process")
        batch.executemany(
            'UPDATE blobs SET segment = ?, "offset" = ? WHERE blob = ? AND segment = ? AND "offset" = ?',
            [
                (new.segment, new.offset, old.number, old.segment, old.offset)
                for old, new in zip(found, places, strict=True)
            ],
        )

    # --- where copies go ---------------------------------------------------------------------------------------------

    async def _new_target(self) -> _Target:
        """Raises OSError, Mistrusted."""
        while True:
            # The number is durable before the file is there, so it belongs to us.
            segment: int = await self._submit(
                lambda batch: (
                    batch.execute(
                        'INSERT INTO segments ("end", low, high, closed) VALUES (0, ?, 0, 0)', (NO_LOW,)
                    ).lastrowid
                )
            )
            try:
                return _Target(segment, await self._in_thread(partial(self._create, segment)))
            except FileExistsError:
                await self._close(segment)
            except BaseException:
                await self._close(segment)
                raise

    def _create(self, segment: int) -> OpenFile:
        path = segment_path(self._root, segment)
        file = OpenFile(self._files, self._files.create(path))
        if not self._files.lock(file.fd):
            raise OSError(errno.EBUSY, f"{path} was locked by another process")
        try:
            self._files.sync_directory(path.parent)
        except OSError as error:
            raise Mistrusted(f"{path.parent}: sync failed: {error}") from error
        return file

    async def _leave_target(self) -> None:
        """It is never written to again."""
        target, self._target = self._target, None
        if target is not None:
            self._files.unlock(target.file.fd)
            await self._close(target.segment)

    async def _close(self, segment: int) -> None:
        try:
            await self._submit(
                lambda batch: (
                    batch.execute(
                        "UPDATE segments SET closed = ? WHERE id = ?", (int(self._seconds()), segment)
                    ).rowcount
                )
            )
        except (Unavailable, OverQuota):
            pass  # it is closed at the next start

    def _go_on(self) -> None:
        if self._is_stopping:
            raise _Ended
