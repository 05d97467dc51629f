"""A listener's connections: how many there may be, from whom, and how they all come to an end."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from attrs.validators import ge
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import SESSIONS, SESSIONS_OPEN
from twisted_mail_kit.net.alarms import Alarms
from twisted_mail_kit.net.session import Session
from twisted_mail_kit.net.shared import Shared


@frozen(kw_only=True)
class ConnectionLimits:
    """How many connections a listener takes; with `workers`, all of them together."""

    per_address: int = field(default=50, validator=ge(1))
    """At the same time, from one IPv4 address or one IPv6 /64."""
    per_listener: int = field(default=2000, validator=ge(1))
    """At the same time, all together."""
    per_minute: int = field(default=120, validator=ge(1))
    """New ones within a minute, from one IPv4 address or one IPv6 /64. Loopback is not counted."""


class SessionFactory(ServerFactory):
    """Makes sessions, counts them, and drains them.

    A connection too many from one address is turned away in the protocol's words; when all are too many, accepting
    pauses: `ports` are the listening ports to pause. Counted is in `shared`, under the listener's `name`: together with
    other factories of that name, and with other processes.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        make_session: Callable[[], Session],
        clock: IReactorTime,
        limits: ConnectionLimits,
        shared: Shared | None = None,
        name: str = "",
    ) -> None:
        self.make_session = make_session
        self.clock = clock
        self.limits = limits
        self.alarms = Alarms(clock)
        self.sessions: set[Session] = set()
        self._shared = shared or Shared(clock)
        self._name = name
        self._shared.watch(self._look)
        self._draining = False
        self._paused = False
        self._service = ""
        """Of all its sessions, once there was one."""
        self.ports: list[Any] = []
        SESSIONS_OPEN.read(self._open)

    def buildProtocol(self, addr: IAddress | None) -> Session | None:
        """A session for the new connection, or None: the connection is dropped."""
        if self._draining:
            return None
        source = source_of(getattr(addr, "host", ""))
        session = self.make_session()
        session.factory = self
        session.source = source
        session.is_one_too_many = not self._may_come(source)
        if session.is_one_too_many:
            self.log.info("connection refused: too many from {source}", source=source)
        self.sessions.add(session)
        self._service = session.service
        SESSIONS[session.service].value += 1
        self._shared.add((self._name, source))
        self._shared.add(self._name)
        return session

    def left(self, session: Session) -> None:
        """A session's connection is gone."""
        if session in self.sessions:
            self.sessions.discard(session)
            self._shared.add((self._name, session.source), -1)
            self._shared.add(self._name, -1)

    def hand_over(self, successor: SessionFactory) -> None:
        """Sessions come from `successor` from now on; ours go on until they end."""
        self._shared.unwatch(self._look)
        self._pause(False)
        successor.ports, self.ports = self.ports, []

    def drain(self, seconds: float) -> Deferred[object]:
        """Take nobody new; let each session end at its next safe point, and cut it off after `seconds`."""
        self._draining = True
        sessions = list(self.sessions)
        over = DeferredList([session.when_over() for session in sessions])
        for session in sessions:
            session.drain()
        late = self.clock.callLater(seconds, self._cut_off)

        def done(result: object) -> object:
            if late.active():
                late.cancel()
            return result

        return over.addBoth(done)

    def _look(self) -> None:
        count = self._shared.now(self._name)
        is_full = count >= self.limits.per_listener
        if is_full and not self._paused:
            self.log.warn("accepting pauses: {count} connections", count=count)
            limits.CONNECTIONS_PER_LISTENER.value += 1
            self._pause(True)
        elif self._paused and not is_full:
            self._pause(False)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        for port in self.ports:
            if paused:
                port.pauseProducing()
            else:
                port.resumeProducing()

    def _cut_off(self) -> None:
        for session in list(self.sessions):
            session.abort()

    def _may_come(self, source: str) -> bool:
        if not source:
            return True
        what = (self._name, source)
        is_local = source == "::1" or source.startswith("127.")
        if not is_local and self._shared.note(what) > self.limits.per_minute:
            limits.CONNECTIONS_PER_MINUTE.value += 1
            return False
        if self._shared.now(what) >= self.limits.per_address:
            limits.CONNECTIONS_PER_ADDRESS.value += 1
            return False
        return True

    def _open(self) -> dict[str, int]:
        return {self._service: len(self.sessions)} if self._service else {}


def source_of(host: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 /64. Empty for a unix socket."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.ip_network((address, 64), strict=False))
    text = str(address)
    return host if text == host else text  # one string for a session, not two
