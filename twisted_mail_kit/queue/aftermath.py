"""What comes after an attempt: it is written down, and the sender is told where there is something to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import Factory, define
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.queued import QueuedRecipient, Settled, TraceEvent
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import QUEUE_OUTCOMES, QUEUE_SECONDS
from twisted_mail_kit.net.telling import tell
from twisted_mail_kit.queue.bounces import Bounces
from twisted_mail_kit.queue.concurrency import Lane
from twisted_mail_kit.queue.inhand import Job
from twisted_mail_kit.queue.schedule import Schedule, owes_success_notice, wants
from twisted_mail_kit.queue.timeline import brought, said, word
from twisted_mail_kit.queue.words import answer

log = Logger()

UNREADABLE = Status("4.3.0", "The message cannot be read here")
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)

News = list[tuple[QueuedRecipient, Outcome]]
Tried = tuple[Job, Sequence[Outcome]]


@define
class Verdict:
    """What is to be done about the recipients of one attempt."""

    settled: list[Settled] = Factory(list)
    """To be written down at once."""
    events: list[TraceEvent] = Factory(list)
    failed: News = Factory(list)
    """To be written down when the sender knows."""
    delayed: News = Factory(list)
    """The same; it stays in the queue."""
    not_before: float = 0.0


class Aftermath:
    """Settles recipients.

    Who is served, or has to wait on, is written down right after the attempt. A failure that its sender is to be told
    of is written down when the report is durable: a crash in between makes one more attempt, which fails again. A
    success that its sender is to be told of is written down at once, as what is owed: the last outcome of a recipient
    that still waits is then Delivered (or Failed, where a report could not be brought), and all that is left to do
    for it is the report.
    """

    def __init__(
        self,
        spool: ISpool,
        schedule: Schedule,
        bounces: Bounces,
        clock: Any,
        written: Callable[[Sequence[Settled]], None],
    ) -> None:
        self.spool = spool
        self.schedule = schedule
        self.bounces = bounces
        self.clock = clock
        self._written = written
        self._reports = DeferredSemaphore(schedule.settings.notices)

    async def settle(self, tried: Sequence[Tried]) -> dict[Job, Verdict]:
        """After attempts that ended at the same time: written down in one go. Gives those of whom there is something
        to report first."""
        return await self._settle([(job, self._judge(job, outcomes)) for job, outcomes in tried])

    async def put_off(self, jobs: Sequence[tuple[Job, Lane]]) -> dict[Job, Verdict]:
        """The same instead of an attempt, for destinations that are dead."""
        return await self._settle(
            [
                (job, self._judge(job, [lane.why()] * len(job.recipients), lane.dead_until, is_tried=False))
                for job, lane in jobs
            ]
        )

    async def hold(self, job: Job, problem: str) -> None:
        """The message cannot be read: a person has to look at it. All others go on."""
        message, now = job.message, self.clock.seconds()
        log.error(
            "{trace_id} for {destination} is held: its octets cannot be read: {problem}",
            trace_id=message.id,
            destination=job.destination,
            problem=problem,
        )
        outcome = Delayed(UNREADABLE)
        verdict = Verdict()
        for one in job.recipients:
            verdict.settled.append(Settled(one, outcome, now + self.schedule.gap(one.attempts)))
            verdict.events.append(said(message, now, "held", one, f"its octets cannot be read: {problem}"))
        await self._write(verdict)
        await self.spool.change(message.id, is_held=True, numbers=[one.number for one in job.recipients])

    async def report(self, job: Job, verdict: Verdict) -> None:
        """Tell the sender, then write down what he was told of."""
        if verdict.failed:
            outcome = await self._tell(job, verdict.failed)
            now = self.clock.seconds()
            for queued, failed in verdict.failed:
                again = now + self.schedule.gap(queued.attempts) if isinstance(outcome, Delayed) else None
                verdict.settled.append(Settled(queued, failed, again))
            verdict.events += self._told(job, outcome, "bounced", verdict.failed)
        if verdict.delayed:
            expires = self.schedule.expires(job.message)
            outcome = await self._tell(job, verdict.delayed, expires)
            now = self.clock.seconds()
            for queued, delayed in verdict.delayed:
                again = self.schedule.next_try(job.message, queued, now, verdict.not_before)
                verdict.settled.append(Settled(queued, delayed, again, not isinstance(outcome, Delayed)))
            verdict.events += self._told(job, outcome, "delay-notice", verdict.delayed)
        await self._write(verdict)

    async def pay(self, job: Job) -> None:
        """Bring the reports that are owed for recipients with whom all else is done."""
        verdict = Verdict()
        failed: News = [(one, one.last) for one in job.recipients if isinstance(one.last, Failed)]
        delivered: News = [(one, one.last) for one in job.recipients if isinstance(one.last, Delivered)]
        for news, event in ((failed, "bounced"), (delivered, "success-notice")):
            if not news:
                continue
            outcome = await self._tell(job, news)
            now = self.clock.seconds()
            for queued, last in news:
                again = now + self.schedule.gap(queued.attempts) if isinstance(outcome, Delayed) else None
                verdict.settled.append(Settled(queued, last, again))
            verdict.events += self._told(job, outcome, event, news)
        await self._write(verdict)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _judge(self, job: Job, outcomes: Sequence[Outcome], not_before: float = 0.0, is_tried: bool = True) -> Verdict:
        message, now, schedule = job.message, self.clock.seconds(), self.schedule
        envelope = message.envelope
        verdict = Verdict(not_before=not_before)
        for queued, came in zip(job.recipients, outcomes, strict=True):
            outcome = schedule.judge(message, came, now)
            if is_tried:
                _count(outcome, now - envelope.received_at)
            if outcome is not came:
                limits.QUEUE_AGE.value += 1
            # A hundred tries that were none would say the same in a timeline a hundred times.
            event = brought(message, now, queued, outcome)
            if is_tried or outcome != queued.last:
                verdict.events.append(event)
            if is_tried or isinstance(outcome, Failed):
                _log(job, event)
            if isinstance(outcome, Delivered):
                again = now if owes_success_notice(envelope, queued.recipient, outcome) else None
                verdict.settled.append(Settled(queued, outcome, again))
            elif isinstance(outcome, Failed):
                if wants(envelope, queued.recipient, "FAILURE"):
                    verdict.failed.append((queued, outcome))
                else:
                    verdict.settled.append(Settled(queued, outcome, None))
            elif schedule.owes_delay_notice(message, queued, now):
                verdict.delayed.append((queued, outcome))
                limits.QUEUE_DELAY_NOTICE.value += 1
            else:
                again = schedule.next_try(message, queued, now, not_before)
                verdict.settled.append(Settled(queued, outcome, again))
        return verdict

    async def _tell(self, job: Job, news: News, retry_until: float | None = None) -> Outcome:
        await self._reports.acquire()
        try:
            return await self.bounces.tell(job.message, news, retry_until)
        finally:
            self._reports.release()

    def _told(self, job: Job, outcome: Outcome, event: str, news: News) -> list[TraceEvent]:
        if isinstance(outcome, Delayed):
            return []
        text = f"<{job.message.envelope.sender}> was told"
        if isinstance(outcome, Failed):
            event, text = "failed", f"<{job.message.envelope.sender}> cannot be told: {answer(outcome.status)}"
        now = self.clock.seconds()
        return [said(job.message, now, event, queued, text) for queued, _ in news]

    async def _settle(self, judged: Sequence[tuple[Job, Verdict]]) -> dict[Job, Verdict]:
        done = [verdict for _, verdict in judged if verdict.settled]
        settled = [one for verdict in done for one in verdict.settled]
        if settled:
            try:
                await self.spool.settle(settled, [event for verdict in done for event in verdict.events])
            except CancelledError:
                raise
            except Exception:
                # Where it is one of them that cannot be written down, the others go on.
                await gatherResults([Deferred.fromCoroutine(self._write(verdict)) for verdict in done])
            else:
                self._written(settled)
                for verdict in done:
                    verdict.settled, verdict.events = [], []
        return {job: verdict for job, verdict in judged if verdict.failed or verdict.delayed}

    async def _write(self, verdict: Verdict) -> None:
        """Settle, however often it takes: what was delivered must not be delivered again."""
        settled, events = verdict.settled, verdict.events
        verdict.settled, verdict.events = [], []
        tries = 0
        while True:
            try:
                await self.spool.settle(settled, events)
                break
            except CancelledError:
                raise
            except Exception:
                pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
                if not tries:
                    log.failure("the spool does not take what became of {count} recipients", count=len(settled))
                tries += 1
            await deferLater(self.clock, pause, lambda: None)
        self._written(settled)


def _count(outcome: Outcome, seconds: float) -> None:
    QUEUE_OUTCOMES[word(outcome)].value += 1
    if isinstance(outcome, Delivered):
        QUEUE_SECONDS.add(seconds)


def _log(job: Job, event: TraceEvent) -> None:
    remote = event.remote or job.destination
    tell(
        log,
        f"{job.message.id} to {event.recipient}: {event.event}, {remote}: {event.text}",
        trace_id=job.message.id,
        recipient=event.recipient,
        word=event.event,
        remote=remote,
        text=event.text,
    )
