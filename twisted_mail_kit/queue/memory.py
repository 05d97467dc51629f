"""The reference spool: every promise of a spool but durability, in plain dictionaries, resolving at once."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound, Unavailable
from twisted_mail_kit.interfaces import IBlobWriter, ISpool, ISpoolCounts
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, Settled, SpoolCounts, TraceEvent
from twisted_mail_kit.stores.memory import MemoryBlobWriter

WEEK = 7 * 24 * 3600.0
HOUR = 3600.0


class _Row:
    """One recipient that waits."""

    __slots__ = ("owner", "ready", "recipient", "run", "until")

    def __init__(self, recipient: QueuedRecipient) -> None:
        self.recipient = recipient
        self.owner: str | None = None
        self.run = 0
        """Of which process the lease is."""
        self.until = 0.0
        self.ready: float | None = None
        """Where it stands in its destination's line; None: it is held, and stands in none."""


class _Kept:
    """What would be on the disk."""

    def __init__(self) -> None:
        self.messages: dict[str, QueuedMessage] = {}
        self.rows: dict[str, dict[int, _Row]] = {}
        self.blobs: dict[str, bytes] = {}
        self.loose: dict[str, float] = {}
        """Blobs that no message refers to yet, oldest first, and since when."""
        self.references: Counter[str] = Counter()
        """How many messages refer to a blob."""
        self.leased: dict[str, set[_Row]] = {}
        """What each owner has."""
        self.events: dict[str, list[TraceEvent]] = {}
        self.lines: dict[str, list[tuple[float, str, int]]] = {}
        """For each destination who waits, by the time at which he may be leased."""
        self.turns: dict[str, int] = {}
        """When a destination was last served."""
        self.turn = 0
        self.runs = count(1)
        self.blob_ids = count(1)

    def place(self, row: _Row, is_gone: bool = False) -> None:
        """Let a row stand where it belongs, after it has changed."""
        recipient = row.recipient
        key, line = (recipient.message_id, recipient.number), self.lines.setdefault(recipient.destination, [])
        if row.ready is not None:
            del line[bisect_left(line, (row.ready, *key))]
        if is_gone or recipient.is_held:
            row.ready = None
        elif row.owner is None:
            row.ready = recipient.next_try
        else:
            row.ready = max(recipient.next_try, row.until)
        if row.ready is not None:
            insort(line, (row.ready, *key))
        if not line:
            del self.lines[recipient.destination]
            self.turns.pop(recipient.destination, None)

    def lend(self, row: _Row, owner: str, run: int, until: float) -> None:
        """A lease begins."""
        row.owner, row.run, row.until = owner, run, until
        self.leased.setdefault(owner, set()).add(row)
        self.place(row)

    def give_back(self, row: _Row) -> None:
        """A lease is over."""
        if row.owner is not None:
            self.leased[row.owner].discard(row)
            row.owner = None
        self.place(row)

    def take_out(self, message_id: str, numbers: Iterable[int]) -> None:
        """Recipients leave; with the last one the message goes, with its octets."""
        rows = self.rows[message_id]
        for number in numbers:
            row = rows.pop(number)
            self.give_back(row)
            self.place(row, is_gone=True)
        if not rows:
            del self.rows[message_id]
            blob_id = self.messages.pop(message_id).blob_id
            self.references[blob_id] -= 1
            if not self.references[blob_id]:
                del self.references[blob_id], self.blobs[blob_id]


