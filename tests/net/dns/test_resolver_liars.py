"""The resolver in virtual time, asking servers that lie, and strangers who forge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.mail.records import Answer
from twisted_mail_kit.net.resolver import Resolver

Ask = Callable[..., Any]
Make = Callable[..., Resolver]


def test_a_careless_server_is_asked_over_tcp_and_then_in_plain_case(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def careless(query: dns.message.Message, made: dns.message.Message, way: str) -> bytes:
        return _with_plain_question(made)

    zone.change = careless
    zone.records["mail.example.org", "A"] = ["192.0.2.1"]
    resolver = make_resolver(cache_size=0)
    assert ask(resolver, "mail.example.org", "A").records == ("192.0.2.1",)
    assert ask(resolver, "mail.example.org", "A").records == ("192.0.2.1",)
    assert [way for way, _, _ in zone.asked] == ["udp", "tcp", "udp"]


def test_a_careless_server_without_tcp(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    zone.change = lambda query, made, way: _with_plain_question(made)
    zone.records["mail.example.org", "A"] = ["192.0.2.1"]
    network.no_tcp = {"192.0.2.53"}
    assert ask(make_resolver(), "mail.example.org", "A").records == ("192.0.2.1",)


def test_a_forger_who_has_all_but_the_case_gets_nothing(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def forged(query: dns.message.Message, made: dns.message.Message, way: str) -> Any:
        if way == "tcp":
            return made
        lie = dns.message.make_response(query)
        lie.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "203.0.113.66")]
        return [_with_plain_question(lie), made]

    zone.change = forged
    zone.records["mail.example.org", "A"] = ["192.0.2.1"]
    resolver = make_resolver(cache_size=0)
    for _ in range(2):
        assert ask(resolver, "mail.example.org", "A").records == ("192.0.2.1",)
    # The server itself keeps the case, so it goes on being asked in mixed case.
    assert [way for way, _, _ in zone.asked] == ["udp", "tcp", "udp", "tcp"]


def _with_plain_question(made: dns.message.Message) -> bytes:
    octets = bytearray(made.to_wire())
    end = octets.index(0, 12)
    octets[12:end] = octets[12:end].lower()
    return bytes(octets)


def _lie(spoil: Callable[[dns.message.Message], Any]) -> Callable[..., Any]:
    def change(query: dns.message.Message, made: dns.message.Message, way: str) -> Any:
        lie = dns.message.make_response(query, recursion_available=True)
        lie.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "203.0.113.66")]
        spoiled = spoil(lie)
        return [lie if spoiled is None else spoiled, made]

    return change


def _other_id(lie: dns.message.Message) -> None:
    lie.id ^= 1


def _other_name(lie: dns.message.Message) -> None:
    lie.question = [dns.rrset.RRset(dns.name.from_text("evil.example.org"), dns.rdataclass.IN, dns.rdatatype.A)]


def _other_kind(lie: dns.message.Message) -> None:
    lie.question = [dns.rrset.RRset(lie.question[0].name, dns.rdataclass.IN, dns.rdatatype.AAAA)]


def _a_query(lie: dns.message.Message) -> None:
    lie.flags &= ~dns.flags.QR


def _other_opcode(lie: dns.message.Message) -> None:
    lie.set_opcode(dns.opcode.UPDATE)


def _loop(lie: dns.message.Message) -> bytes:
    octets = lie.to_wire()
    end = octets.index(0, 12) + 5
    return octets[:6] + b"\0\1\0\0\0\0" + octets[12:end] + bytes([0xC0, end]) + b"\0\1\0\1\0\0\0\1\0\4\1\2\3\4"


def _cut(lie: dns.message.Message) -> bytes:
    return lie.to_wire()[:-3]


def _no_question(lie: dns.message.Message) -> None:
    lie.question = []


def _two_questions(lie: dns.message.Message) -> None:
    lie.question = lie.question * 2


def _many_records(lie: dns.message.Message) -> bytes:
    octets = lie.to_wire()
    return octets[:6] + b"\xff\xff\xff\xff\xff\xff" + octets[12:] + b"\0\0\1\0\1\0\0\0\1\0\4\1\2\3\4" * 3000


def _huge(lie: dns.message.Message) -> bytes:
    return lie.to_wire() + b"\0" * 5000


LIES = [
    *(_other_id, _other_name, _other_kind, _a_query, _other_opcode, _loop, _cut, _no_question, _two_questions, _huge),
    *(_many_records, lambda lie: b"", lambda lie: b"\0", lambda lie: b"\xff" * 60_000),
]


@pytest.mark.parametrize("spoil", LIES)
def test_what_is_not_the_answer_is_passed_over(make_resolver: Make, ask: Ask, zone: Any, spoil: Any) -> None:
    zone.records["mail.example.org", "A"] = ["192.0.2.1"]
    zone.change = _lie(spoil)
    assert ask(make_resolver(), "mail.example.org", "A").records == ("192.0.2.1",)
    assert [way for way, _, _ in zone.asked] == ["udp"]


@pytest.mark.parametrize("spoil", LIES)
def test_a_server_that_only_lies_has_no_answer(make_resolver: Make, ask: Ask, zone: Any, spoil: Any) -> None:
    zone.change = lambda query, made, way: _lie(spoil)(query, made, way)[:1]
    assert isinstance(ask(make_resolver(), "mail.example.org", "A"), ResolutionFailed)


def test_a_storm_of_guesses_is_left_for_tcp(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def storm(query: dns.message.Message, made: dns.message.Message, way: str) -> Any:
        return made if way == "tcp" else [n.to_bytes(2, "big") + made.to_wire()[2:] for n in range(50) if n != made.id]

    zone.change = storm
    zone.records["mail.example.org", "A"] = ["192.0.2.1"]
    assert ask(make_resolver(), "mail.example.org", "A").records == ("192.0.2.1",)
    assert [way for way, _, _ in zone.asked] == ["udp", "tcp"]


def test_answers_from_another_address_are_passed_over(make_resolver: Make, zone: Any, network: Any) -> None:
    zone.change = lambda query, made, way: None
    lookup = Deferred.fromCoroutine(make_resolver().lookup("mail.example.org", "A"))
    answer = dns.message.make_response(zone.queries[0])
    answer.answer = [dns.rrset.from_text(zone.queries[0].question[0].name, 60, "IN", "A", "192.0.2.1")]
    for sender in [("192.0.2.54", 53), ("192.0.2.53", 54)]:
        network.last_port.deliver(answer.to_wire(), sender)
        network.advance(0)
        assert not lookup.called
    network.last_port.deliver(answer.to_wire(), ("192.0.2.53", 53))
    assert lookup.called


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nonsense_is_an_answer_or_a_failure(
    make_resolver: Make, make_zone: Any, ask: Ask, network: Any, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["A", "MX", "TXT", "TLSA", "CNAME"]))
    network.zones["192.0.2.53", 53] = zone = make_zone(
        {
            ("example.org", "A"): ["192.0.2.1"],
            ("example.org", "MX"): ["1 a.example.org.", "2 b.example.org."],
            ("example.org", "TXT"): ['"abc" "def"'],
            ("example.org", "TLSA"): ["3 1 1 " + "ab" * 32],
        }
    )
    edits = data.draw(st.lists(st.tuples(st.integers(2, 200), st.integers(0, 255)), min_size=1, max_size=6))

    def spoil(query: dns.message.Message, made: dns.message.Message, way: str) -> bytes:
        octets = bytearray(made.to_wire())
        for place, octet in edits:
            if place < len(octets):
                octets[place] = octet
        return bytes(octets)

    zone.change = spoil
    result = ask(make_resolver(), "example.org", kind)
    assert isinstance(result, (Answer, ResolutionFailed)), repr(result)
    network.advance(60)
    assert not network.ports_open
