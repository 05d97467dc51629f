"""The crew: the owner's worker processes, started, watched, and started again when they die."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Hashable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import IDeliveryTarget, IMailStore
from twisted_mail_kit.metrics.adding import Parts
from twisted_mail_kit.metrics.catalogue import WORKER_RESTARTS, WORKERS
from twisted_mail_kit.metrics.instruments import Numbers
from twisted_mail_kit.workers.hatch import DeliveryHatch, StoreHatch
from twisted_mail_kit.workers.line import Line
from twisted_mail_kit.workers.orders import VERSION, Orders
from twisted_mail_kit.workers.pulse import Pulse
from twisted_mail_kit.workers.settings import CrewSettings
from twisted_mail_kit.workers.shared import CrewsShared
from twisted_mail_kit.workers.sockets import adopt_line

LINE = 3
"""The line's descriptor in a worker; the listening sockets follow."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
HEALTHY = 30.0
"""A worker that has lived so many seconds is started again at once when it dies; others later and later."""
ANSWER = 2.0
"""Seconds that a worker has for an answer to the operator."""
GRACE = 5.0
"""Seconds beyond the drain after which a worker that should have ended is killed."""


class Crew:
    """`size` workers, for as long as it is not stopped."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        size: int,
        orders: Callable[[int], Orders],
        descriptors: list[int],
        store: IMailStore,
        target: Callable[[], IDeliveryTarget | None],
        settings: CrewSettings | None = None,
    ) -> None:
        self.reactor = reactor
        self.settings = settings or CrewSettings()
        self.orders = orders
        self.descriptors = descriptors
        """Listening sockets, in the order in which the orders name them."""
        self.store = store
        self.target = target
        self.shared = CrewsShared()
        self.is_stopping = False
        self.workers: dict[int, Worker] = {}
        self._size = size
        self._deaths = [0] * (size + 1)
        """One after the other, without a healthy life in between; by the worker's number."""
        self._restarts = [0] * (size + 1)
        self._starting: dict[int, IDelayedCall] = {}
        self._counted = Parts()

    def start(self) -> Deferred[None]:
        """Fires when all take connections. Fails with ConfigurationError: one cannot."""
        ready = [self._start(number).ready for number in range(1, self._size + 1)]
        all_ready: Deferred[Any] = DeferredList(ready, fireOnOneErrback=True, consumeErrors=True)
        return all_ready.addCallbacks(lambda _: None, lambda first: first.value.subFailure)

    async def ask_all(self, verb: str, *arguments: object) -> list[str]:
        """Ask every worker; what is wrong, in one list. A worker that dies has nothing to say: the next one is told
        anew when it starts."""
        asked = [worker.line.ask(verb, *arguments) for worker in self.workers.values() if worker.is_ready]
        problems: list[str] = []
        for done, result in await DeferredList(asked, consumeErrors=True):
            if done and result:
                problems += result
            elif not done and result.check(ConfigurationError):
                problems += result.value.problems
        return list(dict.fromkeys(problems))

    async def status(self) -> list[dict[str, Any]]:
        """A worker each: number, pid (0: none just now), age in seconds, restarts, sessions by service (None: it does
        not answer)."""
        asked = {
            number: worker.line.ask("sessions").addTimeout(ANSWER, self.reactor)
            for number, worker in self.workers.items()
            if worker.is_ready
        }
        answers = dict(zip(asked, await DeferredList(list(asked.values()), consumeErrors=True), strict=True))
        found: list[dict[str, Any]] = []
        for number in range(1, self._size + 1):
            worker = self.workers.get(number)
            done, sessions = answers.get(number, (False, None))
            found.append(
                {
                    "number": number,
                    "pid": 0 if worker is None else worker.pid,
                    "seconds": 0.0 if worker is None else self.reactor.seconds() - worker.began,
                    "restarts": self._restarts[number],
                    "sessions": sessions if done else None,
                }
            )
        return found

    async def numbers(self) -> Numbers:
        """What all workers have counted, also those that are gone; gauges of those that answer."""
        asked = {
            worker: worker.line.ask("numbers").addTimeout(ANSWER, self.reactor)
            for worker in self.workers.values()
            if worker.is_ready
        }
        answers = zip(asked, await DeferredList(list(asked.values()), consumeErrors=True), strict=True)
        present: dict[Hashable, Numbers] = {worker: told for worker, (done, told) in answers if done}
        WORKERS.value = len(present)
        return self._counted.total(present)

    async def stop(self, seconds: float) -> None:
        """All sessions come to a safe end, and all workers are gone."""
        self.is_stopping = True
        for call in self._starting.values():
            call.cancel()
        self._starting.clear()
        workers = list(self.workers.values())
        if not workers:
            return
        for worker in workers:
            if worker.is_ready:
                worker.line.tell("drain", seconds)
            else:
                worker.kill()  # it has no sessions
        ended: Deferred[Any] = DeferredList([worker.ended for worker in workers])
        late = self.reactor.callLater(seconds + GRACE, self._kill)
        await ended
        if late.active():
            late.cancel()

    def _kill(self) -> None:
        for worker in self.workers.values():
            self.log.error("worker {number} does not end: it is killed", number=worker.number)
            worker.kill()

    def _start(self, number: int) -> Worker:
        self._starting.pop(number, None)
        worker = self.workers[number] = Worker(self, number)
        try:
            worker.spawn()
        except OSError as problem:
            worker.not_spawned(problem)
        return worker

    def ended(self, worker: Worker, how: str) -> None:
        """A worker's process is gone."""
        self._counted.left(worker)
        del self.workers[worker.number]
        if self.is_stopping:
            return
        lived = self.reactor.seconds() - worker.began
        self._deaths[worker.number] = 1 if lived >= HEALTHY else self._deaths[worker.number] + 1
        pause = min(FIRST_PAUSE * 2.0 ** min(self._deaths[worker.number] - 2, 30), LONGEST_PAUSE)
        if self._deaths[worker.number] == 1:
            pause = 0.0
        self.log.error(
            "worker {number} (process {pid}) ended: {how}; its sessions are lost, another one starts in {pause} s",
            number=worker.number,
            pid=worker.pid,
            how=how,
            pause=pause,
        )
        self._starting[worker.number] = self.reactor.callLater(pause, self._again, worker.number)

    def _again(self, number: int) -> None:
        # What keeps it from starting is in the log, and the end of its process has us try again.
        self._restarts[number] += 1
        WORKER_RESTARTS.value += 1
        self._start(number).ready.addErrback(lambda _: None)


