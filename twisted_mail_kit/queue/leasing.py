"""The loop that leases from the spool what is due, when there is room for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.outcome import Delivered
from twisted_mail_kit.mail.queued import Lease, Settled
from twisted_mail_kit.queue.concurrency import Lanes
from twisted_mail_kit.queue.inhand import InHand, Job
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.queue.tasks import Sleep, Tasks

_BATCH = 100
_LONGEST_PAUSE = 60.0
_SHORTEST_SLEEP = 0.5
"""What comes due within it is leased together; what is new wakes us at once."""


class Leasing:
    """Hands what it leases to `take`, and keeps it leased for as long as anything is in hand.

    It sleeps until something is due, and is woken when there is something new in the spool. Where there was no room,
    in all or for one destination, it is `put_away` that wakes it: so whoever takes jobs in hand puts them away here.
    """

    log = Logger()

    def __init__(
        self,
        spool: ISpool,
        owner: str,
        clock: Any,
        settings: QueueSettings,
        lanes: Lanes,
        in_hand: InHand,
        tasks: Tasks,
        take: Callable[[Sequence[Lease]], None],
    ) -> None:
        self._spool = spool
        self._owner = owner
        self._clock = clock
        self._settings = settings
        self._lanes = lanes
        self._in_hand = in_hand
        self._tasks = tasks
        self._take = take
        self.behind: set[str] = set()
        """Destinations for which something new lies in the spool: what comes after it waits there too."""
        self._busy: set[str] = set()
        """Destinations for which nothing was leased because enough of it waits here."""
        self._was_full = False
        self._is_over = True
        self._sleep = Sleep(clock)
        self._story: Deferred[None] | None = None
        self._renewal: Any = None

    def start(self) -> None:
        """Begin to lease, and to renew."""
        self._is_over = False
        self._renewal = self._clock.callLater(self._settings.lease / 3, self._renew)
        self._story = Deferred.fromCoroutine(self._run())
        self._story.addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> None:
        """Lease no more. What is in hand is still renewed."""
        self._is_over = True
        if self._story is not None:
            self._story.cancel()
            self._story = None

    def stop_renewing(self) -> None:
        """Nothing is in hand any more, or nobody will know."""
        if self._renewal is not None and self._renewal.active():
            self._renewal.cancel()
        self._renewal = None

    def wake(self) -> None:
        """Look for work now: something has changed."""
        self._sleep.wake()

    def leave_behind(self, jobs: Iterable[Job]) -> None:
        """These lie in the spool, and are not leased."""
        self.behind.update([job.destination for job in jobs])

    def let_go(self, settled: Sequence[Settled]) -> None:
        """These are no longer ours; some may be due again at once, for the report that is owed."""
        self._in_hand.let_go(settled)
        if any(one.next_try is not None and isinstance(one.outcome, Delivered) for one in settled):
            self.wake()

    def put_away(self, job: Job) -> None:
        """All is done for this one; there may be room again."""
        self._in_hand.put_away(job)
        if self._was_full and self._in_hand.jobs <= self._settings.attempts * 3:
            self._was_full = False
            self.wake()
        elif job.destination in self._busy and not self._lanes.lane(job.destination).is_busy:
            self._busy.discard(job.destination)
            self.wake()

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Lease what is due while there is room; sleep until something is."""
        pause = 1.0
        while not self._is_over:
            self._sleep.begin()
            now = self._clock.seconds()
            try:
                if await self._lease(now):
                    pause = 1.0
                    continue
                due = await self._spool.next_due()
            except CancelledError:
                raise
            except Exception:
                self.log.failure("the spool cannot be asked; again in {seconds} seconds", seconds=pause)
                await self._sleep.deeply(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            seconds = self._settings.poll
            # What is due and was not given waits for its destination, or for room: the end of an attempt wakes us.
            if due is not None and due > now:
                seconds = min(seconds, max(due - self._clock.seconds(), _SHORTEST_SLEEP))
            await self._sleep.until_woken(seconds)
            self._lanes.sweep(self._clock.seconds())

    async def _lease(self, now: float) -> int:
        room = self._settings.attempts * 4 - self._in_hand.jobs
        self._was_full = room <= 0
        if self._was_full:
            return 0
        busy = self._lanes.busy()
        self._busy = set(busy)
        until, most = now + self._settings.lease, min(_BATCH, room)
        behind, self.behind = self.behind, self.behind & self._busy
        is_more = True
        try:
            leases = await self._spool.lease(self._owner, now, until, most, busy)
            is_more = len(leases) == most
        finally:
            if is_more:
                self.behind |= behind
        if self._is_over:
            return 0
        self._take(leases)
        return len(leases)

    def _renew(self) -> None:
        self._renewal = self._clock.callLater(self._settings.lease / 3, self._renew)
        if self._in_hand.jobs:
            self._tasks.spawn(self._renew_now())

    async def _renew_now(self) -> None:
        await self._spool.renew(self._owner, self._clock.seconds() + self._settings.lease)
