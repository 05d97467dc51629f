"""Which host, which address, and what next when one fails."""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.error import TimeoutError as ConnectTimeout

from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed
from twisted_mail_kit.mail.records import MX
from twisted_mail_kit.smtp.relay.hosts import HostFinder

A = "a@example.org"
ALL = ("PIPELINING", "SIZE 1000000", "8BITMIME", "DSN")


def test_the_mx_of_the_lowest_preference_comes_first_and_the_next_one_when_it_fails(office: Any, server: Any) -> None:
    there = office()
    there.net.domain("example.org", (20, "two.example.org"), (10, "one.example.org"))
    there.net.host("one.example.org", "192.0.2.1", ConnectionRefusedError("no"))
    second = there.net.host("two.example.org", "192.0.2.2", server())
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delivered)
    assert outcome.status.remote == "two.example.org [192.0.2.2]"
    assert there.net.dialled == [("192.0.2.1", 25), ("192.0.2.2", 25)]
    assert len(second.messages) == 1


@pytest.mark.parametrize(
    "first",
    [
        {"greeting": "421 4.3.2 busy"},
        {"greeting": "554 5.3.2 no mail here"},
        {"greeting": "(silence)"},
        {"greeting": "(cut)"},
        {"greeting": "SSH-2.0-OpenSSH_9.2"},
        {"answers": {"EHLO": "421 4.7.0 go away"}},
        {"answers": {"EHLO": "550 5.7.1 no", "HELO": "550 5.7.1 no"}},
        {"answers": {"MAIL": "421 4.3.2 down"}},
        {"answers": {"RCPT": "(cut)"}},
        {"answers": {"DATA": "(cut)"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("offers", [ALL, ()], ids=["pipelined", "lockstep"])
def test_a_host_that_fails_hands_on_to_the_next(office: Any, server: Any, first: Any, offers: Any) -> None:
    there = office()
    there.net.domain("example.org", (10, "one.example.org"), (20, "two.example.org"))
    first = {**first, "answers": dict(first.get("answers", {}))}
    there.net.host("one.example.org", "192.0.2.1", server(*offers, **first))
    second = there.net.host("two.example.org", "192.0.2.2", server(*offers))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delivered), outcome
    assert len(second.messages) == 1


def test_a_time_out_hands_on_to_the_next(office: Any, server: Any) -> None:
    there = office()
    there.net.domain("example.org", (10, "one.example.org"), (20, "two.example.org"))
    there.net.host("one.example.org", "192.0.2.1", ConnectTimeout())
    there.net.host("two.example.org", "192.0.2.2", server())
    before = there.net.seconds()
    assert isinstance(there.sends(A)[0], Delivered)
    assert there.net.seconds() - before == pytest.approx(30.0)


def test_who_was_refused_by_the_first_host_is_not_sent_to_the_second(office: Any, server: Any) -> None:
    there = office()
    there.net.domain("example.org", (10, "one.example.org"), (20, "two.example.org"))
    answers = {"RCPT TO:<a": "550 5.1.1 no", "RCPT TO:<b": "(cut)"}
    there.net.host("one.example.org", "192.0.2.1", server(answers=answers))
    second = there.net.host("two.example.org", "192.0.2.2", server())
    outcomes = there.sends(A, "b@example.org")
    assert isinstance(outcomes[0], Failed)
    assert isinstance(outcomes[1], Delivered)
    assert [line for line in second.said[0] if line.startswith("RCPT")] == ["RCPT TO:<b@example.org>"]


def test_all_hosts_say_never(office: Any, server: Any) -> None:
    there = office()
    there.net.domain("example.org", (10, "one.example.org"), (20, "two.example.org"))
    for number, name in enumerate(("one", "two"), 1):
        there.net.host(f"{name}.example.org", f"192.0.2.{number}", server(greeting="554 5.3.2 no mail here"))
    [outcome] = there.sends(A)
    assert outcome == Failed(outcome.status)
    assert outcome.status == ("5.3.2", "no mail here", 554, "two.example.org [192.0.2.2]")
    there.net.servers["192.0.2.1", 25] = ConnectionRefusedError("nobody")
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed), "one of them may still take it"
    assert outcome.status.remote == "one.example.org [192.0.2.1]"


def test_null_mx(office: Any) -> None:
    there = office()
    there.net.domain("example.org", (0, ""))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.1.10"
    assert there.net.dialled == []


def test_no_mx_means_the_domain_itself(office: Any, server: Any) -> None:
    there = office()
    there.net.host("example.org", "192.0.2.1", server())
    assert isinstance(there.sends(A)[0], Delivered)


def test_a_domain_that_does_not_exist(office: Any) -> None:
    there = office()
    there.net.names.missing.add("example.org")
    [outcome] = there.sends(A)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.1.2"


def test_a_domain_without_any_address(office: Any) -> None:
    there = office()
    [outcome] = there.sends(A)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.4.4"


def test_dns_trouble_is_a_delay(office: Any, server: Any, no_dns: Exception) -> None:
    there = office()
    there.net.names.table["example.org", "MX"] = no_dns
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.4.3"
    there = office()
    there.net.domain("example.org", (10, "one.example.org"), (20, "two.example.org"))
    there.net.names.table["one.example.org", "A"] = no_dns
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed), "the one whose address we do not know may take it"
    assert outcome.status.code == "4.4.3"
    there.net.host("two.example.org", "192.0.2.2", server())
    assert isinstance(there.sends(A)[0], Delivered)


def test_half_of_the_addresses_is_better_than_none(office: Any, server: Any, no_dns: Exception) -> None:
    there = office()
    there.mx(server())
    there.net.names.table["mx.example.org", "AAAA"] = no_dns
    assert isinstance(there.sends(A)[0], Delivered)


def test_both_families_are_tried_ipv6_first(office: Any, server: Any) -> None:
    there = office(bind_ipv4="192.0.2.99", bind_ipv6="2001:db8::99")
    there.net.domain("example.org", (10, "mx.example.org"))
    there.net.host("mx.example.org", "2001:db8::1", ConnectionRefusedError())
    there.net.host("mx.example.org", "2001:db8::2", ConnectionRefusedError())
    there.net.host("mx.example.org", "192.0.2.1", server())
    assert isinstance(there.sends(A)[0], Delivered)
    assert there.net.dialled == [("2001:db8::1", 25), ("192.0.2.1", 25)]
    assert there.net.bound == [("2001:db8::99", 0), ("192.0.2.99", 0)]


def test_ipv6_can_be_off(office: Any, server: Any) -> None:
    there = office(ipv6=False)
    there.net.host("mx.example.org", "2001:db8::1", ConnectionRefusedError())
    there.mx(server())
    there.sends(A)
    assert there.net.dialled == [("192.0.2.1", 25)]


def test_no_more_addresses_than_the_setting(office: Any) -> None:
    there = office(addresses=3)
    there.net.domain("example.org", (10, "mx.example.org"))
    for number in range(1, 9):
        there.net.host("mx.example.org", f"192.0.2.{number}", ConnectionRefusedError())
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.4.1"
    assert len(there.net.dialled) == 3


@pytest.mark.parametrize(("literal", "address"), [("[192.0.2.7]", "192.0.2.7"), ("[IPv6:2001:db8::7]", "2001:db8::7")])
def test_address_literals_need_no_dns(office: Any, server: Any, literal: str, address: str) -> None:
    there = office()
    there.net.servers[address, 25] = server()
    [outcome] = there.sends(f"a@{literal}")
    assert isinstance(outcome, Delivered)
    assert outcome.status.remote == f"[{address}]"
    assert there.net.names.asked == []


@pytest.mark.parametrize("name", ["our.example.com", "also.example.com"])
def test_hosts_that_are_no_nearer_than_we_are_get_nothing(office: Any, server: Any, name: str) -> None:
    there = office(own_names=("also.example.com",))
    there.net.domain("example.org", (10, "mx.example.org"), (20, name.upper() + "."), (30, "far.example.org"))
    there.net.host("mx.example.org", "192.0.2.1", ConnectionRefusedError())
    there.net.host("far.example.org", "192.0.2.3", server())
    assert isinstance(there.sends(A)[0], Delayed)
    assert there.net.dialled == [("192.0.2.1", 25)]
    there.net.domain("example.org", (20, name), (30, "far.example.org"))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.4.6"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1", "198.51.100.7"])
