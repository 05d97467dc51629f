"""A UDP socket for one question, on a random port, that hears one server only."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mail_kit.net.dns.servers import Server

Heard = Callable[[bytes], None]
Refused = Callable[[str], None]

_PORT_TRIES: Final = 8
_READS: Final = 32


class Socket(Protocol):
    """What `open_socket` gives."""

    def close(self) -> None:
        """Nothing is heard any more."""


def open_socket(
    reactor: Any, server: Server, octets: bytes, heard: Heard, refused: Refused, random: random.Random
) -> Socket:
    """Send the octets to the server. Its datagrams are `heard`, and nobody else's; `refused` says why there will be
    none. Raises OSError."""
    kind: Callable[..., Socket] = _ByReactor
    if IReactorFDSet.providedBy(reactor):
        # Twisted's own ports write two lines into the log each time, and stop without a word where one is refused.
        kind = _Descriptor
    for _ in range(_PORT_TRIES):
        try:
            return kind(reactor, server, random.randrange(1024, 65536), octets, heard, refused)
        except (CannotListenError, PermissionError) as problem:
            last: Exception = problem
    try:
        return kind(reactor, server, 0, octets, heard, refused)
    except CannotListenError:
        raise OSError("no port to ask from") from last


@implementer(IReadDescriptor)
class _Descriptor:
    """A connected socket: the system drops what others send."""

    def __init__(self, reactor: Any, server: Server, port: int, octets: bytes, heard: Heard, refused: Refused) -> None:
        self._reactor = reactor
        self._heard = heard
        self._refused = refused
        self._is_open = True
        self._socket = socket.socket(socket.AF_INET6 if server.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            try:
                self._socket.bind(("::" if server.is_ipv6 else "", port))
            except OSError as problem:
                raise CannotListenError("", port, problem) from problem
            self._socket.connect((server.host, server.port))
            self._socket.send(octets)
        except BaseException:
            self._socket.close()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        """For the reactor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For the reactor."""
        return "DNS"

    def doRead(self) -> None:
        """For the reactor."""
        for _ in range(_READS):
            if not self._is_open:
                return
            try:
                datagram = self._socket.recv(65535)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as problem:
                self._refused(f"it cannot be reached: {type(problem).__name__}")
                return
            self._heard(datagram)

    def connectionLost(self, reason: Failure) -> None:
        """For the reactor: an ICMP message came."""
        if self._is_open:
            self._refused("it refuses")

    def close(self) -> None:
        """Forget the reactor at once; the descriptor stays valid until it has finished with this event."""
        if self._is_open:
            self._is_open = False
            self._reactor.removeReader(self)
            self._reactor.callLater(0, self._socket.close)


class _ByReactor(DatagramProtocol):
    """For reactors that take no descriptors."""

    noisy = False

    def __init__(self, reactor: Any, server: Server, port: int, octets: bytes, heard: Heard, refused: Refused) -> None:
        self._server = server
        self._heard = heard
        self._refused = refused
        self._is_open = True
        self._port = reactor.listenUDP(port, self, interface="::" if server.is_ipv6 else "")
        transport: Any = self.transport
        try:
            transport.connect(server.host, server.port)
            transport.write(octets)
        except Exception as problem:
            self.close()
            raise OSError(type(problem).__name__) from problem

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        host = addr[0].partition("%")[0]
        if self._is_open and (host, addr[1]) == (self._server.host.partition("%")[0], self._server.port):
            self._heard(datagram)

    def connectionRefused(self) -> None:
        if self._is_open:
            self._refused("it refuses")

    def stopProtocol(self) -> None:
        self.connectionRefused()

    def close(self) -> None:
        """Nothing is heard any more."""
        if self._is_open:
            self._is_open = False
            self._port.stopListening()
