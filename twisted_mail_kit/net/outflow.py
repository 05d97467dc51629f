"""What a session says: octets gathered for one write, and sent at the pace at which the peer reads."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITransport
from twisted.internet.tcp import Connection
from zope.interface import implementer

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.metrics import limits


@implementer(IPushProducer)
class Outflow:
    """One session's voice.

    `write` gathers; nothing is sent before `flush`, or before 64 KB have come together. After writing much, `await
    drained()`: it returns when the transport can take more, so that a slow reader costs no memory.
    """

    __slots__ = (
        "_alarm",
        "_clock",
        "_ended",
        "_full",
        "_gathered",
        "_gathered_size",
        "_is_socket",
        "_patience",
        "_transport",
        "_waiting",
    )

    GATHER = 64 * 1024

    def __init__(self, transport: ITransport, clock: IReactorTime, patience: float = 300.0) -> None:
        self._transport: Any = transport
        # By its class: a wrapper (TLS, the PROXY protocol) answers to the names of what it wraps.
        self._is_socket = isinstance(transport, Connection)
        self._clock = clock
        self._patience = patience
        self._gathered: list[bytes] | None = None
        self._gathered_size = 0
        self._full = False
        self._ended = False
        self._waiting: Deferred[None] | None = None
        self._alarm: IDelayedCall | None = None
        transport.registerProducer(self, True)  # type: ignore[attr-defined]

    def write(self, octets: bytes) -> None:
        """Say it, in a while."""
        if self._gathered is None:
            self._gathered = [octets]
        else:
            self._gathered.append(octets)
        self._gathered_size += len(octets)
        if self._gathered_size >= self.GATHER:
            self.flush()

    def flush(self) -> None:
        """Say now what was gathered."""
        gathered = self._gathered
        if gathered is None:
            return
        octets = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        self._gathered = None
        self._gathered_size = 0
        if not self._ended:
            if self._is_socket:
                self._write_now(octets)
            else:
                self._transport.write(octets)

    def _write_now(self, octets: bytes) -> None:
        """To the socket itself, where nothing waits before it.

        Hot path. A reply goes out a turn of the reactor earlier, and costs a third: the transport would ask epoll to be
        told that the socket can be written to, be told, write, and ask not to be told any more.
        """
        transport = self._transport
        if (
            transport.TLS  # begun by STARTTLS
            or transport.dataBuffer
            or transport._tempDataBuffer
            or transport._writeDisconnected
            or transport.disconnecting
            or not transport.connected
        ):
            transport.write(octets)
            return
        sent = transport.writeSomeData(octets)
        if not isinstance(sent, int):
            transport.write(octets)  # it is broken: the transport will notice, and say so in its own time
        elif sent < len(octets):
            transport.write(octets[sent:])

    async def drained(self) -> None:
        """Flush, and return when the transport can take more. Raises ConnectionEnded.

        A peer that reads nothing for `patience` seconds is cut off.
        """
        self.flush()
        while self._full and not self._ended:
            limits.OUTPUT_WAITING.value += 1
            waiting: Deferred[None] = Deferred()
            self._waiting = waiting
            self._alarm = self._clock.callLater(self._patience, self._transport.abortConnection)
            try:
                await waiting
            finally:
                if self._alarm.active():
                    self._alarm.cancel()
        if self._ended:
            raise ConnectionEnded("the peer is gone")

    def is_full(self) -> bool:
        """The peer reads slower than we write: time to await `drained`."""
        return self._full

    def suspend(self) -> None:
        """Let go of the transport, for a moment: TLS is about to be put under it."""
        self.flush()
        self._transport.unregisterProducer()

    def resume(self) -> None:
        """Take hold of it again."""
        self._full = False
        self._transport.registerProducer(self, True)

    def close(self) -> None:
        """Flush and hang up; cut the line if the peer has not taken the rest within ten seconds."""
        if self._ended:
            return
        self.flush()
        # A transport waits for a registered producer before it closes, so it is let go first.
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        self._alarm = self._clock.callLater(10.0, self._transport.abortConnection)

    def ended(self) -> None:
        """From connectionLost."""
        self._ended = True
        self._gathered = None
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._answer()

    # --- IPushProducer: the transport tells how full it is -----------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport has enough."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport can take more."""
        self._full = False
        self._answer()

    def stopProducing(self) -> None:
        """The transport will take no more, ever.

        It says so before `connectionLost`: whoever waits in `drained` must not take it for a peer that has read all.
        """
        self._ended = True
        self._gathered = None
        self._answer()

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
