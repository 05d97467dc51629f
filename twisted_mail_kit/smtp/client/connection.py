"""One connection to another server: its ears and its voice, and what is known of the other side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime, ISSLTransport
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.metrics.catalogue import RELAY_CONNECTIONS
from twisted_mail_kit.net.inbox import NEED_DATA, Inbox, Signal, TimedOut
from twisted_mail_kit.net.outflow import Outflow
from twisted_mail_kit.net.tls import describe_tls
from twisted_mail_kit.smtp.client.outcomes import HostFailed, host_failed
from twisted_mail_kit.smtp.client.settings import ClientTimes
from twisted_mail_kit.smtp.wire import client as wire
from twisted_mail_kit.smtp.wire.client import Offers
from twisted_mail_kit.smtp.wire.replies import Reply
from twisted_mail_kit.smtp.wire.replyparser import BadReply, ReplyWire


class ClientConnection(Protocol):
    """Only one coroutine talks over it at a time. All trouble with the connection is raised as HostFailed."""

    log = Logger()
    inbox: Inbox[Reply | BadReply]
    outflow: Outflow

    def __init__(self, clock: IReactorTime, hostname: str, remote: str, times: ClientTimes, is_lmtp: bool) -> None:
        self.clock = clock
        self.hostname = hostname
        self.remote = remote
        """What statuses call the other side: ``mx.example.org [192.0.2.1]``."""
        self.times = times
        self.is_lmtp = is_lmtp
        self.offers = Offers()
        self.esmtp = False
        """It has answered EHLO (or LHLO), not only HELO."""
        self.login = ""
        """The user that AUTH has let in."""
        self.messages = 0
        """How many it has taken from us."""
        self.needs_reset = False
        """A transaction was left open: RSET comes before the next one."""
        self.is_lost = False
        self.on_lost: Callable[[], None] | None = None
        """Called once when the connection ends."""
        self._tls_unproven = False
        """STARTTLS was agreed on, and nothing was heard through it yet."""
        self._reason = ""

    # --- hearing and saying ----------------------------------------------------------------------------------------

    def say(self, octets: bytes) -> None:
        """Say it, with the next `hear` at the latest."""
        self.outflow.write(octets)

    async def hear(self, seconds: float, what: str) -> Reply:
        """The next reply; `what` is that to which it is the answer. Raises HostFailed: nothing, nonsense, or 421."""
        # Hot path: of a pipelined group, all replies but the first are here already.
        self.outflow.flush()
        answer = self.inbox.poll()
        if type(answer) is not Reply:
            answer = await self._wait_for(answer, seconds, what)
        if answer.code == 421:
            # RFC 5321 3.8: whatever was asked, it is about the connection.
            raise host_failed(answer, self.remote)
        return answer

    async def hear_any(self, seconds: float, what: str) -> Reply:
        """As `hear`, but 421 is a reply like others."""
        self.outflow.flush()
        return await self._wait_for(self.inbox.poll(), seconds, what)

    async def _wait_for(self, event: Reply | BadReply | Signal, seconds: float, what: str) -> Reply:
        """That event, or the next one where it is none. Raises HostFailed: it is no reply, or none came."""
        try:
            if event is NEED_DATA:
                event = await self.inbox.next(seconds)
        except TimedOut:
            raise self.trouble(f"no answer to {what} within {seconds:g} seconds") from None
        except ConnectionEnded:
            raise self.trouble(f"the connection was lost before {what} was answered") from None
        if not isinstance(event, Reply):
            why = event.why if isinstance(event, BadReply) else "nothing"
            raise HostFailed(Status("4.5.0", f"{what} was answered with {why}", 0, self.remote))
        self._tls_unproven = False
        return event

    def hear_now(self) -> Reply | None:
        """A reply that is here already though nothing was asked."""
        event = self.inbox.poll()
        if event is NEED_DATA:
            return None
        if not isinstance(event, Reply):
            raise HostFailed(Status("4.5.0", "the server says what is no reply", 0, self.remote))
        return event

    def trouble(self, text: str) -> HostFailed:
        """What became of the connection, as something to raise."""
        if self._tls_unproven:
            reason = f": {self._reason}" if self._reason else ""
            return HostFailed(Status("4.7.5", f"the TLS handshake failed{reason}", 0, self.remote), is_tls=True)
        return HostFailed(Status("4.4.2", text, 0, self.remote))

    # --- TLS -------------------------------------------------------------------------------------------------------

    def start_tls(self, context: Any) -> None:
        """Put TLS under the connection. What came in clear text behind the go-ahead is thrown away, and what was
        offered is forgotten (RFC 3207 4.2)."""
        self.outflow.suspend()
        self.inbox.forget()
        self.inbox.wire = ReplyWire()
        self._tls_unproven = True
        self.transport.startTLS(context)  # type: ignore[union-attr]
        self.outflow.resume()
        self.offers = Offers()

    @property
    def is_tls(self) -> bool:
        """TLS protects it."""
        return ISSLTransport.providedBy(self.transport)

    @property
    def tls(self) -> str:
        """Protocol and cipher; empty in clear text."""
        return describe_tls(self.transport) if self.is_tls else ""

    # --- the end ---------------------------------------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Another message may go over it, as far as anybody knows."""
        if self.is_lost:
            return False
        # A server that says something while it was asked nothing says goodbye: 421.
        return not self.inbox.has_more() and self.inbox.poll() is NEED_DATA

    async def quit(self) -> None:
        """QUIT, wait a little for the answer, and hang up. Never raises."""
        if not self.is_lost:
            try:
                self.say(wire.QUIT)
                await self.hear_any(self.times.quit, "QUIT")
            except HostFailed:
                pass
        self.hang_up()

    def hang_up(self) -> None:
        """End it, without a word."""
        if not self.is_lost:
            self.outflow.close()

    def abort(self) -> None:
        """End it at once: the other side must not take what it has for a whole message."""
        if not self.is_lost:
            self.transport.abortConnection()  # type: ignore[union-attr]

    # --- what Twisted calls ----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Listen."""
        assert self.transport is not None
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        self.inbox = Inbox(ReplyWire(), self.transport, self.clock)
        self.outflow = Outflow(self.transport, self.clock, self.times.block)
        RELAY_CONNECTIONS.value += 1
        if isinstance(self.factory, Dialling):
            self.factory.connected.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Something was said."""
        self.inbox.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other side is gone."""
        self.is_lost = True
        RELAY_CONNECTIONS.value -= 1
        self._reason = _in_words(reason)
        self.inbox.ended()
        self.outflow.ended()
        heard, self.on_lost = self.on_lost, None
        if heard is not None:
            heard()


