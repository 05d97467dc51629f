"""A kit under `twistd`: the ready file, the signals, and a clear end when a port cannot be opened."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.kit import Listener, MailKit
from twisted_mail_kit.plugin import broken


class Host(Protocol):
    """What makes the kit and knows what to tell about it: a configuration, or the demo."""

    kit: MailKit

    def claim(self) -> None:
        """Before anything is begun: see that nobody else runs here. Raises ConfigurationError."""

    async def prepare(self) -> None:
        """What has to be there before anybody is told."""

    async def close(self) -> None:
        """Let go of what `claim` took."""

    def accounts(self) -> list[dict[str, str]]:
        """``{"name": …, "password_file": …}`` of accounts that were made for trying out."""

    def announce(self, listeners: list[Listener]) -> None:
        """Tell the person at the terminal that everything is open."""

    def farewell(self) -> None:
        """Tell the person at the terminal that everything is closed."""


class Running(MultiService):
    """The service that `twistd mailkit` starts."""

    log = Logger()

    def __init__(self, host: Host, reactor: Any, ready_file: Path | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.host = host
        self.reactor = reactor
        self.ready_file = ready_file
        self._is_open = False
        self.kit = host.kit
        service: IService = self.kit
        service.setServiceParent(self)

    def startService(self) -> None:
        """Open the ports, then tell."""
        try:
            self.host.claim()
        except ConfigurationError:
            self._not_opened(Failure())
            return
        super().startService()  # type: ignore[no-untyped-call]
        for dropin, problem in broken():
            self.log.error("the plugin {dropin} cannot be loaded: {problem}", dropin=dropin, problem=problem)
        self.reactor.callWhenRunning(self._hear_hangups)
        self.kit.ready.addCallbacks(self._opened, self._not_opened)

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
        if self._is_open and self.ready_file is not None:
            self.ready_file.unlink(missing_ok=True)
        self.host.farewell()

    def _opened(self, listeners: list[Listener]) -> None:
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
            signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self.kit.reload))
        except ValueError:
            pass  # not the main thread: an embedder's own affair


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
