"""One connection, one story: a Twisted protocol whose life is one coroutine."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.metrics.catalogue import TLS_SESSIONS
from twisted_mail_kit.net.inbox import Inbox, Wire
from twisted_mail_kit.net.outflow import Outflow
from twisted_mail_kit.net.story import Story
from twisted_mail_kit.net.tls import describe_tls


class Session(Protocol):
    """Subclasses give `make_wire` and `run`; they listen with `self.inbox` and speak with `self.outflow`.

    `run` is a coroutine that may return, or let ConnectionEnded pass, at any time: the connection is closed then. An
    exception that nobody expected is logged once, with a reference id, and the connection is closed after `failed`.
    """

    log = Logger()
    inbox: Inbox[Any]
    outflow: Outflow
    peer: Peer

    def __init__(self, clock: IReactorTime, service: str) -> None:
        self.clock = clock
        self.service = service
        self.source = ""
        """What the factory counts this connection under; see `net.factory.source_of`."""
        self.is_one_too_many = False
        """The factory has too many connections from there: say so, and end."""
        self._began_tls = False
        self._story: Story | None = None
        self._over: list[Deferred[None]] | None = None

    # --- for subclasses --------------------------------------------------------------------------------------------

    def make_wire(self) -> Wire[Any]:
        """The wire of a new connection."""
        raise NotImplementedError

    async def run(self) -> None:
        """The session, from greeting to goodbye."""
        raise NotImplementedError

    async def turn_away(self) -> None:
        """Say in the protocol's words that there are too many connections from this address."""

    def failed(self, reference: str) -> None:
        """Say in the protocol's words that something broke here; the log knows more under `reference`."""

    def reference(self, failure: Failure, what: str) -> str:
        """Log an unexpected failure once, and give the reference id under which it can be found there."""
        reference = new_trace_id(self.clock.seconds())
        self.log.failure(
            "{what} failed for {peer} ({service}), reference {reference}",
            failure=failure,
            what=what,
            peer=self.peer.host or "unix",
            service=self.service,
            reference=reference,
        )
        return reference

    def start_tls(self, context_factory: Any) -> None:
        """Put TLS under the session: forget what was heard before, start with a new wire and a new peer.

        Say (and flush) the go-ahead first. RFC 3207 4.2, RFC 3501 6.2.1, RFC 2595 4.
        """
        self.outflow.suspend()
        self.inbox.forget()
        self.inbox.wire = self.make_wire()
        self.transport.startTLS(context_factory)  # type: ignore[union-attr]
        self.outflow.resume()
        self._began_tls = True  # a wrapper between the transport and us still provides what it did before
        self.peer = self._meet()

    def is_tls(self) -> bool:
        """TLS protects this connection (its handshake may still be going on)."""
        return self._began_tls or ISSLTransport.providedBy(self.transport)

    def know_tls(self) -> None:
        """Write protocol and cipher into `self.peer`, once the handshake is over (something was heard through it)."""
        if not self.peer.tls and self.is_tls():
            self.peer = replace(self.peer, tls=describe_tls(self.transport))
            if self.peer.tls:
                TLS_SESSIONS[self.service, self.peer.tls.partition(" ")[0]].value += 1

    def know(self, **facts: Any) -> None:
        """Something more is known of the peer: ``self.know(name="mx.example.org", esmtp=True)``."""
        self.peer = replace(self.peer, **facts)

    # --- for the factory -------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """End at the next safe point."""
        self.inbox.drain()

    def abort(self) -> None:
        """End now."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def when_over(self) -> Deferred[None]:
        """Fires when the coroutine has returned."""
        over: Deferred[None] = Deferred()
        if self._story is None:
            over.callback(None)
        elif self._over is None:
            self._over = [over]
        else:
            self._over.append(over)
        return over

    # --- what Twisted calls ----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin the story."""
        assert self.transport is not None
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)  # without it a pipelining peer waits 40 ms for its own acknowledgement
        self.peer = self._meet()
        self.outflow = Outflow(self.transport, self.clock)
        alarms = getattr(self.factory, "alarms", None)
        self.inbox = Inbox(self.make_wire(), self.transport, self.clock, self.outflow, alarms)
        self._story = Story(self.turn_away() if self.is_one_too_many else self.run(), self._told)
        self._story.begin()

    def dataReceived(self, data: bytes) -> None:
        """Something was said."""
        self.inbox.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The peer is gone."""
        self.inbox.ended()
        self.outflow.ended()
        factory = self.factory
        if factory is not None and hasattr(factory, "left"):
            factory.left(self)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _told(self, failure: Failure | None) -> None:
        self._story = None
        if failure is not None and not failure.check(ConnectionEnded):
            self.failed(self.reference(failure, "session"))
        self.outflow.close()
        over, self._over = self._over, None
        for waiting in over or ():
            waiting.callback(None)

    def _meet(self) -> Peer:
        assert self.transport is not None
        there, here = self.transport.getPeer(), self.transport.getHost()
        host = getattr(there, "host", "").partition("%")[0]
        return Peer(
            host=host,
            port=getattr(there, "port", 0),
            # A listener has few of them, and many sessions.
            local_host=sys.intern(getattr(here, "host", "").partition("%")[0]),
            local_port=getattr(here, "port", 0),
            service=self.service,
            is_local=is_loopback(host),
        )


def is_loopback(host: str) -> bool:
    """A loopback address, or no address at all: a unix socket."""
    if not host:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
