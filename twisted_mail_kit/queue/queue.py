"""The queue: a delivery target that keeps messages durably, and tries another target until each recipient is served."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.errors import TryLater
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IDestinations, ISpool
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, Settled, TraceEvent
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import (
    QUEUE_ATTEMPTS,
    QUEUE_DESTINATIONS,
    QUEUE_MEMORY,
    QUEUE_RUNNING,
)
from twisted_mail_kit.queue.aftermath import Aftermath
from twisted_mail_kit.queue.attempt import Poisoned, attempt
from twisted_mail_kit.queue.bounces import Bounces
from twisted_mail_kit.queue.concurrency import Lane, Lanes
from twisted_mail_kit.queue.inhand import InHand, Job, jobs_of
from twisted_mail_kit.queue.intake import Intake
from twisted_mail_kit.queue.remembered import Remembered
from twisted_mail_kit.queue.schedule import Schedule, is_unreachable
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.queue.settling import Settling
from twisted_mail_kit.queue.tasks import Sleep, Tasks
from twisted_mail_kit.queue.timeline import said

STOPPING = Status("4.3.2", "The server is stopping", 421)
_BATCH = 100
_LONGEST_PAUSE = 60.0
_SHORTEST_SLEEP = 0.5
"""What comes due within it is leased together; what is new wakes us at once."""


@implementer(IDeliveryTarget)
class Queue:
    """Takes messages, and brings them to `target`.

    A message is durable before its commit returns. Each recipient waits, succeeds and fails by itself; recipients of
    one message with the same destination share an attempt. What an attempt brought is written down right after it: a
    crash at any point loses nothing, and sends nothing twice unless it comes between the other side's reply and that
    moment.

    `bounces` takes reports to senders: the pipeline as a rule. It may be set later, since that one needs the queue.
    `owner` names this process among those that share the spool; the same name after a restart gets its own work back
    at once. `clock` gives seconds since 1970 UTC.
    """

    log = Logger()

    def __init__(
        self,
        spool: ISpool,
        target: IDeliveryTarget,
        clock: Any,
        settings: QueueSettings | None = None,
        *,
        hostname: str,
        bounces: IDeliveryTarget | None = None,
        owner: str = "queue",
        random: Random | None = None,
    ) -> None:
        self.spool = spool
        self.target = target
        self.clock = clock
        self.settings = settings or QueueSettings()
        self.hostname = hostname
        self.owner = owner
        self.schedule = Schedule(self.settings, random or Random())
        self.lanes = Lanes(self.settings, self.schedule.dead_gap)
        self.tasks = Tasks(clock)
        self._bounces = Bounces(bounces, spool, clock, self.settings, hostname)
        self._aftermath = Aftermath(spool, self.schedule, self._bounces, clock, self._written)
        self._settling = Settling(self._aftermath, self.tasks, clock, self._put_away)
        self._ids = Remembered()
        self._in_hand = InHand()
        self._running = 0
        self._is_started = self._is_stopping = self._is_starting_jobs = self._was_full = False
        self._busy: set[str] = set()
        """Destinations for which nothing was leased because enough of it waits here."""
        self._behind: set[str] = set()
        """Destinations for which something new lies in the spool: what comes after it waits there too."""
        self._sleep = Sleep(clock)
        self._story: Deferred[None] | None = None
        self._renewal: Any = None
        QUEUE_RUNNING.read(self._attempts_running)
        QUEUE_MEMORY.read(self._octets_in_memory)
        QUEUE_DESTINATIONS.read(self._destinations)

    @property
    def bounces(self) -> IDeliveryTarget | None:
        """Takes reports to senders."""
        return self._bounces.target

    @bounces.setter
    def bounces(self, target: IDeliveryTarget | None) -> None:
        self._bounces.target = target
        self.wake()

    # --- the service -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to make attempts. Messages are taken before, too."""
        if self._is_started:
            return
        self._is_started, self._is_stopping = True, False
        self._renewal = self.clock.callLater(self.settings.lease / 3, self._renew)
        self._story = Deferred.fromCoroutine(self._run())
        self._story.addErrback(lambda failure: failure.trap(CancelledError))

    async def stop(self, seconds: float = 30.0) -> None:
        """Begin nothing new; give attempts so long to come to an end, then cut them off. With 0 it is as if we had
        been killed: what is under way stays leased, and is tried again later."""
        self._is_stopping, self._is_started = True, False
        if self._story is not None:
            self._story.cancel()
            self._story = None
        if seconds > 0:
            self._settling.now()
        else:
            self._settling.forget()
        await self.tasks.end(seconds)
        for lane in self.lanes:
            for job in self.lanes.put_off(lane):
                self._put_away(job)
        if self._renewal is not None and self._renewal.active():
            self._renewal.cancel()
        self._renewal = None

    def wake(self) -> None:
        """Look for work now: something has changed."""
        self._sleep.wake()

    def revive(self, destination: str | None = None) -> None:
        """Forget that a destination (or any) is dead, and look for work."""
        self.lanes.revive(destination)
        self.wake()

    def state(self) -> dict[str, object]:
        """What goes on, in plain values."""
        now = self.clock.seconds()
        return {
            "attempts": self._running,
            "in_hand": self._in_hand.jobs,
            "memory": self._in_hand.memory,
            "dead": {
                lane.name: {"until": lane.dead_until, "why": lane.last.text if lane.last else ""}
                for lane in self.lanes
                if lane.is_dead(now)
            },
        }

    # --- taking messages ---------------------------------------------------------------------------------------------

    async def begin(self, envelope: Envelope) -> IDelivery:
        """Raises TryLater while the server stops."""
        if self._is_stopping:
            raise TryLater(STOPPING)
        return Intake(self, envelope)

    async def take(
        self, envelope: Envelope, recipients: Sequence[Recipient], blob_id: str, size: int, octets: bytes | None
    ) -> None:
        """Put a message into the spool, and try it at once where there is room. For `Intake`."""
        now = self.clock.seconds()
        given = envelope.trace_id
        envelope = self._ids.unique(envelope, now)
        message = QueuedMessage(envelope, blob_id, size)
        queued = [
            QueuedRecipient(message.id, number, recipient, self._destination(recipient), now)
            for number, recipient in enumerate(recipients)
        ]
        events = self._queued(message, queued, given)
        jobs = jobs_of(message, queued, self.settings.recipients, octets)
        if not self._have_room(jobs, size):
            self._behind.update([job.destination for job in jobs])
            await self.spool.add(message, queued, events=events)
            self._ids.remember(message.id, now)
            self.wake()
            return
        self._in_hand.take(jobs)
        try:
            await self.spool.add(message, queued, self.owner, now + self.settings.lease, events)
        except BaseException:
            for job in jobs:
                self._put_away(job)
            raise
        self._ids.remember(message.id, now)
        for job in jobs:
            self._begin_fresh(job)

    def _have_room(self, jobs: Sequence[Job], size: int) -> bool:
        """Whether a new message stays in our hands, and in memory, until it is its turn: else it has to be leased from
        the spool and read again, which costs as much as all the rest."""
        if not self._is_started or jobs[0].octets is None:
            return False
        # The other half of what we take in hand is for what waits in the spool.
        if self._in_hand.jobs + len(jobs) > self.settings.attempts * 2:
            return False
        if self._in_hand.memory + size * len(jobs) > self.settings.memory_total:
            return False
        most = self.settings.attempts // 2
        for job in jobs:
            lane = self.lanes.lane(job.destination)
            if lane.deaths or (lane.is_busy and len(lane.waiting) >= most) or job.destination in self._behind:
                return False
        return True

    def _begin_fresh(self, job: Job) -> None:
        lane = self.lanes.lane(job.destination)
        if self._running < self.settings.attempts and lane.has_room and not self._is_stopping:
            self.lanes.enter(lane)
            self._spawn(lane, job)
        else:
            if self._running >= self.settings.attempts:
                limits.QUEUE_ATTEMPTS.value += 1
            self.lanes.put(job)

    def _queued(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient], given: str) -> list[TraceEvent]:
        """How its timeline begins."""
        text = f"{message.size} octets from <{message.envelope.sender or ''}> for {len(recipients)} recipients"
        events = [said(message, self.clock.seconds(), "queued", text=text)]
        if given != message.id:
            events.append(events[0]._replace(trace_id=given, text=f"as {message.id}: {events[0].text}"))
        return events

    def _destination(self, recipient: Recipient) -> str:
        if IDestinations.providedBy(self.target):
            try:
                name: str = self.target.destination_of(recipient)
                return name
            except Exception:
                self.log.failure("the target does not know where mail for {address} goes", address=recipient.address)
        return recipient.address.domain or self.hostname

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Lease what is due while there is room; sleep until something is."""
        pause = 1.0
        while not self._is_stopping:
            self._sleep.begin()
            now = self.clock.seconds()
            try:
                if await self._lease(now):
                    pause = 1.0
                    continue
                due = await self.spool.next_due()
            except CancelledError:
                raise
            except Exception:
                self.log.failure("the spool cannot be asked; again in {seconds} seconds", seconds=pause)
                await self._sleep.deeply(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            seconds = self.settings.poll
            # What is due and was not given waits for its destination, or for room: the end of an attempt wakes us.
            if due is not None and due > now:
                seconds = min(seconds, max(due - self.clock.seconds(), _SHORTEST_SLEEP))
            await self._sleep.until_woken(seconds)
            self.lanes.sweep(self.clock.seconds())

    async def _lease(self, now: float) -> int:
        room = self.settings.attempts * 4 - self._in_hand.jobs
        self._was_full = room <= 0
        if self._was_full:
            return 0
        busy = self.lanes.busy()
        self._busy = set(busy)
        until, most = now + self.settings.lease, min(_BATCH, room)
        behind, self._behind = self._behind, self._behind & self._busy
        is_more = True
        try:
            leases = await self.spool.lease(self.owner, now, until, most, busy)
            is_more = len(leases) == most
        finally:
            if is_more:
                self._behind |= behind
        if self._is_stopping:
            return 0
        self._take_leases(leases)
        return len(leases)

    def _take_leases(self, leases: Sequence[Lease]) -> None:
        now = self.clock.seconds()
        most = self.settings.recipients
        put_off: list[tuple[Job, Lane]] = []
        # The dead may not hold up the living.
        probes_left = max(self.settings.attempts // 4, 1) - self.lanes.probes
        for lease in leases:
            # Where our own lease ran out (the machine slept), the same work comes again while we are at it.
            mine = [one for one in lease.recipients if one not in self._in_hand]
            owed = [one for one in mine if isinstance(one.last, (Failed, Delivered))]
            if owed:
                jobs = jobs_of(lease.message, owed, most)
                self._in_hand.take(jobs)
                for job in jobs:
                    self._settling.finish(job, self._aftermath.pay(job))
            jobs = jobs_of(lease.message, [one for one in mine if one not in owed], most)
            self._in_hand.take(jobs)
            for job in jobs:
                lane = self.lanes.lane(job.destination)
                self.lanes.recall(lane, job)
                if not lane.deaths:
                    self.lanes.put(job)
                elif lane.is_dead(now) or lane.running or lane.waiting or probes_left <= 0:
                    put_off.append((job, lane))
                else:
                    probes_left -= 1
                    self.lanes.put(job)
        if put_off:
            self._settling.put_off(put_off)
        self._begin_jobs()

    def _begin_jobs(self) -> None:
        """Start what may start. A quarter of all attempts is left to messages that have just come."""
        if self._is_starting_jobs:
            return
        self._is_starting_jobs = True
        try:
            most = self.settings.attempts - self.settings.attempts // 4
            while self._running < most and not self._is_stopping:
                pair = self.lanes.begin()
                if pair is None:
                    break
                self._spawn(*pair)
            if self._running >= most and self.lanes.is_any_ready:
                limits.QUEUE_ATTEMPTS.value += 1
        finally:
            self._is_starting_jobs = False

    def _spawn(self, lane: Lane, job: Job) -> None:
        self._running += 1
        QUEUE_ATTEMPTS.value += 1
        self.tasks.spawn(self._try(lane, job))

    def _renew(self) -> None:
        self._renewal = self.clock.callLater(self.settings.lease / 3, self._renew)
        if self._in_hand.jobs:
            self.tasks.spawn(self._renew_now())

    async def _renew_now(self) -> None:
        await self.spool.renew(self.owner, self.clock.seconds() + self.settings.lease)

    # --- attempts ----------------------------------------------------------------------------------------------------

    async def _try(self, lane: Lane, job: Job) -> None:
        outcomes: list[Outcome] | None = None
        problem, is_over = "", True
        try:
            try:
                outcomes = await attempt(job, self.target, self.spool, self.clock)
            except Poisoned as poisoned:
                problem = str(poisoned)
            finally:
                self._running -= 1
                put_off = self._learn(lane, outcomes)
                self.lanes.end(lane)
            if put_off:
                self._settling.put_off([(one, lane) for one in put_off])
            self._begin_jobs()
            if outcomes is None:
                await self._aftermath.hold(job, problem)
            else:
                is_over = False
                self._settling.soon(job, outcomes)
                if self._is_stopping:
                    self._settling.now()
        finally:
            if is_over:
                self._put_away(job)

    def _learn(self, lane: Lane, outcomes: list[Outcome] | None) -> list[Job]:
        """What an attempt says of its destination. Gives what is to be put off because it is dead."""
        if not outcomes:
            return []
        now = self.clock.seconds()
        if not is_unreachable(outcomes):
            self.lanes.reached(lane, now)
            return []
        if not self.lanes.unreachable(lane, outcomes[0].status, now):
            return []
        self.log.info(
            "{destination} is left alone until {until}: {text}",
            destination=lane.name,
            until=lane.dead_until,
            text=outcomes[0].status.text,
        )
        return self.lanes.put_off(lane)

    # --- numbers -----------------------------------------------------------------------------------------------------

    def _attempts_running(self) -> int:
        return self._running

    def _octets_in_memory(self) -> int:
        return self._in_hand.memory

    def _destinations(self) -> dict[str, int]:
        now = self.clock.seconds()
        dead = sum(lane.is_dead(now) for lane in self.lanes)
        return {"alive": len(self.lanes) - dead, "dead": dead}

    # --- what we have in hand ----------------------------------------------------------------------------------------

    def _written(self, settled: Sequence[Settled]) -> None:
        """These are no longer ours; some may be due again at once, for the report that is owed."""
        self._in_hand.let_go(settled)
        if any(one.next_try is not None and isinstance(one.outcome, Delivered) for one in settled):
            self.wake()

    def _put_away(self, job: Job) -> None:
        self._in_hand.put_away(job)
        if self._was_full and self._in_hand.jobs <= self.settings.attempts * 3:
            self._was_full = False
            self.wake()
        elif job.destination in self._busy and not self.lanes.lane(job.destination).is_busy:
            self._busy.discard(job.destination)
            self.wake()
