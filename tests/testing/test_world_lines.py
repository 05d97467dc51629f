"""Connections of the world behave as those on sockets do."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, NoRouteError, UserError
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from zope.interface import implementer

from twisted_mail_kit.testing.world import World

THERE = "192.0.2.1"


class Ear(Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.octets = b""
        self.pieces: list[tuple[float, int]] = []
        self.lost: list[object] = []
        self.world: World | None = None

    def dataReceived(self, data: bytes) -> None:
        self.octets += data
        if self.world is not None:
            self.pieces.append((self.world.now, len(data)))

    def connectionLost(self, reason=None) -> None:
        self.lost.append(reason.value)


class Caller(ClientFactory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self.protocol_object = protocol
        self.events: list[object] = []

    def buildProtocol(self, addr):
        self.addr = addr
        return self.protocol_object

    def clientConnectionFailed(self, connector, reason) -> None:
        self.events.append(reason.value)

    def clientConnectionLost(self, connector, reason) -> None:
        self.events.append(reason.value)


def connect(world: World | None = None, here: Protocol | None = None, there: Protocol | None = None):
    """Two protocols with a line between them: ours and theirs."""
    world = world or World()
    node = world.network.nodes.get(THERE) or world.add_node("there.example", [THERE], latency=0.1)
    here, there = here or Ear(), there or Ear()
    listening = Factory()
    listening.noisy = False
    listening.buildProtocol = lambda addr: there
    node.reactor.listenTCP(4000 + world.network.connections, listening)
    factory = Caller(here)
    here.world = there.world = world
    here.connector = world.reactor.connectTCP(THERE, 4000 + world.network.connections, factory)
    here.factory = factory
    world.run(1)
    assert here.connected and there.connected
    return world, here, there


class Source:
    """A streaming producer that writes 10,000 octets a turn as long as it may."""

    def __init__(self, protocol: Protocol, total: int) -> None:
        self.transport = protocol.transport
        self.left = total
        self.may = True
        self.pauses = 0
        self.stopped = False
        self.transport.registerProducer(self, True)
        self.go_on()

    def go_on(self) -> None:
        while self.may and self.left:
            self.left -= 10_000
            self.transport.write(b"x" * 10_000)
        if not self.left:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.may = False
        self.pauses += 1

    def resumeProducing(self) -> None:
        self.may = True
        self.go_on()

    def stopProducing(self) -> None:
        self.stopped = True


def test_octets_arrive_after_the_latency_in_order() -> None:
    world, here, there = connect()
    began = world.now
    for piece in (b"a", b"b", b"c"):
        here.transport.write(piece)
    world.run(0.05)
    assert there.octets == b""
    world.run(0.2)
    assert there.octets == b"abc" and 0.05 < there.pieces[0][0] - began < 0.2
    there.transport.writeSequence([b"1", b"2"])
    world.run(1)
    assert here.octets == b"12"
    assert here.transport.getPeer() == there.transport.getHost()
    assert there.transport.getPeer() == here.transport.getHost()


def test_bandwidth_is_kept() -> None:
    world = World()
    world.add_node("there.example", [THERE]).bandwidth = 1000.0
    world, here, there = connect(world)
    here.transport.write(b"x" * 10_000)
    world.run(5)
    assert 3000 < len(there.octets) < 6000
    world.run(6)
    assert len(there.octets) == 10_000


def test_a_producer_is_paused_while_the_reader_is() -> None:
    world, here, there = connect()
    there.transport.pauseProducing()
    source = Source(here, 1_000_000)
    world.run(100)
    assert there.octets == b"" and source.pauses == 1
    assert 800_000 < source.left < 900_000, "a window and a buffer full were written"
    there.transport.resumeProducing()
    world.run(100)
    assert len(there.octets) == 1_000_000 and source.left == 0 and source.pauses > 3


def test_a_pull_producer_is_asked_when_there_is_room() -> None:
    world, here, there = connect()

    class Pull:
        left = 30

        def resumeProducing(self) -> None:
            self.left -= 1
            here.transport.write(b"x" * 10_000)
            if not self.left:
                here.transport.unregisterProducer()

    here.transport.registerProducer(Pull(), False)
    world.run(100)
    assert len(there.octets) == 300_000


def test_closing_sends_the_rest_first() -> None:
    world, here, there = connect()
    here.transport.write(b"x" * 200_000)
    here.transport.loseConnection()
    here.transport.write(b"too late")
    assert not here.lost
    world.run(100)
    assert there.octets == b"x" * 200_000
    assert [type(one) for one in (*here.lost, *there.lost)] == [ConnectionDone, ConnectionDone]
    assert [type(one) for one in here.factory.events] == [ConnectionDone]


def test_closing_waits_for_the_producer() -> None:
    world, here, there = connect()
    source = Source(here, 500_000)
    here.transport.loseConnection()
    world.run(0.01)
    assert not here.lost
    world.run(100)
    assert len(there.octets) == 500_000 and source.left == 0 and here.lost


def test_aborting_sends_nothing_more() -> None:
    world, here, there = connect()
    source = Source(here, 500_000)
    here.transport.abortConnection()
    assert not here.lost, "connectionLost comes in a later turn"
    world.run(100)
    assert len(there.octets) <= 65_536 and source.stopped
    assert [type(one) for one in (*here.lost, *there.lost)] == [ConnectionAborted, ConnectionLost]


def test_who_writes_to_an_end_that_is_closed_loses_the_connection() -> None:
    world, here, there = connect(there=HalfOpen())
    here.transport.loseConnection()
    world.run(1)
    assert there.read_lost and not there.lost
    there.transport.write(b"are you there?")
    world.run(1)
    assert [type(one) for one in there.lost] == [ConnectionLost]


@implementer(IHalfCloseableProtocol)
class HalfOpen(Ear):
    read_lost = write_lost = False

    def readConnectionLost(self) -> None:
        self.read_lost = True

    def writeConnectionLost(self) -> None:
        self.write_lost = True


def test_half_closing() -> None:
    world, here, there = connect(here=HalfOpen(), there=HalfOpen())
    here.transport.write(b"the last word")
    here.transport.loseWriteConnection()
    world.run(1)
    assert there.octets == b"the last word" and there.read_lost and here.write_lost
    there.transport.write(b"is mine")
    world.run(1)
    assert here.octets == b"is mine" and not here.lost and not there.lost
    there.transport.loseWriteConnection()
    world.run(1)
    assert [type(one) for one in (*here.lost, *there.lost)] == [ConnectionDone, ConnectionDone]


def test_who_cannot_half_close_is_closed() -> None:
    world, here, there = connect(here=HalfOpen())
    here.transport.loseWriteConnection()
    world.run(1)
    assert here.lost and there.lost


def test_what_dataReceived_raises_costs_the_connection() -> None:
    world, here, there = connect()

    def fail(data: bytes) -> None:
        raise KeyError("broken")

    there.dataReceived = fail
    here.transport.write(b"hello")
    world.run(1)
    assert isinstance(there.lost[0], KeyError) and isinstance(here.lost[0], ConnectionLost)
    assert [failure.type for failure in world.failures] == [KeyError]
    world.failures.clear()


# --- TLS ----------------------------------------------------------------------------------------------------------


@implementer(IHandshakeListener)
class Shaking(Ear):
    shaken = 0

    def handshakeCompleted(self) -> None:
        self.shaken += 1


def test_tls_takes_both_and_a_round_trip() -> None:
    world, here, there = connect(here=Shaking(), there=Shaking())
    there.transport.write(b"go ahead\r\n")
    there.transport.startTLS(object())
    world.run(1)
    assert here.octets == b"go ahead\r\n" and not ISSLTransport.providedBy(here.transport)
    here.transport.startTLS(object())
    here.transport.write(b"secret")
    world.run(0.15)
    assert there.octets == b""
    world.run(1)
    assert there.octets == b"secret" and here.shaken == there.shaken == 1
    assert ISSLTransport.providedBy(here.transport) and here.transport.getHandle() is not None


@pytest.mark.parametrize("who", ["clear text behind the command", "a hello that nobody waits for"])
def test_octets_of_the_wrong_kind_break_tls(who: str) -> None:
    world, here, there = connect()
    if who == "clear text behind the command":
        here.transport.write(b"STARTTLS\r\nNOOP\r\n")
        there.transport.startTLS(object())
        world.run(1)
        assert there.octets == b"" and there.lost and here.lost
    else:
        here.transport.startTLS(object())
        here.transport.write(b"secret")
        world.run(1)
        assert there.octets.startswith(b"\x16\x03") and b"secret" not in there.octets


# --- connecting ----------------------------------------------------------------------------------------------------


def test_source_addresses() -> None:
    world = World(addresses=["198.51.100.1", "198.51.100.2"])
    node = world.add_node("there.example", [THERE, "2001:db8:5::1"])
    peers = []
    listening = Factory()
    listening.noisy = False
    listening.buildProtocol = lambda addr: peers.append(addr.host) or Ear()
    node.reactor.listenTCP(25, listening)
    for bind in (None, ("198.51.100.2", 0)):
        world.reactor.connectTCP(THERE, 25, Caller(Ear()), bindAddress=bind)
    world.run(1)
    assert peers == ["198.51.100.1", "198.51.100.2"]
    factory = Caller(Ear())
    world.reactor.connectTCP("2001:db8:5::1", 25, factory)
    world.run(1)
    assert [type(one) for one in factory.events] == [NoRouteError], "we have no IPv6 here"


def test_an_attempt_can_be_given_up_and_made_again() -> None:
    world = World()
    world.add_node("there.example", [THERE])
    factory = Caller(Ear())
    connector = world.reactor.connectTCP("203.0.113.9", 25, factory)
    connector.stopConnecting()
    assert [type(one) for one in factory.events] == [UserError]
    connector.connect()
    world.run(60)
    assert len(factory.events) == 2


def test_a_port_that_pauses_keeps_callers_waiting() -> None:
    world = World()
    node = world.add_node("there.example", [THERE])
    listening = Factory()
    listening.noisy = False
    made = []
    listening.buildProtocol = lambda addr: made.append(Ear()) or made[-1]
    port = node.reactor.listenTCP(25, listening)
    port.pauseProducing()
    ear = Ear()
    world.reactor.connectTCP(THERE, 25, Caller(ear))
    world.run(1)
    assert ear.connected and not made
    ear.transport.write(b"hello")
    world.run(1)
    port.resumeProducing()
    world.run(1)
    assert made[0].octets == b"hello"
    port.stopListening()
    factory = Caller(Ear())
    world.reactor.connectTCP(THERE, 25, factory)
    world.run(1)
    assert len(factory.events) == 1


def test_a_factory_that_wants_nobody_closes() -> None:
    world = World()
    node = world.add_node("there.example", [THERE])
    listening = Factory()
    listening.noisy = False
    listening.buildProtocol = lambda addr: None
    node.reactor.listenTCP(25, listening)
    ear = Ear()
    world.reactor.connectTCP(THERE, 25, Caller(ear))
    world.run(1)
    assert [type(one) for one in ear.lost] == [ConnectionDone]
