"""A kit under `twistd`: the ready file, the signals, and a clear end when a port cannot be opened."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import IService, IServiceCollection, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConfigurationError, MailError
from twisted_mail_kit.kit import Listener, MailKit
from twisted_mail_kit.plugin import broken


class Host(Protocol):
    """What makes the kit and knows what to tell about it: a configuration, or the demo."""

    def open(self) -> MailKit:
        """Take the state folder, so that nobody else runs here; open what is in it, and make the kit.

        Called once, in the process that is going to serve. Raises ConfigurationError.
        """

    def start(self) -> None:
        """What begins with the kit. Raises ConfigurationError."""

    async def prepare(self) -> None:
        """What has to be there before anybody is told."""

    async def close(self) -> None:
        """End what `start` began, before the kit is closed."""

    def leave(self) -> None:
        """Let go of the state folder, after the kit is closed."""

    def accounts(self) -> list[dict[str, str]]:
        """``{"name": …, "password_file": …}`` of accounts that were made for trying out."""

    def announce(self, listeners: list[Listener]) -> None:
        """Tell the person at the terminal that everything is open."""

    def farewell(self) -> None:
        """Tell the person at the terminal that everything is closed."""


class Running(MultiService):
    """The service that `twistd mailkit` starts."""

    log = Logger()

    def __init__(
        self,
        host: Host,
        reactor: Any,
        ready_file: Path | None = None,
        open_logbook: Callable[[], ILogObserver | None] = lambda: None,
    ) -> None:
        """`open_logbook` gives what the application logs to that this becomes a part of; None: it decides itself."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.host = host
        self.reactor = reactor
        self.ready_file = ready_file
        self._open_logbook = open_logbook
        self.kit: MailKit | None = None
        self._is_open = False

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Called before twistd begins to log: it asks its application for an observer."""
        if isinstance(parent, Componentized) and (logbook := self._open_logbook()) is not None:
            parent.setComponent(ILogObserver, logbook)  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """Open the store, and the ports, while we may still be root.

        Not before: twistd has become a daemon only now, by forks that neither threads nor databases survive.
        """
        self._open_kit()
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def _open_kit(self) -> MailKit:
        if self.kit is not None:
            return self.kit
        try:
            self.kit = self.host.open()
        except (MailError, OSError) as problem:
            self.host.leave()
            lines = problem.problems if isinstance(problem, ConfigurationError) else [str(problem)]
            for line in lines:
                self.log.error("cannot start: {line}", line=line)
            # twistd takes its pid file away, tells who waits at the terminal, and dies of it: in these words only.
            sys.excepthook = lambda *_: _say(lines)
            raise
        service: IService = self.kit
        service.setServiceParent(self)
        return self.kit

    def startService(self) -> None:
        """Open the ports, then tell."""
        kit = self._open_kit()  # `twist` knows no privileged start
        try:
            self.host.start()
        except ConfigurationError:
            self._not_opened(Failure())
            return
        super().startService()  # type: ignore[no-untyped-call]
        for dropin, problem in broken():
            self.log.error("the plugin {dropin} cannot be loaded: {problem}", dropin=dropin, problem=problem)
        self.reactor.callWhenRunning(self._hear_hangups)
        kit.ready.addCallbacks(self._opened, self._not_opened)

    async def _open_house(self, listeners: list[Listener]) -> None:
        await self.host.prepare()
        if self.ready_file is not None:
            write_ready_file(self.ready_file, listeners, self.host.accounts())
        self._is_open = True
        self.host.announce(listeners)

    def stopService(self) -> Any:
        """Drain the kit, take the ready file away."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self.host.close()
        await super().stopService()  # type: ignore[no-untyped-call]
        self.host.leave()
        if self._is_open and self.ready_file is not None:
            self.ready_file.unlink(missing_ok=True)
        self.host.farewell()

    def _opened(self, listeners: list[Listener]) -> None:
        settle_memory()
        Deferred.fromCoroutine(self._open_house(listeners)).addErrback(self._not_opened)

    def _not_opened(self, failure: Failure) -> None:
        inner = getattr(failure.value, "subFailure", failure)  # gatherResults wraps the first failure
        problem = inner.value
        if isinstance(problem, (CannotListenError, ConfigurationError, OSError)):
            self.log.error("cannot start: {problem}", problem=str(problem))
        else:
            self.log.failure("cannot start", failure=inner)
        self.reactor.callWhenRunning(self._give_up)

    def _give_up(self) -> None:
        # Nothing else makes twistd end with an exit code once the reactor runs; everything is closed by then.
        self.reactor.addSystemEventTrigger("after", "shutdown", lambda: os._exit(1))
        self.reactor.stop()

    def _hear_hangups(self) -> None:
        try:
            signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self._open_kit().reload))
        except ValueError:
            pass  # not the main thread: an embedder's own affair


def settle_memory() -> None:
    """For a program that serves from now on: what the start has made stays, and is not looked through again.

    The collector of cycles comes after 700 new objects as Python sets it, which is every few messages, and looks at
    modules and classes time and again: a tenth of a message's time. What we make has next to no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def _say(lines: list[str]) -> None:
    """Where a person reads it: twistd has made sys.stderr a part of the log."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write("".join(f"{line}\n" for line in lines))


def write_ready_file(path: Path, listeners: list[Listener], accounts: list[dict[str, str]]) -> None:
    """Write what scripts want to know, whole or not at all."""
    facts = {
        "pid": os.getpid(),
        "listeners": [
            {"service": one.service, "host": one.host, "port": one.port, "tls": one.tls} for one in listeners
        ],
        "accounts": accounts,
    }
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(facts) + "\n")
    beside.replace(path)
