"""Sockets that several processes share: the pair for a line, and listening ports that another process has opened."""

from __future__ import annotations

import socket
from typing import Any

from attrs import frozen
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.workers.line import Line

AT_ONCE = 4
"""Connections that a worker takes between two looks at those that it has; the next ones are for another worker."""


@frozen
class SharedSocket:
    """A listening socket that the owner has opened, as a worker is told of it."""

    descriptor: int
    """In the worker."""
    family: int
    backlog: int


def share_of(port: Any) -> SharedSocket | None:
    """What the owner says of a port of its own, by its own descriptor; None: it is none that can be shared."""
    listening = getattr(port, "socket", None)
    if not isinstance(listening, socket.socket):
        return None
    return SharedSocket(port.fileno(), listening.family, getattr(port, "backlog", 50))


def adopt_line(reactor: Any, descriptor: int, line: Line) -> None:
    """Put the line on its socket; the descriptor is copied."""
    factory = Factory.forProtocol(lambda: line)
    factory.noisy = False
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, factory)


class _TCPPort(tcp.Port):
    """Takes a few connections at once, and leaves others to the other workers."""

    _shouldShutdown = False  # shutdown(2) would end the socket in all processes

    def doRead(self) -> None:
        self.numberAccepts = AT_ONCE
        super().doRead()  # type: ignore[no-untyped-call]


class _UNIXPort(unix.Port):
    """The file belongs to the owner: who opens and closes the port here leaves its mode and its name alone."""

    _shouldShutdown = False

    def startListening(self) -> None:
        name, self._bindPath = self._bindPath, b"\0shared"  # Twisted takes the file for its own otherwise
        try:
            super().startListening()  # type: ignore[no-untyped-call]
        finally:
            self._bindPath = name

    def doRead(self) -> None:
        self.numberAccepts = AT_ONCE
        super().doRead()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)


def adopt_port(reactor: Any, shared: SharedSocket, factory: Any) -> IListeningPort:
    """Accept from a socket that others accept from too."""
    port: Any
    if shared.family == socket.AF_UNIX:
        port = _UNIXPort._fromListeningDescriptor(reactor, shared.descriptor, factory)  # type: ignore[no-untyped-call]
    else:
        port = _TCPPort._fromListeningDescriptor(reactor, shared.descriptor, shared.family, factory)  # type: ignore[no-untyped-call]
    port.backlog = shared.backlog
    port.startListening()
    listening: IListeningPort = port
    return listening


@implementer(IStreamServerEndpoint)
class SharedEndpoint:
    """Listens on a shared socket, in the way of an endpoints string that was opened elsewhere."""

    def __init__(self, reactor: Any, endpoint: str, shared: SharedSocket) -> None:
        self._reactor = reactor
        self._shared = shared
        self._inner: IStreamServerEndpoint | None = None
        if endpoint.partition(":")[0] not in ("tcp", "tcp6", "unix", "systemd"):
            # It brings something of its own, the certificates of ``ssl:`` for one: let it open what we hand it.
            try:
                self._inner = serverFromString(_Handing(reactor, shared), endpoint)
            except Exception as problem:
                raise ConfigurationError([f'endpoint = "{endpoint}": {problem or type(problem).__name__}']) from None

    def listen(self, factory: Any) -> Deferred[IListeningPort]:
        """See IStreamServerEndpoint."""
        if self._inner is not None:
            port: Deferred[IListeningPort] = self._inner.listen(factory)
            return port
        return succeed(adopt_port(self._reactor, self._shared, factory))


class _Handing:
    """A reactor that hands out one listening socket, whatever is to be opened."""

    def __init__(self, reactor: Any, shared: SharedSocket) -> None:
        self._reactor = reactor
        self._shared = shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: object, factory: Any, *_: object, **__: object) -> IListeningPort:
        return adopt_port(self._reactor, self._shared, factory)

    def listenUNIX(self, address: object, factory: Any, *_: object, **__: object) -> IListeningPort:
        return adopt_port(self._reactor, self._shared, factory)

    def listenSSL(self, port: object, factory: Any, contextFactory: Any, *_: object, **__: object) -> IListeningPort:
        return adopt_port(self._reactor, self._shared, TLSMemoryBIOFactory(contextFactory, False, factory))
