"""A worker: a kit of its own on the owner's sockets, with the owner's store and way out."""

from __future__ import annotations

import os
import signal
from typing import Any

from attrs import asdict, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger, formatEvent, globalLogPublisher
from twisted.python.reflect import namedAny

from twisted_mail_kit.assembly import context_of, fit
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.fittings import Fittings, Parts
from twisted_mail_kit.kit import MailKit
from twisted_mail_kit.metrics.instruments import Numbers, numbers
from twisted_mail_kit.metrics.lag import Lag
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.running import settle_memory
from twisted_mail_kit.workers.crew import LINE
from twisted_mail_kit.workers.line import Line
from twisted_mail_kit.workers.orders import VERSION, Door, Orders, Snapshot
from twisted_mail_kit.workers.pulse import Pulse
from twisted_mail_kit.workers.reading import NearStore
from twisted_mail_kit.workers.remote_delivery import RemoteTarget
from twisted_mail_kit.workers.remote_store import RemoteStore
from twisted_mail_kit.workers.shared import WorkersShared
from twisted_mail_kit.workers.sockets import SharedEndpoint, adopt_line

LAST_WORDS = 0.1
"""Seconds in which the last replies get on their way, after the sessions have ended."""


class WorkerKit(MailKit):
    """A kit whose ports were opened by somebody else."""

    def __init__(self, doors: tuple[Door, ...], shared: WorkersShared, **more: Any) -> None:
        self._workers_shared = shared
        super().__init__(**more)
        self._sockets = iter(doors)
        for door in doors:
            self.listen(door.service, door.endpoint, door.tls)

    def make_shared(self) -> Shared:
        """See MailKit."""
        return self._workers_shared

    def _endpoint(self, endpoint: str) -> IStreamServerEndpoint:
        return SharedEndpoint(self.reactor, endpoint, next(self._sockets).socket)


class Work:
    """A worker's life, from its orders to its end."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.over: Deferred[None] = Deferred()
        self.line = Line(
            reactor,
            {"look_anew": self._look_anew, "refit": self._refit, "sessions": self._sessions, "numbers": self._numbers},
            {"drain": self._drain},
        )
        self.line.when_lost = self._lost
        self.shared = WorkersShared(reactor, self.line)
        self.kit: WorkerKit | None = None
        self._orders: Orders
        self._target: RemoteTarget | None = None
        self._anew: tuple[Fittings, Parts] | None = None
        self._problems: list[str] = []
        self._is_ending = False

    async def run(self) -> None:
        """Returns when the owner has said that it is over, and all sessions have ended."""
        adopt_line(self.reactor, LINE, self.line)
        os.close(LINE)
        globalLogPublisher.addObserver(self._log)  # type: ignore[arg-type]
        try:
            self._orders = orders = await self.line.ask("orders", VERSION)
        except ConfigurationError as problem:
            await self.line.ask("failed", problem.problems)
            raise SystemExit(1) from None
        try:
            self.kit = self._put_together(orders)
            self.kit.startService()
            await self.kit.ready
        except Exception as problem:
            if not isinstance(problem, (ConfigurationError, OSError)):
                self.log.failure("cannot start")
            problems = problem.problems if isinstance(problem, ConfigurationError) else [str(problem)]
            await self.line.ask("failed", problems)
            raise SystemExit(1) from None
        for door in orders.doors:
            os.close(door.socket.descriptor)  # the ports have copies of their own
        # As with one process, SIGTERM lets sessions end; the reactor asks for that by itself.
        self.reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        await self.line.ask("ready")
        settle_memory()
        pulse = Pulse(self.line, orders.heartbeat, self._owner_hangs)
        pulse.start()
        lag = Lag(self.reactor)
        lag.start()
        await self.over
        lag.stop()
        pulse.stop()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _put_together(self, orders: Orders) -> WorkerKit:
        self._target = RemoteTarget(self.line) if orders.has_way_out else None
        store = RemoteStore(self.line, orders.abilities)
        if orders.reading is not None:
            name, arguments = orders.reading
            store = NearStore(self.line, orders.abilities, namedAny(name)(self.reactor, **arguments))
        fittings = self._fit(orders.snapshot)
        return WorkerKit(
            orders.doors, self.shared, store=store, reactor=self.reactor, **asdict(fittings, recurse=False)
        )

    def _fit(self, snapshot: Snapshot) -> Fittings:
        # The way out is the owner's, whatever plugin makes it.
        config = evolve(snapshot.config(), outbound=None)
        fittings = fit(config, context_of(config, self.reactor), None, self._target)  # type: ignore[arg-type]
        return evolve(fittings, certificates=snapshot.certificates())

    async def _look_anew(self, snapshot: Snapshot) -> list[str]:
        """What is wrong with that configuration, here; empty: nothing, and `_refit` may follow."""
        assert self.kit is not None
        try:
            fittings = self._fit(snapshot)
            self._anew = fittings, fittings.put_together(self.kit.store, self.reactor, self.shared)
        except ConfigurationError as problem:
            return problem.problems
        return []

    async def _refit(self) -> None:
        if self.kit is not None and self._anew is not None:
            self.kit.refit(*self._anew)
            self._anew = None

    async def _sessions(self) -> dict[str, int]:
        return {} if self.kit is None else self.kit.sessions()

    async def _numbers(self) -> Numbers:
        return numbers()

    def _drain(self, seconds: float) -> None:
        self._stop()

    def _stop(self) -> Deferred[None]:
        """Fires when all sessions have ended."""
        if not self._is_ending:
            self._is_ending = True
            ending = Deferred.fromCoroutine(self._end())
            ending.addErrback(lambda failure: self.log.failure("the sessions could not be drained", failure))
            ending.addCallback(self.over.callback)
        ended: Deferred[None] = Deferred()

        def pass_on(result: None) -> None:
            ended.callback(None)

        self.over.addCallback(pass_on)
        return ended

    async def _end(self) -> None:
        if self.kit is not None:
            await self.kit.stopService()
            await deferLater(self.reactor, LAST_WORDS)
        self.line.when_lost = None

    def _lost(self) -> None:
        # The owner is gone, and with it all that we could do for anybody: sessions end here and now.
        os._exit(3)

    def _owner_hangs(self) -> None:
        # It says so once it can: the line keeps it.
        self.log.error("the owner has given no sign of life for {seconds} s", seconds=self._orders.heartbeat)
        self.line.expect_nothing()

    def _log(self, event: Any) -> None:
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}"
        level = event.get("log_level")
        said = (level.name if level else "info", str(event.get("log_namespace", "-")), text)
        self.reactor.callFromThread(self.line.tell, "logged", *said)


async def work(reactor: Any) -> None:
    """What the program does. The terminal's signals are for the owner, which will say what is to be done."""
    for one in (signal.SIGINT, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    await Work(reactor).run()
