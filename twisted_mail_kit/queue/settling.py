"""What attempts brought is written down together: for all that end in the same turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted_mail_kit.mail.outcome import Outcome
from twisted_mail_kit.net.turn import AtTurnsEnd
from twisted_mail_kit.queue.aftermath import Aftermath, Tried, Verdict
from twisted_mail_kit.queue.concurrency import Lane
from twisted_mail_kit.queue.inhand import Job
from twisted_mail_kit.queue.tasks import Tasks


class Settling:
    """Has the aftermath of jobs done, each of which is put away when all is done for it.

    Hot path. Under load several attempts end in each turn of the reactor; together they cost the spool one request,
    and the same step is done for one after the other.
    """

    def __init__(self, aftermath: Aftermath, tasks: Tasks, clock: Any, put_away: Callable[[Job], None]) -> None:
        self._aftermath = aftermath
        self._tasks = tasks
        self._put_away = put_away
        self._tried: list[Tried] = []
        """Attempts that have ended, and of which nothing is written down yet."""
        self._writing = AtTurnsEnd(clock, self._write)

    def soon(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """That is what an attempt brought: write it down at the end of this turn."""
        self._tried.append((job, outcomes))
        self._writing.soon()

    def now(self) -> None:
        """Write down what has gathered."""
        self._writing.now()

    def forget(self) -> None:
        """As if we had been killed: what has gathered is not written down."""
        self._writing.cancel()
        tried, self._tried = self._tried, []
        for job, _ in tried:
            self._put_away(job)

    def put_off(self, jobs: Sequence[tuple[Job, Lane]]) -> None:
        """What waits for dead destinations is delayed together, without trying."""
        self._tasks.spawn(self._put_off(jobs))

    def hold(self, job: Job, problem: str) -> None:
        """Its octets cannot be read, and so it cannot be tried: leave it to a person."""
        self._tasks.spawn(self._finish(job, self._aftermath.hold(job, problem)))

    def pay(self, job: Job) -> None:
        """Nothing is owed for it but reports: bring them."""
        self._tasks.spawn(self._finish(job, self._aftermath.pay(job)))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        tried, self._tried = self._tried, []
        if tried:
            self._tasks.spawn(self._settle(tried))

    async def _settle(self, tried: Sequence[Tried]) -> None:
        await self._report([job for job, _ in tried], self._aftermath.settle(tried))

    async def _put_off(self, jobs: Sequence[tuple[Job, Lane]]) -> None:
        await self._report([job for job, _ in jobs], self._aftermath.put_off(jobs))

    async def _report(self, jobs: Sequence[Job], work: Coroutine[Any, Any, dict[Job, Verdict]]) -> None:
        """Put away those of the jobs of whom there is nothing to report first."""
        news: dict[Job, Verdict] = {}
        try:
            news = await work
        finally:
            for job in jobs:
                if job not in news:
                    self._put_away(job)
        for job, verdict in news.items():
            self._tasks.spawn(self._finish(job, self._aftermath.report(job, verdict)))

    async def _finish(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        """Do that, which is the last that is to be done for a job."""
        try:
            await work
        finally:
            self._put_away(job)
