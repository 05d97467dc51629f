"""A connection in memory that behaves like one on a socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IConsumer, IProtocol, ISSLTransport, ITransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer


class _AgreedTLS(SSL.Connection):
    """A handshake that is over."""

    def __init__(self) -> None:
        """Nothing is set up."""

    def get_protocol_version_name(self) -> str:
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        return "TLS_AES_256_GCM_SHA384"


def address(host: str, port: int) -> IAddress:
    """The address object that a real transport would give; an empty host is a unix socket."""
    if not host:
        return UNIXAddress(None)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


@implementer(ITransport, IConsumer)
class MemoryTransport:
    """A connection without a socket, which behaves like one: nothing is heard while paused, a producer is paused when
    64 KB lie unread, closing waits for the rest to be read and for the producer to go, and `connectionLost` comes in
    a later turn, once.

    The test speaks with `send`, reads with `take`, hangs up with `drop`, and lets time pass with `turn`.
    `startTLS` is only noted (``ISSLTransport.providedBy(transport)`` is true from then on); octets that were sent
    together with what led to it break the connection, as they would break a handshake.
    """

    BUFFER = 64 * 1024
    disconnecting = False
    TLS = False

    def __init__(self, peer: str = "127.0.0.1", host: str = "127.0.0.1", port: int = 25, tls: bool = False) -> None:
        self.peer = address(peer, 49152)
        self.host = address(host if peer else "", port)
        self.connected = False
        self.tls_started = 0
        """How often startTLS was called."""
        self.protocol: Any = None
        self.is_paused = False
        self._unread: list[bytes] = []
        self._unread_size = 0
        self._coming: deque[bytes] = deque()
        self._delivering = False
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._reason: Exception | None = None
        if tls:
            self._be_tls()

    # --- the test's side -------------------------------------------------------------------------------------------

    def connect(self, protocol: IProtocol) -> None:
        """Give the transport to a protocol: its connectionMade is called."""
        self.protocol = protocol
        self.connected = True
        protocol.makeConnection(self)

    def send(self, octets: bytes, chop: int | None = None) -> None:
        """The client says this; in pieces of `chop` octets where given."""
        started = self.tls_started
        pieces = [octets] if chop is None else [octets[at : at + chop] for at in range(0, len(octets), chop)]
        for piece in pieces:
            if self.tls_started > started:
                self._end(ConnectionLost("the TLS handshake began with octets in clear text"))
                return
            self._coming.append(piece)
            self._deliver()

    def take(self) -> bytes:
        """What the server has written and nobody has read yet; now it is read, and the producer goes on."""
        octets = b"".join(self._unread)
        self._unread.clear()
        self._unread_size = 0
        if self._producer_paused and self._producer is not None:
            self._producer_paused = False
            self._producer.resumeProducing()
        return octets

    def unread(self) -> int:
        """How many octets wait to be read."""
        return self._unread_size

    def drop(self) -> None:
        """The client hangs up: connectionLost is called in the next `turn`."""
        self._end(ConnectionDone())

    def turn(self) -> None:
        """What a reactor would do now: ask a pull producer, deliver, close."""
        if self._producer is not None and not self._streaming and self._unread_size < self.BUFFER:
            self._producer.resumeProducing()
        self._deliver()
        if self.disconnecting and not self._unread_size and self._producer is None:
            self._end(ConnectionDone())
        if self._reason is not None and self.connected:
            self.connected = False
            producer, self._producer = self._producer, None
            if producer is not None:
                producer.stopProducing()
            self.protocol.connectionLost(Failure(self._reason))

    def is_closed(self) -> bool:
        """The connection has ended, for both sides."""
        return not self.connected

    # --- the protocol's side ---------------------------------------------------------------------------------------

    def write(self, octets: bytes) -> None:
        """Octets only, and nothing more after the end."""
        if not isinstance(octets, bytes):
            raise TypeError(f"a transport writes bytes, not {type(octets).__name__}")
        if self._reason is not None or not self.connected or not octets:
            return
        if self.disconnecting and self._producer is None:
            return
        self._unread.append(octets)
        self._unread_size += len(octets)
        is_full = self._unread_size > self.BUFFER
        if is_full and self._producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """All of them."""
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """Close when the rest is read and no producer is registered; nothing more is heard."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close at once; what was not read is lost."""
        self._unread.clear()
        self._unread_size = 0
        self._end(ConnectionAborted())

    def loseWriteConnection(self) -> None:
        """Half-close; as good as closing here."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """One at a time."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False

    def unregisterProducer(self) -> None:
        """Let the producer go."""
        self._producer, self._producer_paused = None, False

    def pauseProducing(self) -> None:
        """Nothing is heard until resumeProducing."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self.is_paused = False
        self._deliver()

    def stopProducing(self) -> None:
        """As loseConnection."""
        self.loseConnection()

    def getPeer(self) -> IAddress:
        """The client."""
        return self.peer

    def getHost(self) -> IAddress:
        """The server."""
        return self.host

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """Note it; there is no handshake."""
        if contextFactory is None:
            raise TypeError("startTLS needs a context factory")
        self.tls_started += 1
        self._coming.clear()
        self._be_tls()

    def getHandle(self) -> object:
        """What TLS agreed on, once there is TLS; there is no socket."""
        return _AgreedTLS() if self.TLS else None

    def getTcpNoDelay(self) -> bool:
        """Always so."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to do."""

    def getTcpKeepAlive(self) -> bool:
        """Never."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing to do."""

    # --- inside ----------------------------------------------------------------------------------------------------

    def _be_tls(self) -> None:
        self.TLS = True
        alsoProvides(self, ISSLTransport)

    def getPeerCertificate(self) -> None:
        """The client showed none."""

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._coming and self.connected and not self.is_paused:
                if self.disconnecting or self._reason is not None:
                    self._coming.clear()
                    break
                self.protocol.dataReceived(self._coming.popleft())
        finally:
            self._delivering = False

    def _end(self, reason: Exception) -> None:
        if self._reason is None:
            self._reason = reason