def test_nobody_is_sent_to_ourselves(office: Any, server: Any, address: str) -> None:
    there = office(own_addresses=("198.51.100.7",))
    there.mx(server(), address=address)
    [outcome] = there.sends(A)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.4.6"
    assert there.net.dialled == []


def test_equal_preferences_are_shuffled() -> None:
    class Resolver:
        async def lookup(self, name: str, kind: str) -> Any:
            from twisted_mail_kit.mail.records import Answer

            return Answer((*(MX(10, f"mx{number}.example.org") for number in range(4)), MX(5, "a.")), name)

    orders = set()
    finder = HostFinder(Resolver(), (), random.Random(4))
    for _ in range(50):
        task = finder.mail_hosts("example.org")
        try:
            task.send(None)
        except StopIteration as done:
            names = tuple(host.name for host in done.value)
            assert names[0] == "a"
            orders.add(names)
    assert len(orders) > 10


# --- connections that wait -------------------------------------------------------------------------------------------


def test_a_connection_takes_several_messages_and_leaves_after_a_while(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL))
    for _ in range(3):
        there.sends(A)
    assert len(mx.messages) == 3
    assert len(mx.said) == 1
    assert there.relay.pool.count() == 1
    there.net.advance(5)
    there.net.settle()
    assert mx.said[0][-1] == "QUIT"
    assert there.relay.pool.count() == 0


