"""The attempts that run at the same time: how many, which comes next, and what each one says of its destination."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from twisted_mail_kit.interfaces import IDeliveryTarget, ISpool
from twisted_mail_kit.mail.outcome import Outcome
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import QUEUE_ATTEMPTS
from twisted_mail_kit.queue.attempt import Poisoned, attempt
from twisted_mail_kit.queue.concurrency import Lane, Lanes
from twisted_mail_kit.queue.inhand import Job
from twisted_mail_kit.queue.schedule import is_unreachable
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.queue.settling import Settling
from twisted_mail_kit.queue.tasks import Tasks


class Attempts:
    """Makes them, of what waits in `lanes`. What one brought is given to `settling`; a job that was cut off in its
    attempt, of which nobody knows what became, is put away."""

    log = Logger()

    def __init__(
        self,
        target: IDeliveryTarget,
        spool: ISpool,
        clock: Any,
        settings: QueueSettings,
        lanes: Lanes,
        tasks: Tasks,
        settling: Settling,
        put_away: Callable[[Job], None],
    ) -> None:
        self.target = target
        self._spool = spool
        self._clock = clock
        self._most = settings.attempts
        self._lanes = lanes
        self._tasks = tasks
        self._settling = settling
        self._put_away = put_away
        self.running = 0
        self.is_stopping = False
        """Begin nothing new."""
        self._is_beginning = False

    def begin_fresh(self, job: Job) -> None:
        """Try a message that has just come; at once where there is room."""
        lane = self._lanes.lane(job.destination)
        if self.running < self._most and lane.has_room and not self.is_stopping:
            self._lanes.enter(lane)
            self._spawn(lane, job)
        else:
            if self.running >= self._most:
                limits.QUEUE_ATTEMPTS.value += 1
            self._lanes.put(job)

    def begin(self) -> None:
        """Start what may start. A quarter of all attempts is left to messages that have just come."""
        if self._is_beginning:
            return
        self._is_beginning = True
        try:
            most = self._most - self._most // 4
            while self.running < most and not self.is_stopping:
                pair = self._lanes.begin()
                if pair is None:
                    break
                self._spawn(*pair)
            if self.running >= most and self._lanes.is_any_ready:
                limits.QUEUE_ATTEMPTS.value += 1
        finally:
            self._is_beginning = False

    # --- inside ------------------------------------------------------------------------------------------------------

    def _spawn(self, lane: Lane, job: Job) -> None:
        self.running += 1
        QUEUE_ATTEMPTS.value += 1
        self._tasks.spawn(self._try(lane, job))

    async def _try(self, lane: Lane, job: Job) -> None:
        outcomes: list[Outcome] | None = None
        problem, is_known = "", False
        try:
            try:
                outcomes = await attempt(job, self.target, self._spool, self._clock)
            except Poisoned as poisoned:
                problem = str(poisoned)
            finally:
                self.running -= 1
                put_off = self._learn(lane, outcomes)
                self._lanes.end(lane)
            if put_off:
                self._settling.put_off([(one, lane) for one in put_off])
            self.begin()
            is_known = True
        finally:
            if not is_known:
                self._put_away(job)
        if outcomes is None:
            self._settling.hold(job, problem)
            return
        self._settling.soon(job, outcomes)
        if self.is_stopping:
            self._settling.now()

    def _learn(self, lane: Lane, outcomes: list[Outcome] | None) -> list[Job]:
        """What an attempt says of its destination. Gives what is to be put off because it is dead."""
        if not outcomes:
            return []
        now = self._clock.seconds()
        if not is_unreachable(outcomes):
            self._lanes.reached(lane, now)
            return []
        if not self._lanes.unreachable(lane, outcomes[0].status, now):
            return []
        self.log.info(
            "{destination} is left alone until {until}: {text}",
            destination=lane.name,
            until=lane.dead_until,
            text=outcomes[0].status.text,
        )
        return self._lanes.put_off(lane)