@implementer(ISpool, ISpoolCounts)
class MemorySpool:
    """A spool in memory. Everything it does is done when the call returns, so it goes with a clock that is turned by
    hand."""

    def __init__(self, clock: IReactorTime | None = None) -> None:
        self.seconds: Callable[[], float] = time.time if clock is None else clock.seconds
        self._kept: _Kept | None = _Kept()
        self._begin()

    def reopened(self) -> MemorySpool:
        """What a process finds that starts after this one was killed: all that was kept, and leases of the dead.

        This object is of no use any more: whatever still runs on it gets Unavailable.
        """
        other = MemorySpool.__new__(MemorySpool)
        other.seconds = self.seconds
        other._kept, self._kept = self._state(), None
        for blob_id in list(other._state().loose):
            del other._state().blobs[blob_id], other._state().loose[blob_id]
        other._begin()
        return other

    # --- ISpool ------------------------------------------------------------------------------------------------------

    def new_blob(self, size_hint: int | None = None) -> IBlobWriter:
        """See ISpool."""

        def keep(octets: bytes) -> str:
            kept = self._state()
            for blob_id, since in list(kept.loose.items())[:2]:
                if since < self.seconds() - HOUR:
                    del kept.loose[blob_id], kept.blobs[blob_id]
            blob_id = f"B{next(kept.blob_ids)}"
            kept.blobs[blob_id], kept.loose[blob_id] = octets, self.seconds()
            return blob_id

        return MemoryBlobWriter(keep)

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See ISpool."""
        octets = self._state().blobs.get(blob_id)
        if octets is None:
            raise BlobNotFound(blob_id)
        return octets[offset : offset + size]

    async def add(
        self,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        owner: str = "",
        until: float = 0.0,
        events: Sequence[TraceEvent] = (),
    ) -> None:
        """See ISpool."""
        kept = self._state()
        if message.id in kept.messages:
            return
        if message.blob_id not in kept.blobs:
            raise BlobNotFound(message.blob_id)
        rows = {recipient.number: _Row(recipient) for recipient in recipients}
        if not rows or len(rows) < len(recipients) or any(one.message_id != message.id for one in recipients):
            raise ValueError("a message has recipients, each with a number of its own")
        if owner:
            self._take_over(owner)
        kept.loose.pop(message.blob_id, None)
        kept.messages[message.id], kept.rows[message.id] = message, rows
        kept.references[message.blob_id] += 1
        for row in rows.values():
            kept.place(row)
            if owner:
                kept.lend(row, owner, self._run, until)
        await self.record(events)

    async def lease(
        self, owner: str, now: float, until: float, limit: int = 100, busy: Sequence[str] = ()
    ) -> Sequence[Lease]:
        """See ISpool."""
        kept = self._state()
        self._take_over(owner)
        if until <= now:
            return ()
        due = [name for name, line in kept.lines.items() if line[0][0] <= now and name not in busy]
        waiting = deque(sorted(due, key=lambda name: (kept.turns.get(name, 0), kept.lines[name][0][0], name)))
        leases: list[Lease] = []
        while waiting and len(leases) < limit:
            destination = waiting.popleft()
            ready, message_id, _ = kept.lines[destination][0]
            if ready > now:
                continue
            taken = []
            for row in kept.rows[message_id].values():
                if row.recipient.destination == destination and row.ready is not None and row.ready <= now:
                    kept.give_back(row)  # of somebody whose time is over
                    kept.lend(row, owner, self._run, until)
                    taken.append(row.recipient)
            kept.turn += 1
            kept.turns[destination] = kept.turn
            taken.sort(key=lambda recipient: recipient.number)
            leases.append(Lease(kept.messages[message_id], tuple(taken), owner, until))
            waiting.append(destination)
        return leases

    async def renew(self, owner: str, until: float) -> None:
        """See ISpool."""
        self._take_over(owner)
        kept = self._state()
        for row in kept.leased.get(owner, ()):
            row.until = until
            kept.place(row)

    async def settle(self, settled: Sequence[Settled], events: Sequence[TraceEvent] = ()) -> None:
        """See ISpool."""
        kept = self._state()
        for one in settled:
            message_id, number = one.recipient.message_id, one.recipient.number
            row = kept.rows.get(message_id, {}).get(number)
            if row is None:
                continue
            if one.next_try is None:
                kept.take_out(message_id, [number])
            elif row.owner is None or row.run == self._run:  # else our time was over, and somebody else is at it
                row.recipient = replace(
                    row.recipient,
                    next_try=one.next_try,
                    attempts=row.recipient.attempts + 1,
                    last=one.outcome,
                    delay_told=row.recipient.delay_told or one.delay_told,
                )
                kept.give_back(row)
        await self.record(events)

    async def next_due(self) -> float | None:
        """See ISpool."""
        return min((line[0][0] for line in self._state().lines.values()), default=None)

    async def messages(
        self, after: str = "", limit: int = 100
    ) -> Sequence[tuple[QueuedMessage, Sequence[QueuedRecipient]]]:
        """See ISpool."""
        kept = self._state()
        ids = sorted(message_id for message_id in kept.messages if message_id > after)[: max(limit, 0)]
        return [
            (kept.messages[one], [row.recipient for _, row in sorted(kept.rows[one].items(), key=lambda it: it[0])])
            for one in ids
        ]

    async def counts(self, now: float) -> SpoolCounts:
        """See ISpoolCounts."""
        kept = self._state()
        messages = kept.messages.values()
        waiting = [row.recipient for rows in kept.rows.values() for row in rows.values()]
        held = sum(one.is_held for one in waiting)
        due = sum(not one.is_held and one.next_try <= now for one in waiting)
        return SpoolCounts(
            len(messages),
            sum(message.size for message in messages),
            min((message.envelope.received_at for message in messages), default=None),
            due,
            len(waiting) - held - due,
            held,
        )

    async def change(
        self,
        message_id: str,
        next_try: float | None = None,
        is_held: bool | None = None,
        numbers: Sequence[int] | None = None,
    ) -> int:
        """See ISpool."""
        kept = self._state()
        chosen = self._chosen(message_id, numbers)
        for row in chosen:
            if next_try is not None:
                row.recipient = replace(row.recipient, next_try=next_try)
            if is_held is not None:
                row.recipient = replace(row.recipient, is_held=is_held)
            kept.place(row)
        return len(chosen)

    async def remove(self, message_id: str, numbers: Sequence[int] | None = None) -> int:
        """See ISpool."""
        chosen = self._chosen(message_id, numbers)
        if chosen:
            self._state().take_out(message_id, [row.recipient.number for row in chosen])
        return len(chosen)

    async def trace(self, trace_id: str) -> Sequence[TraceEvent]:
        """See ISpool."""
        return sorted(self._state().events.get(trace_id, ()), key=lambda event: event.time)

    async def record(self, events: Sequence[TraceEvent]) -> None:
        """See ISpool."""
        timelines = self._state().events
        for event in events:
            timelines.setdefault(event.trace_id, []).append(event)
        # Timelines begin in the order of time: those that may be forgotten are the first.
        for trace_id in list(timelines)[:2] if events else ():
            if timelines[trace_id][-1].time < self.seconds() - WEEK:
                del timelines[trace_id]

    async def close(self) -> None:
        """See ISpool. The object may be used again, as if by a process that started later."""
        if self._kept is not None:
            self._begin()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._run = next(self._state().runs)
        self._owners: set[str] = set()

    def _state(self) -> _Kept:
        if self._kept is None:
            raise Unavailable("the process of this spool is dead")
        return self._kept

    def _take_over(self, owner: str) -> None:
        """At its first word, an owner gets back what it had leased before it was started again."""
        if owner in self._owners:
            return
        self._owners.add(owner)
        kept = self._state()
        for row in [row for row in kept.leased.get(owner, ()) if row.run != self._run]:
            kept.give_back(row)

    def _chosen(self, message_id: str, numbers: Sequence[int] | None) -> list[_Row]:
        rows = self._state().rows.get(message_id, {})
        return [row for number, row in rows.items() if numbers is None or number in numbers]
