"""Behind a proxy that speaks the PROXY protocol: a session begins when it is known whom it is with."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

PATIENCE = 10.0
"""Seconds in which the proxy has to send its header."""

# Twisted's `haproxy:` endpoint connects the inner protocol at once, and tells it the proxy's address until the header
# has come. A mail server speaks first, and has to know whom it refuses: so here the inner protocol is made, by the
# client's own address, after the header. Only the reading of the header is Twisted's.


class _Early(Protocol):
    """Keeps what comes right behind the header, until there is a session."""

    def __init__(self) -> None:
        self.octets = b""

    def dataReceived(self, data: bytes) -> None:
        self.octets += data


class _Wrapper(HAProxyProtocolWrapper):
    factory: ProxiedFactory

    def __init__(self, factory: ProxiedFactory) -> None:
        self._early: _Early | None = _Early()
        self._alarm: IDelayedCall | None = None
        super().__init__(factory, self._early)

    def makeConnection(self, transport: ITransport) -> None:
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)  # type: ignore[no-untyped-call]
        self._alarm = self.factory.clock.callLater(PATIENCE, self.abortConnection)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._early is not None and self._proxyInfo is not None:
            early, self._early = self._early, None
            self._quiet()
            session = self.factory.wrappedFactory.buildProtocol(self.getPeer())
            if session is None:
                self.loseConnection()  # type: ignore[no-untyped-call]
                return
            self.wrappedProtocol = session
            session.makeConnection(self)
            if early.octets:
                session.dataReceived(early.octets)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._quiet()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _quiet(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()


class ProxiedFactory(WrappingFactory[_Wrapper]):
    """Takes connections from a proxy; `inner` sees them as if they came from the client itself."""

    noisy = False

    def __init__(self, inner: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(inner)  # type: ignore[no-untyped-call]
        self.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A protocol that waits for the header first."""
        wrapper: IProtocol = _Wrapper(self)
        return wrapper
