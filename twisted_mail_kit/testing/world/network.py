"""Who can be reached where: addresses, ports, and how a connection comes about."""

from __future__ import annotations

import ipaddress
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from twisted.internet import error
from twisted.internet.interfaces import IAddress, IConnector, IListeningPort
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mail_kit.testing.transport import address
from twisted_mail_kit.testing.world.line import End
from twisted_mail_kit.testing.world.timeline import Timeline

if TYPE_CHECKING:
    from twisted_mail_kit.testing.world.node import Node, NodeReactor

Admission = Literal["accept", "refused", "unreachable"]


class Network:
    """All nodes by address."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.timeline = timeline
        self.random = random
        self.nodes: dict[str, Node] = {}
        self.connections = 0
        """How many have been made."""

    def join(self, node: Node) -> None:
        """Its addresses lead to it."""
        for one in node.addresses:
            if one in self.nodes:
                raise ValueError(f"{one} is {self.nodes[one].name}'s already")
            self.nodes[one] = node

    def find(self, host: str, port: int) -> tuple[Node | None, Port | None]:
        """The machine of that address, and what listens there."""
        node = self.nodes.get(host)
        if node is None or node.is_off:
            return None, None
        listening = node.reactor.listening
        wildcard = "::" if ":" in host else ""
        return node, listening.get((host, port)) or listening.get((wildcard, port))


def is_address(host: str) -> bool:
    """An IP address as text."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@implementer(IListeningPort)
class Port:
    """A listening port. While paused, connections come about and wait for their protocol."""

    def __init__(self, reactor: NodeReactor, interface: str, port: int, factory: Any) -> None:
        self.reactor = reactor
        self.interface = "" if interface == "0.0.0.0" else interface
        self.port = port
        self.factory = factory
        self._paused = False
        self._waiting: list[End] = []
        self.startListening()

    def startListening(self) -> None:
        """Raises CannotListenError."""
        listening = self.reactor.listening
        if (self.interface, self.port) in listening:
            raise error.CannotListenError(self.interface, self.port, OSError(98, "Address already in use"))
        listening[self.interface, self.port] = self
        self.factory.doStart()

    def stopListening(self) -> None:
        """Connections that there are stay."""
        if self.reactor.listening.pop((self.interface, self.port), None) is not None:
            self.factory.doStop()

    def loseConnection(self) -> None:
        """As stopListening."""
        self.stopListening()

    def pauseProducing(self) -> None:
        """Accept nobody for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for end in waiting:
            if not end.is_over:
                self.accept(end)

    def getHost(self) -> IAddress:
        """Where it listens."""
        return address(self.interface or "0.0.0.0", self.port)

    def accept(self, end: End) -> None:
        """A connection has come."""
        if self._paused:
            self._waiting.append(end)
            return
        protocol = self.factory.buildProtocol(end.there)
        if protocol is None:
            end.connected = True
            end.die(quietly=False)
            return
        self.reactor.node.greet(end)
        end.connect(protocol)


@implementer(IConnector)
class Connector:
    """One attempt to connect, and what comes of it."""

    def __init__(
        self, reactor: NodeReactor, host: str, port: int, factory: Any, timeout: float, bind: tuple[str, int] | None
    ) -> None:
        self.reactor = reactor
        self.host = host
        self.port = port
        self.factory = factory
        self.timeout = timeout
        self.bind = bind
        self.state = "disconnected"
        self.transport: End | None = None
        self._alarm: Any = None
        self._attempt = 0

    # --- IConnector ------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Try (again)."""
        if self.state != "disconnected":
            raise RuntimeError("the connector is in use")
        self.state = "connecting"
        self._attempt += 1
        self.factory.doStart()
        self.factory.startedConnecting(self)
        reactor, timeline = self.reactor, self.reactor.timeline
        if self.state != "connecting" or not reactor.is_alive:
            return
        if not is_address(self.host):
            timeline.soon(self._fail, error.DNSLookupError(f"{self.host} is no address"), self._attempt)
            return
        source = self.bind[0] if self.bind and self.bind[0] else reactor.node.address_for(self.host)
        if not source or (":" in source) != (":" in self.host):
            timeline.soon(self._fail, error.NoRouteError(101, "Network is unreachable"), self._attempt)
            return
        if source not in reactor.node.addresses:
            timeline.soon(self._fail, error.ConnectBindError(99, "Cannot assign requested address"), self._attempt)
            return
        if self.timeout is not None:
            self._alarm = reactor.callLater(self.timeout, self._fail, error.TimeoutError(), self._attempt)
        node, _ = reactor.network.find(self.host, self.port)
        latency = reactor.node.latency_to(node)
        timeline.at(timeline.rightNow + latency, self._knock, source, latency, self._attempt)

    def disconnect(self) -> None:
        """Close the connection, or give up the attempt."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self.transport is not None:
            self.transport.loseConnection()

    def stopConnecting(self) -> None:
        """Give up."""
        if self.state != "connecting":
            raise error.NotConnectingError("not connecting")
        self._fail(error.UserError(), self._attempt)

    def getDestination(self) -> IAddress:
        """Where to."""
        return address(self.host, self.port)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _is_stale(self, attempt: int) -> bool:
        return self.state != "connecting" or attempt != self._attempt or not self.reactor.is_alive

    def _knock(self, source: str, latency: float, attempt: int) -> None:
        """At the other side."""
        if self._is_stale(attempt):
            return
        reactor = self.reactor
        timeline = reactor.timeline
        node, port = reactor.network.find(self.host, self.port)
        if node is None:
            return  # nobody answers
        admission = node.admit(source) if port is not None else "refused"
        if admission == "refused":
            refused = error.ConnectionRefusedError(111, "Connection refused")
            timeline.at(timeline.rightNow + latency, self._fail, refused, attempt)
        elif admission == "accept" and port is not None:
            here = address(source, self.bind[1] if self.bind and self.bind[1] else next(reactor.node.ephemeral))
            there = address(self.host, self.port)
            bandwidth = min(filter(None, (reactor.node.bandwidth, node.bandwidth)), default=None)
            mine = End(timeline, here, there, latency, bandwidth, calls=True)
            theirs = End(timeline, there, here, latency, bandwidth, calls=False)
            mine.join(theirs)
            reactor.network.connections += 1
            # Before what the other side says: it arrives at the same time, and was sent later.
            timeline.at(timeline.rightNow + latency, self._connected, mine, attempt)
            port.reactor.keep(theirs)
            port.accept(theirs)

    def _connected(self, end: End, attempt: int) -> None:
        if self._is_stale(attempt):
            if self.reactor.is_alive:
                end.die(quietly=False)
            return
        self._stop_alarm()
        self.state = "connected"
        protocol = self.factory.buildProtocol(end.there)
        if protocol is None:
            end.die(quietly=False)
            self.state = "disconnected"
            self.factory.doStop()
            return
        self.transport = end
        end.on_lost = self._lost
        self.reactor.keep(end)
        end.connect(protocol)

    def _fail(self, reason: Exception, attempt: int) -> None:
        if self._is_stale(attempt):
            return
        self._stop_alarm()
        self.state = "disconnected"
        self.factory.clientConnectionFailed(self, Failure(reason))
        if self.state == "disconnected":
            self.factory.doStop()

    def _lost(self, reason: Failure) -> None:
        self.state = "disconnected"
        self.transport = None
        self.factory.clientConnectionLost(self, reason)
        if self.state == "disconnected":
            self.factory.doStop()

    def _stop_alarm(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()


__all__ = ["Admission", "Connector", "Network", "Port", "is_address"]