class Dialling(ClientFactory):
    """One attempt to connect; `connected` fires when it has succeeded, or failed."""

    noisy = False

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.connected: Deferred[None] = Deferred()

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        """The one connection."""
        self.connection.factory = self
        return self.connection

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody is there."""
        self.connected.errback(reason)


async def dial(
    reactor: Any, connection: ClientConnection, address: str, port: int, source: str | None = None
) -> ClientConnection:
    """Connect to an IP address. Raises HostFailed."""
    dialling = Dialling(connection)
    reactor.connectTCP(
        address, port, dialling, timeout=connection.times.connect, bindAddress=(source, 0) if source else None
    )
    try:
        await dialling.connected
    except Exception as problem:
        text = f"cannot connect: {_in_words(Failure(problem))}"
        raise HostFailed(Status("4.4.1", text, 0, connection.remote)) from None
    return connection


def _in_words(reason: Failure) -> str:
    """A reason for a lost or failed connection in one printable line; OpenSSL's are lists of tuples."""
    problem = reason.value
    if problem is not None and problem.args and isinstance(problem.args[0], list):
        text = "; ".join(str(one[-1]) for one in problem.args[0] if isinstance(one, tuple) and one)
    else:
        text = reason.getErrorMessage()
    return "".join(one if one.isprintable() else " " for one in text).strip().rstrip(".")[:200]
