"""The relay in a world of mail hosts where everything goes wrong now and then."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest

from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Outcome
from twisted_mail_kit.smtp.relay import Relay, RelaySettings
from twisted_mail_kit.testing.world import Behaviour, Fault, World
from twisted_mail_kit.testing.world.faults import Kind


def relay_in(world: World, **settings: Any) -> Relay:
    return Relay(world.reactor, world.resolver, "our.example.com", RelaySettings(**settings))


def send(world: World, relay: Relay, number: int, *to: str) -> list[Outcome]:
    async def go() -> list[Outcome]:
        delivery = await relay.begin(Envelope(parse_address("ann@example.com"), Peer("", service="queue"), "trace"))
        for one in to:
            await delivery.add_recipient(Recipient(parse_address(one)))
        await delivery.write(b"Message-ID: <%d@example.com>\r\n\r\n" % number + b"body\r\n" * 2000)
        return list(await delivery.commit())

    return world.wait(go(), limit=7200)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("lacks", [(), ("PIPELINING",), ("CHUNKING", "STARTTLS")], ids=str)
def test_what_was_said_to_be_delivered_is_there_once_and_all_else_is_not(kind: Kind, lacks: Any) -> None:
    world = World(7)
    host = world.add_host(
        "mx.example.org",
        ["192.0.2.1"],
        domains=["example.org"],
        behaviour=Behaviour(faults=(Fault(kind, 0.4),), lacks=lacks),
    )
    relay = relay_in(world)
    said: dict[tuple[str, str], Outcome] = {}
    for number in range(25):
        to = ["a@example.org", "b@example.org", "c@example.org"]
        for one, outcome in zip(to, send(world, relay, number, *to), strict=True):
            said[f"<{number}@example.com>", one] = outcome
    got = Counter((one.message_id, one.recipient) for one in host.received)
    assert max(got.values(), default=0) <= 1, "one attempt never sends twice"
    doubtful = 0
    for what, outcome in said.items():
        if isinstance(outcome, Delivered):
            assert got[what] == 1
        elif got[what]:
            doubtful += 1
            assert isinstance(outcome, Delayed)
            assert "may have been delivered" in outcome.status.text
    assert doubtful == 0 or kind == "lost-reply"
    if kind != "slow":
        assert host.struck, "the fault struck"
    assert got, "not always, however"
    world.wait(relay.stop())
    assert world.failures == []


def test_a_second_host_takes_what_the_first_does_not_answer_for() -> None:
    world = World(11)
    faults = tuple(Fault(kind, 0.15) for kind in ("refused", "mute", "busy", "tls-broken", "unreachable"))
    hosts = [
        world.add_host("one.example.org", ["192.0.2.1"], domains=["example.org"], behaviour=Behaviour(faults=faults)),
        world.add_host("two.example.org", ["192.0.2.2"], domains=["example.org"], preference=20),
    ]
    relay = relay_in(world, idle=0)
    for number in range(60):
        assert isinstance(send(world, relay, number, "a@example.org")[0], Delivered)
    took = Counter(one.message_id for host in hosts for one in host.received)
    assert set(took.values()) == {1}
    assert len(took) == 60
    assert all(host.received for host in hosts)
    assert world.failures == []
