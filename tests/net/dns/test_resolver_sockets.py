"""The resolver on real sockets, UDP and TCP."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.mail.records import MX
from twisted_mail_kit.net.dns.settings import ResolverSettings
from twisted_mail_kit.net.resolver import Resolver


def resolver_for(server: str, **settings: Any) -> Resolver:
    return Resolver(reactor, [server], ResolverSettings(hosts=None, **settings))


async def test_over_udp(real_server: str, zone: Any) -> None:
    zone.records["example.org", "MX"] = ["10 mx.example.org."]
    zone.is_authentic = True
    answer = await resolver_for(real_server).lookup("example.org", "MX")
    assert answer.records == (MX(10, "mx.example.org"),)
    assert answer.is_authentic


async def test_over_tcp(real_server: str, zone: Any) -> None:
    zone.largest = 100
    zone.records["example.org", "TXT"] = [f'"{"x" * 250}" "{n}"' for n in range(200)]
    answer = await resolver_for(real_server).lookup("example.org", "TXT")
    assert len(answer.records) == 200
    assert [way for way, _, _ in zone.asked] == ["udp", "tcp"]


async def test_many_at_once(real_server: str, zone: Any) -> None:
    for number in range(300):
        zone.records[f"{number}.example.org", "A"] = [f"192.0.2.{number % 250}"]
    resolver = resolver_for(real_server, at_once=50)
    answers = await gatherResults(
        [Deferred.fromCoroutine(resolver.lookup(f"{number}.example.org", "A")) for number in range(300)]
    )
    assert [one.records for one in answers] == [(f"192.0.2.{number % 250}",) for number in range(300)]


async def test_a_closed_port_is_told_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
    began = reactor.seconds()
    with pytest.raises(ResolutionFailed):
        await resolver_for(f"127.0.0.1:{number}").lookup("example.org", "A")
    assert reactor.seconds() - began < 1


async def test_silence(real_server: str, zone: Any) -> None:
    zone.change = lambda query, made, way: None
    with pytest.raises(ResolutionFailed):
        await resolver_for(real_server, first_timeout=0.05, rounds=2).lookup("example.org", "A")
    assert len(zone.asked) == 2


async def test_nonsense_over_tcp(real_server: str, zone: Any) -> None:
    zone.largest = 20
    zone.change = lambda query, made, way: made if way == "udp" else b"\xff" * 65535
    with pytest.raises(ResolutionFailed):
        await resolver_for(real_server).lookup("example.org", "A")


async def test_silence_over_tcp(real_server: str, zone: Any) -> None:
    zone.largest = 20
    zone.change = lambda query, made, way: made if way == "udp" else None
    with pytest.raises(ResolutionFailed):
        await resolver_for(real_server, tcp_timeout=0.1, rounds=1).lookup("example.org", "A")


async def test_somebody_else_cannot_answer(real_server: str, zone: Any) -> None:
    # The socket is connected: the system itself drops what does not come from the server.
    import dns.message
    import dns.rrset

    zone.records["example.org", "A"] = ["192.0.2.1"]
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.0.0.1", 0))

    def forged_first(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message:
        lie = dns.message.make_response(query)
        lie.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "203.0.113.66")]
        stranger.sendto(lie.to_wire(), ("127.0.0.1", zone.port_of_asker))
        return made

    zone.change = forged_first
    try:
        assert (await resolver_for(real_server).lookup("example.org", "A")).records == ("192.0.2.1",)
    finally:
        stranger.close()


async def test_where_the_reactor_takes_no_descriptors(real_server: str, zone: Any) -> None:
    class Bare:
        def __getattr__(self, name: str) -> Any:
            return getattr(reactor, name)

    zone.records["example.org", "A"] = ["192.0.2.1"]
    resolver = Resolver(Bare(), [real_server, "127.0.0.1:9"], ResolverSettings(hosts=None, rounds=1, first_timeout=30))
    assert (await resolver.lookup("example.org", "A")).records == ("192.0.2.1",)
    resolver = Resolver(Bare(), ["127.0.0.1:9"], ResolverSettings(hosts=None, rounds=1, total_time=1))
    with pytest.raises(ResolutionFailed, match="refuses"):
        await resolver.lookup("example.org", "A")


async def test_nothing_is_left_open(real_server: str, zone: Any) -> None:
    readers = set(reactor.getReaders())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    resolver = resolver_for(real_server, cache_size=0)
    for number in range(20):
        zone.largest = 50 if number % 2 else 4096
        await resolver.lookup("example.org", "A")
    await deferLater(reactor, 0.05)
    assert set(reactor.getReaders()) == readers
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 2


async def test_over_ipv6(zone: Any) -> None:
    from twisted.internet.protocol import DatagramProtocol

    class Datagrams(DatagramProtocol):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            for one in zone.answer(datagram, "udp"):
                self.transport.write(one, addr)

    try:
        port = reactor.listenUDP(0, Datagrams(), interface="::1")
    except Exception:
        pytest.skip("no IPv6 on loopback here")
    zone.records["example.org", "A"] = ["192.0.2.1"]
    try:
        answer = await resolver_for(f"[::1]:{port.getHost().port}").lookup("example.org", "A")
        assert answer.records == ("192.0.2.1",)
    finally:
        await port.stopListening()