class Worker(ProcessProtocol):
    """One worker process, seen by the owner."""

    log = Logger()

    def __init__(self, crew: Crew, number: int) -> None:
        self.number = number
        self.began = crew.reactor.seconds()
        self.pid = 0
        self.ready: Deferred[None] = Deferred()
        """Fires when it takes connections; fails when it ends before."""
        self.ended: Deferred[None] = Deferred()
        self.is_ready = False
        self._crew = crew
        self._said = b""
        self.line = line = Line(crew.reactor, {"orders": self._orders, "ready": self._ready, "failed": self._failed})
        self._pulse = Pulse(line, crew.settings.heartbeat, self._silent)
        self._late = crew.reactor.callLater(crew.settings.start, self._too_late)
        self._hatches = StoreHatch(crew.store, line), DeliveryHatch(crew.target())
        for hatch in self._hatches:
            line.verbs.update(hatch.verbs())
            line.news.update(hatch.news())
        line.news["logged"] = self._logged
        line.verbs.update(crew.shared.verbs(line))
        line.news.update(crew.shared.news(line))
        line.when_lost = self._hung_up

    def spawn(self) -> None:
        """Start the process."""
        ours, theirs = socket.socketpair()
        descriptors = {0: "w", 1: "r", 2: "r", LINE: theirs.fileno()}
        descriptors.update(enumerate(self._crew.descriptors, LINE + 1))
        try:
            self._crew.reactor.spawnProcess(
                self,
                sys.executable,
                [sys.executable, "-m", "twisted_mail_kit.workers"],
                # It finds the modules that we find, and none in the folder in which we happen to have been started.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"},
                childFDs=descriptors,
            )
            ours.setblocking(False)
            adopt_line(self._crew.reactor, ours.fileno(), self.line)
        finally:
            ours.close()
            theirs.close()

    def not_spawned(self, problem: OSError) -> None:
        """There is no process; it is tried again as if it had died."""
        self._gone(f"it cannot be started as the user that the server has become: {problem}")

    def change_target(self, target: IDeliveryTarget | None) -> None:
        """The way out is another one, for messages to come."""
        self._hatches[1].target = target

    def kill(self) -> None:
        """End it now."""
        if self.transport is not None and self.pid:
            try:
                self.transport.signalProcess("KILL")
            except Exception:
                pass  # it has ended by itself

    # --- what the worker says ----------------------------------------------------------------------------------------

    async def _orders(self, version: str) -> Orders:
        if version != VERSION:
            raise ConfigurationError([f"it is of version {version}, and the owner of {VERSION}: restart the server"])
        self._crew.shared.join(self.line)
        return self._crew.orders(self.number)

    async def _ready(self) -> None:
        self.log.info("worker {number} (process {pid}) takes connections", number=self.number, pid=self.pid)
        if self._late.active():
            self._late.cancel()
        self._pulse.start()
        self.is_ready = True
        if not self.ready.called:
            self.ready.callback(None)

    async def _failed(self, problems: list[str]) -> None:
        for problem in problems:
            self.log.error("worker {number} cannot start: {problem}", number=self.number, problem=problem)
        if not self.ready.called:
            self.ready.errback(ConfigurationError(problems))

    def _logged(self, level: str, namespace: str, text: str) -> None:
        # As if it had been said here; the number tells which process it was.
        Logger(namespace).emit(LogLevel.levelWithName(level), "[{worker}] {text}", worker=self.number, text=text)

    def _silent(self) -> None:
        self._give_up("has given no sign of life for {seconds} s", self._crew.settings.heartbeat)

    def _too_late(self) -> None:
        self._give_up("takes no connections after {seconds} s", self._crew.settings.start)

    def _hung_up(self) -> None:
        # A process that has closed its line is about to end; one that is not ends now.
        if not self._crew.is_stopping and not self._late.active():
            self._late = self._crew.reactor.callLater(
                GRACE, self._give_up, "has hung up, but is there after {seconds} s", GRACE
            )

    def _give_up(self, why: str, seconds: float) -> None:
        self.log.error(
            f"worker {{number}} (process {{pid}}) {why}: it is killed",
            number=self.number,
            pid=self.pid,
            seconds=seconds,
        )
        self.kill()

    # --- what Twisted calls ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The process is there; it may have ended, and its number be forgotten, before spawnProcess returns."""
        assert self.transport is not None
        self.pid = self.transport.pid

    def outReceived(self, data: bytes) -> None:
        """It has no log of its own; what gets here is from before it has its line, or from beneath Python."""
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            self.log.warn("worker {number} says: {line}", number=self.number, line=line.decode("utf-8", "replace"))

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and all that it wrote was read."""
        self.outReceived(b"\n" if self._said else b"")
        self._gone("by itself" if reason.check(ProcessDone) else _how(reason.value))

    def _gone(self, how: str) -> None:
        self._pulse.stop()
        if self._late.active():
            self._late.cancel()
        self.line.when_lost = None
        self.line.close()
        self._crew.shared.leave(self.line)
        for hatch in self._hatches:
            hatch.close()
        if not self.ready.called:
            self.ready.errback(ConfigurationError([f"worker {self.number} ended before it took connections: {how}"]))
        self._crew.ended(self, how)
        self.ended.callback(None)


def _how(end: Any) -> str:
    number: int | None = end.signal
    return f"exit code {end.exitCode}" if number is None else signal.Signals(number).name
