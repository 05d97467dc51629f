"""A connection between two processes of the world: two transports, with a way between them that takes time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IHandshakeListener,
    ISSLTransport,
    ITLSTransport,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from twisted_mail_kit.testing.world.timeline import Timeline
from twisted_mail_kit.testing.world.way import DATA, FIN, HELLO, HELLO_BACK, RST, Handle, Segment, Way


@implementer(ITransport, IConsumer, ITLSTransport)
class End:
    """One process' transport.

    What is written arrives after `latency` seconds, and not faster than `bandwidth` octets a second. At most `WINDOW`
    octets are under way or unheard; what is written beyond waits here, and above `BUFFER` the producer is paused.
    Closing waits for the rest to go out and for the producer to leave. `connectionLost` comes in a later turn, once.
    Who writes to an end that is closed loses the connection. TLS is a sign, without a handshake's octets: both have
    to call startTLS, octets of the wrong kind break the connection, and the handshake takes a round trip.
    """

    WINDOW = 64 * 1024
    BUFFER = 64 * 1024
    TLS = False
    disconnecting = False
    log = Logger()
    other: End

    def __init__(
        self, timeline: Timeline, here: IAddress, there: IAddress, latency: float, bandwidth: float | None, calls: bool
    ) -> None:
        self.timeline = timeline
        self.here, self.there = here, there
        self.way = Way(timeline, latency, bandwidth)
        """To the other side."""
        self.is_caller = calls
        self.connected = False
        self.protocol: Any = None
        self.certificates: Sequence[Any] = ()
        """What TLS shows the other side: `OpenSSL.crypto.X509` objects, the leaf first."""
        self.tls_breaks = False
        """The handshake fails, whoever tries."""
        self.on_write: Callable[[bytes], bytes] | None = None
        """May look at what is written, and change it."""
        self.on_lost: Callable[[Failure], object] | None = None
        self.cut_after: int | None = None
        """So many more octets are heard, then the connection is cut: a fault."""
        self._is_dark = False
        self._ending = False
        self._write_closed = self._read_closed = False
        self._fin_wanted = False
        self._unsent: deque[tuple[bytes, bool]] = deque()
        self._unsent_size = 0
        self._in_flight = 0
        self._incoming: deque[Segment] = deque()
        self._is_paused = self._is_delivering = self._is_shaking_hands = False
        self._producer: Any = None
        self._streaming = self._producer_paused = self._will_refill = False

    def join(self, other: End) -> None:
        """The two ends of one line."""
        self.other, other.other = other, self
        self.way.arrive, other.way.arrive = other._arrive, self._arrive

    # --- the world's side ------------------------------------------------------------------------------------------

    def connect(self, protocol: Any) -> None:
        """Give it to a protocol."""
        self.protocol = protocol
        self.connected = True
        try:
            protocol.makeConnection(self)
        except Exception:
            self._broke("makeConnection")
        if self._incoming:  # it came while nobody was accepted
            self.timeline.soon(self._deliver)

    def tag(self, heard: Callable[[], None]) -> None:
        """Call `heard` when the other side has heard what is written next."""
        self.way.tags.append(heard)

    def go_dark(self) -> None:
        """The way is broken: nothing arrives any more, at either side, and nobody is told."""
        self._is_dark = self.other._is_dark = True

    def die(self, quietly: bool) -> None:
        """The process is gone. Its system closes the connection, unless it is gone too (`quietly`)."""
        self.connected, self._ending = False, True
        self._incoming.clear()
        if quietly:
            self.go_dark()
        elif not self._write_closed:
            self.way.send(FIN)

    @property
    def is_over(self) -> bool:
        """Both `connectionLost` and the world are done with it."""
        return self._ending and not self.connected

    # --- the protocol's side: writing ------------------------------------------------------------------------------

    def write(self, octets: bytes) -> None:
        """Octets only, and nothing more after the end."""
        if not isinstance(octets, bytes):
            raise TypeError(f"a transport writes bytes, not {type(octets).__name__}")
        if self._ending or not self.connected or self._fin_wanted or not octets:
            return
        if self.disconnecting and self._producer is None:
            return
        if self.on_write is not None:
            octets = self.on_write(octets)
        self._unsent.append((octets, self.TLS))
        self._unsent_size += len(octets)
        self._pump()
        if self._unsent_size > self.BUFFER and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            if self._streaming:
                self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """All of them."""
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """One at a time."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            self._refill_soon()

    def unregisterProducer(self) -> None:
        """Let the producer go."""
        self._producer, self._producer_paused = None, False
        self._close_when_sent()

    def loseConnection(self, connDone: Any = None) -> None:
        """Close when all is sent and no producer is registered; nothing more is heard."""
        if self.connected and not self.disconnecting and not self._ending:
            self.disconnecting = True
            self._deliver()
            self._close_when_sent()

    def loseWriteConnection(self) -> None:
        """Say no more; go on listening."""
        if self.connected and not self._ending:
            self._fin_wanted = True
            self._close_when_sent()

    def abortConnection(self) -> None:
        """Close at once; what was not sent is lost."""
        if self.connected and not self._ending:
            self.way.send(RST)
            self._end(ConnectionAborted())

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """From here on it is TLS, once the other side has called it too."""
        if contextFactory is None:
            raise TypeError("startTLS needs a context factory")
        self.TLS = True
        alsoProvides(self, ISSLTransport)
        self._is_shaking_hands = True
        if self.is_caller:
            self.way.send(HELLO)

    # --- the protocol's side: the rest -----------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Nothing is heard until resumeProducing."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on, in a later turn."""
        self._is_paused = False
        if self._incoming:
            self.timeline.soon(self._deliver)

    def stopProducing(self) -> None:
        """As loseConnection."""
        self.loseConnection()

    def getPeer(self) -> Any:
        """The other side."""
        return self.there

    def getHost(self) -> Any:
        """This side."""
        return self.here

    def getHandle(self) -> object:
        """What TLS agreed on, once there is TLS; there is no socket."""
        return Handle(self.other.certificates) if self.TLS else None

    def getPeerCertificate(self) -> Any:
        """The first of the other side's `certificates`."""
        return self.other.certificates[0] if self.other.certificates else None

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

    # --- inside: out -----------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        while self._unsent and not self._ending:
            room = self.WINDOW - self._in_flight
            octets, is_tls = self._unsent[0]
            if room <= 0 or (is_tls and self._is_shaking_hands):
                break
            room = min(room, self.way.most)
            if len(octets) > room:
                self._unsent[0] = octets[room:], is_tls
                octets = octets[:room]
            else:
                self._unsent.popleft()
            self._unsent_size -= len(octets)
            self._in_flight += len(octets)
            self.way.send(DATA, octets, is_tls)
        if not self._unsent:
            if self._producer is not None and (self._producer_paused or not self._streaming):
                self._refill_soon()
            self._close_when_sent()

    def _refill_soon(self) -> None:
        if not self._will_refill:
            self._will_refill = True
            self.timeline.soon(self._refill)

    def _refill(self) -> None:
        self._will_refill = False
        if self._producer is not None and self.connected and not self._ending and not self._unsent:
            self._producer_paused = False
            self._producer.resumeProducing()

    def _close_when_sent(self) -> None:
        if self._unsent or self._producer is not None or self._ending or not self.connected:
            return
        if self.disconnecting:
            self._end(ConnectionDone())
        elif self._fin_wanted and not self._write_closed:
            self._close_writing()
            half = IHalfCloseableProtocol(self.protocol, None)
            if half is not None:
                self.timeline.soon(half.writeConnectionLost)
            if self._read_closed:
                self._end(ConnectionDone())

    def _close_writing(self) -> None:
        if not self._write_closed:
            self._write_closed = True
            self.way.send(FIN)

    # --- inside: in ------------------------------------------------------------------------------------------------

    def _arrive(self, segment: Segment) -> None:
        segment.has_arrived = True
        if self._is_dark:
            return
        if self._ending:
            if segment.kind == DATA:
                self.way.send(RST)
            return
        if segment.kind == RST:
            self._incoming.clear()
            self._end(ConnectionLost())
            return
        self._incoming.append(segment)
        self._deliver()

    def _deliver(self) -> None:
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._incoming and self._may_hear():
                self._take(self._incoming.popleft())
        finally:
            self._is_delivering = False

    def _may_hear(self) -> bool:
        return self.connected and not self._ending and (self.disconnecting or not self._is_paused)

    def _take(self, segment: Segment) -> None:
        if segment.kind == DATA:
            self._hear(segment)
        elif segment.kind == FIN:
            self._read_closed = True
            half = IHalfCloseableProtocol(self.protocol, None)
            if half is None or self._write_closed:
                self._end(ConnectionDone())
            if half is not None:
                half.readConnectionLost()
        elif self.tls_breaks or self.other.tls_breaks:
            self._break_tls()
        elif not self.TLS:
            # What a TLS hello looks like to whoever has not been told.
            self._say(b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03")
        else:
            if segment.kind == HELLO:
                self.way.send(HELLO_BACK)
            self._is_shaking_hands = False
            listener = IHandshakeListener(self.protocol, None)
            if listener is not None:
                listener.handshakeCompleted()
            self._pump()

    def _hear(self, segment: Segment) -> None:
        octets = segment.octets
        other = self.other
        other._in_flight -= len(octets)
        if other._unsent or other._producer_paused:
            self.timeline.soon(other._pump)
        if self.disconnecting:
            return
        if segment.is_tls != self.TLS:
            self._break_tls()
            return
        if self.cut_after is not None and len(octets) >= self.cut_after:
            self._say(octets[: self.cut_after])
            self.abortConnection()
            return
        if self.cut_after is not None:
            self.cut_after -= len(octets)
        self._say(octets)
        for heard in segment.heard:
            heard()

    def _say(self, octets: bytes) -> None:
        try:
            self.protocol.dataReceived(octets)
        except Exception:
            self._broke("dataReceived")

    def _broke(self, where: str) -> None:
        # As a reactor does: whoever raises loses the connection.
        failure = Failure()
        self.timeline.failures.append(failure)
        self.log.failure("{where} of {protocol} failed", failure=failure, where=where, protocol=self.protocol)
        if self.connected and not self._ending:
            self.way.send(RST)
            self._end(failure.value)

    def _break_tls(self) -> None:
        self.way.send(RST)
        self._end(SSL.Error([("SSL routines", "", "the handshake failed")]))

    def _end(self, reason: Any) -> None:
        if not self._ending:
            self._ending = True
            self._incoming.clear()
            self._unsent.clear()
            if isinstance(reason, ConnectionDone):
                self._close_writing()
            self.timeline.soon(self._lost, Failure(reason))

    def _lost(self, reason: Failure) -> None:
        if not self.connected:
            return  # its process died meanwhile
        self.connected = False
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        try:
            self.protocol.connectionLost(reason)
        finally:
            if self.on_lost is not None:
                self.on_lost(reason)
