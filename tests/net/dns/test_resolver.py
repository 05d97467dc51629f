"""The resolver in virtual time: answers, and servers that fail."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.mail.records import MX, TLSA, Answer
from twisted_mail_kit.net.resolver import Resolver

Ask = Callable[..., Any]
Make = Callable[..., Resolver]


def test_it_provides_the_door(make_resolver: Make) -> None:
    assert IResolver.providedBy(make_resolver())


@pytest.mark.parametrize(
    ("kind", "texts", "records"),
    [
        ("MX", ["10 MX1.Example.org.", "20 mx2.example.org."], (MX(10, "mx1.example.org"), MX(20, "mx2.example.org"))),
        ("MX", ["0 ."], (MX(0, ""),)),
        ("A", ["192.0.2.1", "192.0.2.2"], ("192.0.2.1", "192.0.2.2")),
        ("AAAA", ["2001:db8::1"], ("2001:db8::1",)),
        ("TXT", ['"v=STSv1; " "id=1;"'], ("v=STSv1; id=1;",)),
        ("TLSA", ["3 1 1 " + "ab" * 32], (TLSA(3, 1, 1, b"\xab" * 32),)),
        ("PTR", ["Host.example.org."], ("host.example.org",)),
        ("NS", ["ns.example.org."], ("ns.example.org",)),
        ("CNAME", ["other.example.org."], ("other.example.org",)),
    ],
)
def test_each_kind_has_its_form(
    make_resolver: Make, ask: Ask, zone: Any, kind: str, texts: list[str], records: tuple[object, ...]
) -> None:
    zone.records["example.org", kind] = texts
    answer = ask(make_resolver(), "Example.ORG.", kind)
    assert answer._replace(records=()) == Answer((), "example.org", ttl=60)
    assert sorted(answer.records) == sorted(records)  # in the order of the wire, which servers shuffle


def test_answers_do_not_show_our_mixed_case(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def pointing_back(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message:
        name = query.question[0].name
        made.answer = [dns.rrset.from_text(name, 60, "IN", "MX", f"10 {name}")]
        return made

    zone.change = pointing_back
    assert ask(make_resolver(), "mail.example.org", "MX").records == (MX(10, "mail.example.org"),)
    assert zone.queries[0].question[0].name.to_text() != "mail.example.org."


def test_the_question_says_edns_and_random_things(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    resolver = make_resolver(trust_ad=True, cache_size=0)
    zone.records["mail.example.org", "A"] = ["192.0.2.1"]
    for _ in range(20):
        ask(resolver, "mail.example.org", "A")
    first = zone.queries[0]
    assert (first.edns, first.payload) == (0, 1232)
    assert first.flags == dns.flags.RD | dns.flags.AD
    assert first.ednsflags & dns.flags.DO
    assert len({one.id for one in zone.queries}) > 15
    assert len({one.question[0].name.to_text() for one in zone.queries}) > 15
    assert len({port for _, _, port in network.sent}) > 15
    assert not network.ports_open
    assert not network.getDelayedCalls()


def test_a_server_that_is_not_trusted_is_not_asked_for_dnssec(make_resolver: Make, ask: Ask, zone: Any) -> None:
    ask(make_resolver(), "example.org", "MX")
    assert zone.queries[0].flags == dns.flags.RD
    assert not zone.queries[0].ednsflags & dns.flags.DO


@pytest.mark.parametrize(
    ("server", "options", "believed"),
    [
        ("192.0.2.53", {}, False),
        ("192.0.2.53", {"trust_ad": True}, True),
        ("127.0.0.1", {}, True),
        ("127.0.0.53", {}, True),
        ("::1", {}, True),
        ("127.0.0.11", {}, False),  # Docker's only passes on
    ],
)
def test_authentic_is_what_a_trusted_server_says(
    make_resolver: Make, ask: Ask, zone: Any, network: Any, server: str, options: dict[str, Any], believed: bool
) -> None:
    network.zones[server, 53] = zone
    zone.is_authentic = True
    zone.records["example.org", "MX"] = ["10 mx.example.org."]
    resolver = make_resolver(server, **options)
    assert ask(resolver, "example.org", "MX").is_authentic is believed
    zone.is_authentic = False
    assert ask(resolver, "other.example.org", "MX").is_authentic is False


def test_a_port_that_is_taken_is_passed_by(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    zone.records["example.org", "A"] = ["192.0.2.1"]
    taken = random.Random(1)
    taken.getrandbits(16), taken.getrandbits(8 * 256)
    network.ports_taken = {taken.randrange(1024, 65536)}
    assert ask(make_resolver(), "example.org", "A").records == ("192.0.2.1",)
    network.ports_taken = set(range(1024, 65536))
    assert ask(make_resolver(), "example.org", "A").records == ("192.0.2.1",)


# --- CNAMEs ---


def test_cnames_within_an_answer(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.records = {("a.example.org", "CNAME"): ["B.example.org."], ("b.example.org", "A"): ["192.0.2.1"]}
    assert ask(make_resolver(), "a.example.org", "A") == Answer(("192.0.2.1",), "b.example.org", ttl=60)
    assert len(zone.asked) == 1


def test_cnames_out_of_an_answer(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.follows = False
    zone.is_authentic = True
    zone.records = {
        ("a.example.org", "CNAME"): ["b.example.org."],
        ("b.example.org", "CNAME"): ["c.example.net."],
        ("c.example.net", "A"): ["192.0.2.1"],
    }
    answer = ask(make_resolver(trust_ad=True), "a.example.org", "A")
    assert answer == Answer(("192.0.2.1",), "c.example.net", is_authentic=True, ttl=60)
    assert [name for _, name, _ in zone.asked] == ["a.example.org", "b.example.org", "c.example.net"]


def test_one_cname_that_is_not_authentic_spoils_all(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.follows = False
    zone.records = {("a.example.org", "CNAME"): ["b.example.org."], ("b.example.org", "A"): ["192.0.2.1"]}

    def only_the_last(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message:
        if len(zone.asked) == 2:
            made.flags |= dns.flags.AD
        return made

    zone.change = only_the_last
    assert ask(make_resolver(trust_ad=True), "a.example.org", "A").is_authentic is False


@pytest.mark.parametrize("follows", [True, False])
def test_cnames_in_a_circle(make_resolver: Make, ask: Ask, zone: Any, follows: bool) -> None:
    zone.follows = follows
    zone.records = {("a.example.org", "CNAME"): ["b.example.org."], ("b.example.org", "CNAME"): ["a.example.org."]}
    assert isinstance(ask(make_resolver(), "a.example.org", "A"), ResolutionFailed)
    assert len(zone.asked) <= 3


@pytest.mark.parametrize("follows", [True, False])
def test_cnames_without_end(make_resolver: Make, ask: Ask, zone: Any, follows: bool) -> None:
    zone.follows = follows
    zone.records = {(f"{n}.example.org", "CNAME"): [f"{n + 1}.example.org."] for n in range(50)}
    assert isinstance(ask(make_resolver(), "0.example.org", "A"), ResolutionFailed)
    assert len(zone.asked) <= 11


def test_a_cname_to_nowhere(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.records = {("a.example.org", "CNAME"): ["gone.example.org."]}
    assert ask(make_resolver(), "a.example.org", "A") == Answer((), "gone.example.org", exists=False, ttl=60)


# --- nothing there ---


def test_no_such_name_and_no_such_kind(make_resolver: Make, ask: Ask, zone: Any) -> None:
    zone.records["here.example.org", "A"] = ["192.0.2.1"]
    zone.records["here.example.org", "MX"] = []
    resolver = make_resolver()
    assert ask(resolver, "gone.example.org", "MX") == Answer((), "gone.example.org", exists=False, ttl=300)
    assert ask(resolver, "here.example.org", "MX") == Answer((), "here.example.org", exists=True, ttl=300)


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "a" * 64 + ".org", "a." * 140 + "org", "faß.de", "x.invalid", "\\", "\\999"]
)
def test_names_that_cannot_be(make_resolver: Make, ask: Ask, zone: Any, name: str) -> None:
    assert ask(make_resolver(), name, "MX") == Answer((), name, exists=False)
    assert not zone.asked


@pytest.mark.parametrize("kind", ["ANY", "AXFR", "OPT", "NONE", "BOGUS", "", "MX\n"])
def test_kinds_that_are_none(make_resolver: Make, ask: Ask, kind: str) -> None:
    assert isinstance(ask(make_resolver(), "example.org", kind), ValueError)


def test_localhost_needs_no_server(make_resolver: Make, ask: Ask, zone: Any) -> None:
    resolver = make_resolver()
    assert ask(resolver, "localhost", "A").records == ("127.0.0.1",)
    assert ask(resolver, "Foo.Localhost", "AAAA").records == ("::1",)
    assert not zone.asked


# --- servers that fail ---


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTAUTH])
def test_a_server_that_fails_is_followed_by_the_next(
    make_resolver: Make, make_zone: Any, ask: Ask, zone: Any, network: Any, rcode: dns.rcode.Rcode
) -> None:
    network.zones["192.0.2.54", 53] = good = make_zone({("example.org", "A"): ["192.0.2.1"]})
    zone.rcode = rcode
    assert ask(make_resolver("192.0.2.53", "192.0.2.54"), "example.org", "A").records == ("192.0.2.1",)
    assert network.seconds() < 0.5
    assert len(zone.asked) == len(good.asked) == 1


def test_when_all_servers_fail_so_do_we_at_once(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    zone.rcode = dns.rcode.SERVFAIL
    problem = ask(make_resolver(), "example.org", "A")
    assert isinstance(problem, ResolutionFailed)
    assert "SERVFAIL" in str(problem)
    assert network.seconds() < 0.5


def test_silence_is_asked_again_with_more_patience(make_resolver: Make, ask: Ask, network: Any) -> None:
    network.zones.clear()
    resolver = make_resolver("192.0.2.53", "192.0.2.54", first_timeout=1, total_time=15)
    assert isinstance(ask(resolver, "example.org", "A"), ResolutionFailed)
    times = [(round(time), host[-2:]) for time, host, _ in network.sent]
    assert times == [(0, "53"), (1, "54"), (2, "53"), (4, "54"), (6, "53"), (10, "54")]
    assert network.seconds() < 15.2


def test_there_is_an_end_to_patience(make_resolver: Make, ask: Ask, network: Any) -> None:
    network.zones.clear()
    assert isinstance(ask(make_resolver(first_timeout=3, total_time=5), "example.org", "A"), ResolutionFailed)
    assert 4.9 < network.seconds() < 5.2
    assert not network.ports_open
    assert not network.getDelayedCalls()


def test_a_silent_server_is_asked_last_for_a_while(make_resolver: Make, make_zone: Any, ask: Ask, network: Any) -> None:
    network.zones.clear()
    network.zones["192.0.2.54", 53] = make_zone({("example.org", "A"): ["192.0.2.1"]})
    resolver = make_resolver("192.0.2.53", "192.0.2.54")
    ask(resolver, "example.org", "A")
    ask(resolver, "www.example.org", "A")
    assert [host[-2:] for _, host, _ in network.sent] == ["53", "54", "54"]
    network.advance(31)
    ask(resolver, "mx.example.org", "A")
    assert [host[-2:] for _, host, _ in network.sent][3:] == ["53", "54"]


def test_a_closed_port_is_known_at_once(make_resolver: Make, make_zone: Any, ask: Ask, network: Any) -> None:
    network.zones = {("192.0.2.54", 53): make_zone({("example.org", "A"): ["192.0.2.1"]})}
    network.refusing = {"192.0.2.53"}
    assert ask(make_resolver("192.0.2.53", "192.0.2.54"), "example.org", "A").records
    assert network.seconds() < 0.5


def test_an_old_server_is_asked_without_edns(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def old(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message | bytes:
        if query.edns >= 0:
            return struct.pack("!HHHHHH", query.id, 0x8001, 0, 0, 0, 0)
        return made

    zone.change = old
    zone.records["example.org", "A"] = ["192.0.2.1"]
    resolver = make_resolver()
    assert ask(resolver, "example.org", "A").records == ("192.0.2.1",)
    ask(resolver, "www.example.org", "A")
    assert [one.edns for one in zone.queries] == [0, -1, -1]


def test_a_server_that_only_points_elsewhere_is_no_resolver(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def lame(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message:
        made.flags &= ~dns.flags.RA
        made.answer, made.authority = [], [dns.rrset.from_text("org.", 60, "IN", "NS", "a.root.")]
        made.set_rcode(dns.rcode.NOERROR)
        return made

    zone.change = lame
    assert isinstance(ask(make_resolver(), "example.org", "A"), ResolutionFailed)


def test_failures_are_remembered_shortly(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    zone.rcode = dns.rcode.SERVFAIL
    resolver = make_resolver()
    for _ in range(3):
        assert isinstance(ask(resolver, "example.org", "A"), ResolutionFailed)
    assert len(zone.asked) == 1
    network.advance(6)
    zone.rcode = dns.rcode.NOERROR
    zone.records["example.org", "A"] = ["192.0.2.1"]
    assert ask(resolver, "example.org", "A").records


# --- TCP ---


def test_a_long_answer_comes_over_tcp(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    zone.largest = 512
    zone.records["example.org", "TXT"] = [f'"{"x" * 200} {n}"' for n in range(50)]
    assert len(ask(make_resolver(), "example.org", "TXT").records) == 50
    assert [way for way, _, _ in zone.asked] == ["udp", "tcp"]
    assert network.streams_open == 0


def test_an_answer_cut_in_the_middle_comes_over_tcp(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def cut(query: dns.message.Message, made: dns.message.Message, way: str) -> dns.message.Message | bytes:
        if way == "tcp":
            return made
        made.flags |= dns.flags.TC
        return made.to_wire()[:-15]

    zone.change = cut
    zone.records["example.org", "A"] = ["192.0.2.1", "192.0.2.2"]
    assert len(ask(make_resolver(), "example.org", "A").records) == 2


def test_an_answer_cut_short_over_tcp_is_none(make_resolver: Make, ask: Ask, zone: Any) -> None:
    def cut(query: dns.message.Message, made: dns.message.Message, way: str) -> bytes:
        made.flags |= dns.flags.TC
        return made.to_wire()[:-15]

    zone.change = cut
    zone.records["example.org", "A"] = ["192.0.2.1", "192.0.2.2"]
    assert isinstance(ask(make_resolver(), "example.org", "A"), ResolutionFailed)


def test_a_server_without_tcp_cannot_give_long_answers(make_resolver: Make, ask: Ask, zone: Any, network: Any) -> None:
    zone.largest = 100
    network.no_tcp = {"192.0.2.53"}
    zone.records["example.org", "TXT"] = [f'"{"x" * 200}"']
    assert isinstance(ask(make_resolver(), "example.org", "TXT"), ResolutionFailed)
    assert network.seconds() < 20
    assert network.streams_open == 0


# --- together ---


def test_the_same_question_is_asked_once(make_resolver: Make, zone: Any, network: Any) -> None:
    resolver = make_resolver()
    zone.records["example.org", "A"] = ["192.0.2.1"]
    names = ["example.org", "EXAMPLE.org", "example.org."]
    lookups = [Deferred.fromCoroutine(resolver.lookup(name, "A")) for name in names]
    lookups[0].addErrback(lambda _: None)
    lookups[0].cancel()  # one who gives up does not take it from the others
    network.advance(0)
    assert [one.result.records for one in lookups[1:]] == [("192.0.2.1",)] * 2
    assert len(zone.asked) == 1


def test_nobody_waits_any_more_then_the_question_is_dropped(make_resolver: Make, zone: Any, network: Any) -> None:
    network.zones.clear()
    lookup = Deferred.fromCoroutine(make_resolver().lookup("example.org", "A"))
    lookup.addErrback(lambda _: None)
    lookup.cancel()
    network.advance(0)
    assert not network.ports_open
    assert not network.getDelayedCalls()


def test_only_so_many_questions_at_once(make_resolver: Make, zone: Any, network: Any) -> None:
    resolver = make_resolver(at_once=3)
    lookups = [Deferred.fromCoroutine(resolver.lookup(f"{n}.example.org", "A")) for n in range(10)]
    assert len(network.ports_open) == 3
    for _ in range(10):
        network.advance(0)
    assert all(one.called for one in lookups)


def test_stop_ends_all_questions(make_resolver: Make, network: Any) -> None:
    network.zones.clear()
    resolver = make_resolver()
    lookup = Deferred.fromCoroutine(resolver.lookup("example.org", "A"))
    problems: list[Any] = []
    lookup.addErrback(lambda reason: problems.append(reason.value))
    Deferred.fromCoroutine(resolver.stop())
    assert isinstance(problems[0], ResolutionFailed)
    assert not network.ports_open
    assert not network.getDelayedCalls()