def test_a_connection_takes_no_more_messages_than_it_may(office: Any, server: Any) -> None:
    for settings, offers in (({"messages": 2}, ALL), ({}, (*ALL, "LIMITS MAILMAX=2"))):
        there = office(**settings)
        mx = there.mx(server(*offers))
        for _ in range(3):
            there.sends(A)
        there.net.settle()
        assert [len([line for line in said if line.startswith("MAIL")]) for said in mx.said] == [2, 1]
        assert mx.said[0][-1] == "QUIT"


@pytest.mark.parametrize("how", ["drop", "421", "late 421"])
def test_a_connection_that_was_lost_while_it_waited_is_replaced(office: Any, server: Any, how: str) -> None:
    there = office()
    mx = there.mx(server(*ALL))
    there.sends(A)
    session = mx.sessions[0]
    if how == "drop":
        session.transport.drop()
        there.net.settle()
    elif how == "421":
        session.say("421 4.4.2 you are slow")
    else:
        mx.answers["MAIL"] = ["421 4.4.2 you are slow"]
    assert isinstance(there.sends(A)[0], Delivered)
    assert len(mx.said) == 2
    assert len(mx.messages) == 2


def test_stop_says_goodbye(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL))
    there.sends(A)
    there.net.run(there.relay.stop())
    assert mx.said[0][-1] == "QUIT"
    there.sends(A)
    there.net.settle()
    assert mx.said[1][-1] == "QUIT", "those that come later leave at once"


def test_two_domains_do_not_share_connections(office: Any, server: Any) -> None:
    there = office()
    first = there.mx(server(*ALL))
    second = there.mx(server(*ALL), "example.net", "192.0.2.2")
    outcomes = there.sends(A, "b@example.net", "c@example.org")
    assert [type(one) for one in outcomes] == [Delivered] * 3
    assert len(first.messages) == len(second.messages) == 1
    assert [line for line in first.said[0] if "RCPT" in line] == [
        "RCPT TO:<a@example.org>",
        "RCPT TO:<c@example.org>",
    ]
