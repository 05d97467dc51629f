"""What the resolver remembers, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.message
import dns.rrset
import pytest

from twisted_mail_kit.mail.records import Answer
from twisted_mail_kit.net.dns.cache import Cache
from twisted_mail_kit.net.resolver import Resolver

Ask = Callable[..., Any]
Make = Callable[..., Resolver]


def test_an_answer_is_remembered_for_its_time(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    zone.records["example.org", "A"] = ["192.0.2.1"]
    resolver = make_resolver()
    assert ask(resolver, "example.org", "A").ttl == 60
    network.advance(20)
    assert ask(resolver, "EXAMPLE.org", "A").ttl in (39, 40)
    assert len(zone.asked) == 1
    network.advance(40.1)
    assert ask(resolver, "example.org", "A").ttl == 60
    assert len(zone.asked) == 2


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1), (2**31 - 1, 3600), (2**31, 1), (100, 100)])
def test_times_have_bounds(make_resolver: Make, ask: Ask, zone: Any, network: Any, ttl: int, kept: int) -> None:
    def with_ttl(query: dns.message.Message, made: dns.message.Message, way: str) -> bytes:
        return made.to_wire().replace(b"\xde\xad\xbe\xef"[:0] + (60).to_bytes(4, "big"), ttl.to_bytes(4, "big"))

    zone.change = with_ttl
    zone.records["example.org", "A"] = ["192.0.2.1"]
    resolver = make_resolver(longest_ttl=3600)
    assert ask(resolver, "example.org", "A").ttl == kept
    network.advance(kept - 0.5)
    ask(resolver, "example.org", "A")
    assert len(zone.asked) == 1
    network.advance(1)
    ask(resolver, "example.org", "A")
    assert len(zone.asked) == 2


def test_of_a_chain_the_shortest_time_counts(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def chain(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message:
        name = query.question[0].name
        made.answer = [
            dns.rrset.from_text(name, 7, "IN", "CNAME", "b.example.org."),
            dns.rrset.from_text("b.example.org.", 700, "IN", "A", "192.0.2.1"),
        ]
        return made

    zone.change = chain
    assert ask(make_resolver(), "a.example.org", "A").ttl == 7


def test_that_nothing_is_there_is_remembered_as_the_zone_says(
    make_resolver: Make, ask: Ask, zone: Any, network: Any
) -> None:
    resolver = make_resolver()
    assert ask(resolver, "gone.example.org", "MX").ttl == 300  # the SOA's minimum, which is less than its TTL
    network.advance(299)
    assert not ask(resolver, "gone.example.org", "MX").exists
    assert len(zone.asked) == 1
    network.advance(2)
    ask(resolver, "gone.example.org", "MX")
    assert len(zone.asked) == 2


def test_without_soa_nothing_is_not_remembered(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.negative_soa = None
    resolver = make_resolver()
    for _ in range(2):
        assert ask(resolver, "gone.example.org", "MX") == Answer((), "gone.example.org", exists=False)
    assert len(zone.asked) == 2


def test_the_soa_of_somebody_else_says_nothing(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def foreign(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message:
        made.authority = [dns.rrset.from_text("example.com.", 900, "IN", "SOA", zone.negative_soa)]
        return made

    zone.change = foreign
    resolver = make_resolver()
    for _ in range(2):
        ask(resolver, "gone.example.org", "MX")
    assert len(zone.asked) == 2


def test_a_long_nothing_is_cut(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.negative_soa = "ns.example.org. admin.example.org. 1 3600 600 86400 864000"
    assert ask(make_resolver(longest_negative_ttl=120), "gone.example.org", "MX").ttl == 120


def test_forget_and_no_cache(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.records["example.org", "A"] = ["192.0.2.1"]
    resolver = make_resolver()
    ask(resolver, "example.org", "A")
    resolver.forget()
    ask(resolver, "example.org", "A")
    assert len(zone.asked) == 2
    resolver = make_resolver(cache_size=0)
    ask(resolver, "example.org", "A")
    ask(resolver, "example.org", "A")
    assert len(zone.asked) == 4


def test_the_cache_stays_small_and_keeps_what_is_asked_for() -> None:
    cache = Cache(100_000, lambda: 0.0)
    for number in range(5000):
        cache.put((f"{number}.example.org", "TXT"), Answer(("x" * 100,), "name"), 60)
        cache.get(("0.example.org", "TXT"))
    assert 100 < len(cache) < 250
    assert cache.get(("0.example.org", "TXT"))
    assert cache.get(("4999.example.org", "TXT"))
    assert cache.get(("1.example.org", "TXT")) is None
    cache.put(("big.example.org", "TXT"), Answer(("x" * 200_000,), "name"), 60)
    assert cache.get(("big.example.org", "TXT")) is None
    cache.put(("0.example.org", "TXT"), "failed", 60)
    assert cache.get(("0.example.org", "TXT")) == "failed"
    cache.clear()
    assert len(cache) == 0
