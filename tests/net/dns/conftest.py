"""Name servers for the resolver's tests: on a pretended network in virtual time, and on real sockets."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from twisted_mail_kit.net.dns.settings import ResolverSettings
from twisted_mail_kit.net.resolver import Resolver

SOA = "ns.example.org. admin.example.org. 1 3600 600 86400 300"


class Zone:
    """Answers questions from a table, as a resolving name server does; `change` may spoil the answers."""

    def __init__(self, records: dict[tuple[str, str], list[str]] | None = None) -> None:
        self.records = records or {}
        self.ttl = 60
        self.is_authentic = False
        self.rcode: dns.rcode.Rcode = dns.rcode.NOERROR
        self.follows = True
        self.largest = 4096
        self.negative_soa: str | None = SOA
        self.port_of_asker = 0
        self.asked: list[tuple[str, str, str]] = []
        self.queries: list[dns.message.Message] = []
        self.change: Callable[[dns.message.Message, dns.message.Message, str], Any] = lambda query, made, way: made

    def kinds_asked(self) -> list[tuple[str, str]]:
        return [(name, kind) for _, name, kind in self.asked]

    def answer(self, octets: bytes, way: str) -> list[bytes]:
        query = dns.message.from_wire(octets)
        self.queries.append(query)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((way, question.name.to_text(omit_final_dot=True).lower(), kind))
        made = dns.message.make_response(query, recursion_available=True)
        made.set_rcode(self.rcode)
        if self.is_authentic:
            made.flags |= dns.flags.AD
        if self.rcode == dns.rcode.NOERROR:
            self._fill(made, question.name, kind)
        changed = self.change(query, made, way)
        replies = changed if isinstance(changed, list) else [changed]
        return [self._octets(one, way) for one in replies if one is not None]

    def _fill(self, made: dns.message.Message, name: dns.name.Name, kind: str) -> None:
        for _ in range(20):
            text = name.to_text(omit_final_dot=True).lower()
            found = self.records.get((text, kind))
            if found is not None:
                if found:
                    made.answer.append(dns.rrset.from_text(name, self.ttl, "IN", kind, *found))
                elif self.negative_soa:
                    made.authority.append(dns.rrset.from_text("example.org.", 900, "IN", "SOA", self.negative_soa))
                return
            alias = self.records.get((text, "CNAME"))
            if alias is None:
                break
            made.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "CNAME", alias[0]))
            name = dns.name.from_text(alias[0])
            if not self.follows:
                return
        if not any(text == known for known, _ in self.records):
            made.set_rcode(dns.rcode.NXDOMAIN)
        if self.negative_soa:
            zone = ".".join(name.labels[-2].decode().split(".")) + "." if len(name.labels) < 3 else None
            owner = zone or b".".join(name.labels[-3:-1]).decode() + "."
            made.authority.append(dns.rrset.from_text(owner, 900, "IN", "SOA", self.negative_soa))

    def _octets(self, reply: dns.message.Message | bytes, way: str) -> bytes:
        if isinstance(reply, bytes):
            return reply
        octets = reply.to_wire(max_size=65535)
        if way == "udp" and len(octets) > self.largest:
            short = dns.message.from_wire(octets)
            short.answer.clear()
            short.flags |= dns.flags.TC
            octets = short.to_wire()
        return octets


class Network(Clock):
    """A reactor without sockets: datagrams and streams go to zones by address, in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[tuple[str, int], Zone] = {}
        self.no_tcp: set[str] = set()
        self.refusing: set[str] = set()
        self.sent: list[tuple[float, str, int]] = []
        self.ports_open: set[int] = set()
        self.ports_taken: set[int] = set()
        self.streams_open = 0

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "") -> Any:
        if port in self.ports_taken or port in self.ports_open:
            raise CannotListenError(interface, port, OSError())
        network = self
        self.ports_open.add(port)

        class Port:
            to: tuple[str, int]

            def connect(self, host: str, port: int) -> None:
                self.to = (host, port)

            def write(self, octets: bytes) -> None:
                network.sent.append((network.seconds(), self.to[0], port))
                if self.to[0] in network.refusing:
                    network.callLater(0, protocol.connectionRefused)
                zone = network.zones.get(self.to)
                for one in zone.answer(octets, "udp") if zone else ():
                    network.callLater(0, self.deliver, one, self.to)

            def deliver(self, octets: bytes, sender: tuple[str, int]) -> None:
                if port in network.ports_open:
                    protocol.datagramReceived(octets, sender)

            def stopListening(self) -> None:
                network.ports_open.discard(port)

        made = Port()
        self.last_port = made
        protocol.makeConnection(made)  # type: ignore[arg-type]
        return made

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30) -> Any:
        network = self
        zone = self.zones.get((host, port))

        class Connector:
            def disconnect(self) -> None:
                network.streams_open -= 1

        self.streams_open += 1
        connector = Connector()
        if zone is None or host in self.no_tcp:
            self.callLater(0, factory.clientConnectionFailed, connector, Failure(ConnectionRefusedError()))
            return connector
        protocol, transport = factory.buildProtocol(None), StringTransport()

        def go() -> None:
            protocol.makeConnection(transport)
            for one in zone.answer(transport.value()[2:], "tcp"):
                self.callLater(0, protocol.dataReceived, len(one).to_bytes(2, "big") + one)

        self.callLater(0, go)
        return connector


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest.fixture
def network(zone: Zone) -> Network:
    made = Network()
    made.zones["192.0.2.53", 53] = zone
    return made


@pytest.fixture
def make_zone() -> type[Zone]:
    return Zone


@pytest.fixture
def make_resolver(network: Network) -> Callable[..., Resolver]:
    def make(*servers: str, **settings: Any) -> Resolver:
        settings.setdefault("hosts", None)
        return Resolver(network, servers or ["192.0.2.53"], ResolverSettings(**settings), random.Random(1))

    return make


@pytest.fixture
def ask(network: Network) -> Callable[..., Any]:
    """Look up, and turn the clock until there is a result: an Answer, or the exception."""

    def run(resolver: Resolver, name: str, kind: str, seconds: float = 60) -> Any:
        results: list[Any] = []
        lookup = Deferred.fromCoroutine(resolver.lookup(name, kind))
        lookup.addBoth(lambda result: results.append(result.value if isinstance(result, Failure) else result))
        until = network.seconds() + seconds
        while not results and network.seconds() < until:
            network.advance(0 if any(one.getTime() <= network.seconds() for one in network.getDelayedCalls()) else 0.05)
        assert results, "no result in time"
        return results[0]

    return run


@pytest_twisted.async_yield_fixture
async def real_server(zone: Zone) -> AsyncIterator[str]:
    """The zone on real UDP and TCP sockets; gives 127.0.0.1:port."""

    class Datagrams(DatagramProtocol):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            zone.port_of_asker = addr[1]
            for one in zone.answer(datagram, "udp"):
                self.transport.write(one, addr)

    class Streams(Int16StringReceiver):
        def stringReceived(self, string: bytes) -> None:
            for one in zone.answer(string, "tcp"):
                self.sendString(one)

    stream_port = reactor.listenTCP(0, Factory.forProtocol(Streams), interface="127.0.0.1")
    number = stream_port.getHost().port
    datagram_port = reactor.listenUDP(number, Datagrams(), interface="127.0.0.1")
    yield f"127.0.0.1:{number}"
    await datagram_port.stopListening()
    await stream_port.stopListening()
