"""The queue: a delivery target that keeps messages durably, and tries another target until each recipient is served."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.errors import TryLater
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IDestinations, ISpool
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Delivered, Failed, Status
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, TraceEvent
from twisted_mail_kit.metrics.catalogue import (
    QUEUE_DESTINATIONS,
    QUEUE_MEMORY,
    QUEUE_RUNNING,
)
from twisted_mail_kit.queue.aftermath import Aftermath
from twisted_mail_kit.queue.attempts import Attempts
from twisted_mail_kit.queue.bounces import Bounces
from twisted_mail_kit.queue.concurrency import Lane, Lanes
from twisted_mail_kit.queue.inhand import InHand, Job, jobs_of
from twisted_mail_kit.queue.intake import Intake
from twisted_mail_kit.queue.leasing import Leasing
from twisted_mail_kit.queue.remembered import Remembered
from twisted_mail_kit.queue.schedule import Schedule
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.queue.settling import Settling
from twisted_mail_kit.queue.tasks import Tasks
from twisted_mail_kit.queue.timeline import said

STOPPING = Status("4.3.2", "The server is stopping", 421)


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
        self.clock = clock
        self.settings = settings or QueueSettings()
        self.hostname = hostname
        self.owner = owner
        self.schedule = Schedule(self.settings, random or Random())
        self.lanes = Lanes(self.settings, self.schedule.dead_gap)
        self.tasks = Tasks(clock)
        self._ids = Remembered()
        self._in_hand = InHand()
        self._leasing = Leasing(
            spool, owner, clock, self.settings, self.lanes, self._in_hand, self.tasks, self._take_leases
        )
        self._bounces = Bounces(bounces, spool, clock, self.settings, hostname)
        aftermath = Aftermath(spool, self.schedule, self._bounces, clock, self._leasing.let_go)
        put_away = self._leasing.put_away
        self._settling = Settling(aftermath, self.tasks, clock, put_away)
        self._attempts = Attempts(target, spool, clock, self.settings, self.lanes, self.tasks, self._settling, put_away)
        self._is_started = self._is_stopping = False
        QUEUE_RUNNING.read(self._attempts_running)
        QUEUE_MEMORY.read(self._octets_in_memory)
        QUEUE_DESTINATIONS.read(self._destinations)

    @property
    def target(self) -> IDeliveryTarget:
        """Takes messages. Another one may be set: attempts that begin from then on are made with it."""
        return self._attempts.target

    @target.setter
    def target(self, target: IDeliveryTarget) -> None:
        self._attempts.target = target

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
        self._attempts.is_stopping = False
        self._leasing.start()

    async def stop(self, seconds: float = 30.0) -> None:
        """Begin nothing new; give attempts so long to come to an end, then cut them off. With 0 it is as if we had
        been killed: what is under way stays leased, and is tried again later."""
        self._is_stopping, self._is_started = True, False
        self._attempts.is_stopping = True
        self._leasing.stop()
        if seconds > 0:
            self._settling.now()
        else:
            self._settling.forget()
        await self.tasks.end(seconds)
        for lane in self.lanes:
            for job in self.lanes.put_off(lane):
                self._leasing.put_away(job)
        self._leasing.stop_renewing()

    def wake(self) -> None:
        """Look for work now: something has changed."""
        self._leasing.wake()

    def revive(self, destination: str | None = None) -> None:
        """Forget that a destination (or any) is dead, and look for work."""
        self.lanes.revive(destination)
        self.wake()

    def state(self) -> dict[str, object]:
        """What goes on, in plain values."""
        now = self.clock.seconds()
        return {
            "attempts": self._attempts.running,
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
            self._leasing.leave_behind(jobs)
            await self.spool.add(message, queued, events=events)
            self._ids.remember(message.id, now)
            self.wake()
            return
        self._in_hand.take(jobs)
        try:
            await self.spool.add(message, queued, self.owner, now + self.settings.lease, events)
        except BaseException:
            for job in jobs:
                self._leasing.put_away(job)
            raise
        self._ids.remember(message.id, now)
        for job in jobs:
            self._attempts.begin_fresh(job)

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
            if lane.deaths or (lane.is_busy and len(lane.waiting) >= most) or job.destination in self._leasing.behind:
                return False
        return True

    def _queued(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient], given: str) -> list[TraceEvent]:
        """How its timeline begins."""
        text = f"{message.size} octets from <{message.envelope.sender or ''}> for {len(recipients)} recipients"
        events = [said(message, self.clock.seconds(), "queued", text=text)]
        if given != message.id:
            events.append(events[0]._replace(trace_id=given, text=f"as {message.id}: {events[0].text}"))
        return events

    def _destination(self, recipient: Recipient) -> str:
        target = self._attempts.target
        if IDestinations.providedBy(target):
            try:
                name: str = target.destination_of(recipient)
                return name
            except Exception:
                self.log.failure("the target does not know where mail for {address} goes", address=recipient.address)
        return recipient.address.domain or self.hostname

    def _take_leases(self, leases: Sequence[Lease]) -> None:
        """What was due in the spool: reports that are owed, and jobs to be tried, or put off with their destination."""
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
                    self._settling.pay(job)
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
        self._attempts.begin()

    # --- numbers -----------------------------------------------------------------------------------------------------

    def _attempts_running(self) -> int:
        return self._attempts.running

    def _octets_in_memory(self) -> int:
        return self._in_hand.memory

    def _destinations(self) -> dict[str, int]:
        now = self.clock.seconds()
        dead = sum(lane.is_dead(now) for lane in self.lanes)
        return {"alive": len(self.lanes) - dead, "dead": dead}
