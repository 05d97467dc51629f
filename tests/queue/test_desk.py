"""The operator's desk, on a spool alone and on a running queue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_mail_kit.errors import BadSyntax, MessageNotFound
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Outcome, Status
from twisted_mail_kit.queue.desk import Desk
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.queue import Queue
from twisted_mail_kit.testing.fakes import CollectingTarget

BEGAN = 1_800_000_000.0
LATER = Delayed(Status("4.7.1", "Come again", 451, "mx.example.org [192.0.2.1]"))


@implementer(IDeliveryTarget, IDelivery)
class Putting:
    """Says `outcome` to everybody."""

    def __init__(self) -> None:
        self.outcome: Outcome = LATER
        self.taken: list[str] = []

    async def begin(self, envelope: Envelope) -> IDelivery:
        delivery = Putting()
        delivery.outcome, delivery.taken, delivery.added = self.outcome, self.taken, []  # type: ignore[attr-defined]
        return delivery

    async def add_recipient(self, recipient: Recipient) -> None:
        self.added.append(str(recipient.address))  # type: ignore[attr-defined]

    async def write(self, octets: bytes) -> None:
        pass

    async def commit(self) -> Sequence[Outcome]:
        self.taken += self.added  # type: ignore[attr-defined]
        return [self.outcome] * len(self.added)  # type: ignore[attr-defined]

    async def abort(self) -> None:
        pass


class Office:
    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(BEGAN)
        self.spool = MemorySpool(self.clock)
        self.target = Putting()
        self.queue = Queue(self.spool, self.target, self.clock, hostname="mx.home.example", bounces=CollectingTarget())
        self.queue.start()
        self.desk = Desk(self.spool, self.queue)
        self.count = 0

    async def send(self, *recipients: str, sender: str | None = "ann@home.example", octets: bytes = b"x" * 10) -> str:
        self.count += 1
        peer = Peer("192.0.2.7", service="submission", name="laptop", login="ann")
        delivery = await self.queue.begin(
            Envelope(parse_address(sender) if sender else None, peer, f"{self.count:016}", body="8BITMIME")
        )
        for one in recipients:
            await delivery.add_recipient(Recipient(parse_address(one)))
        await delivery.write(octets)
        await delivery.commit()
        self.clock.advance(0)  # what the attempt brought is written down at the end of the turn
        return f"{self.count:016}"


def ids(found: Any) -> list[str]:
    return [one["id"][-1] for one in found]


async def test_list_finds_what_was_asked_for() -> None:
    office = Office()
    await office.send("joe@example.org", "sue@example.net")
    await office.send("kim@example.org", sender=None)
    await office.send("lee@example.com", sender="bob@home.example")
    desk = office.desk
    assert ids(await desk.list()) == ["1", "2", "3"]
    assert ids(await desk.list(destination="Example.ORG")) == ["1", "2"]
    assert ids(await desk.list(sender="<>")) == ["2"]
    assert ids(await desk.list(sender="@home.example")) == ["1", "3"]
    assert ids(await desk.list(recipient="sue@example.net")) == ["1"]
    assert ids(await desk.list(recipient="ue@example.net")) == []
    assert ids(await desk.list(held=True)) == []
    assert ids(await desk.list(limit=2)) == ["1", "2"]
    assert ids(await desk.list(after=f"{1:016}")) == ["2", "3"]
    [one] = (await desk.list(recipient="sue@example.net"))[0]["recipients"]  # type: ignore[misc]
    assert one["address"] == "sue@example.net"


async def test_show_says_all_and_is_json() -> None:
    office = Office()
    id = await office.send("joe@example.org")
    shown = json.loads(json.dumps(await office.desk.show(id)))
    assert shown["sender"] == "ann@home.example" and shown["size"] == 10 and shown["received_at"] == BEGAN
    assert shown["client"] == "submission, laptop [192.0.2.7]" and shown["login"] == "ann"
    assert shown["options"] == ["BODY=8BITMIME"]
    [one] = shown["recipients"]
    assert one["attempts"] == 1 and not one["is_held"] and one["next_try"] > BEGAN
    assert one["last"] == {
        "outcome": "delayed",
        "code": "4.7.1",
        "text": "Come again",
        "reply": 451,
        "remote": "mx.example.org [192.0.2.1]",
    }
    assert [event["event"] for event in shown["trace"]] == ["queued", "delayed"]
    json.dumps(await office.desk.stats())
    json.dumps(await office.desk.list())


async def test_cat_gives_the_octets_in_pieces() -> None:
    office = Office()
    octets = bytes(range(256)) * 1000
    id = await office.send("joe@example.org", octets=octets)
    pieces = [piece async for piece in await office.desk.cat(id)]
    assert b"".join(pieces) == octets and len(pieces) > 1


async def test_an_unknown_id_is_said_so() -> None:
    office = Office()
    await office.send("joe@example.org")
    desk = office.desk
    for id in ("", "0", "\0", "zzz", f"{1:016}x", f"{2:016}", "\U0010ffff"):
        for verb in (desk.show, desk.cat, desk.retry, desk.hold, desk.release, desk.remove):
            with pytest.raises(MessageNotFound):
                await verb(id)
    assert await desk.trace("nobody") == []
    assert ids(await desk.list()) == ["1"]


async def test_hold_keeps_and_release_lets_go() -> None:
    office = Office()
    id = await office.send("joe@example.org")
    office.target.outcome = Delivered()
    assert await office.desk.hold(id) == 1
    assert ids(await office.desk.list(held=True)) == ["1"] and ids(await office.desk.list(held=False)) == []
    office.clock.pump([60] * 60)
    assert office.target.taken == ["joe@example.org"]
    assert await office.desk.release(id) == 1
    assert office.target.taken == ["joe@example.org"] * 2
    office.clock.advance(0)
    events = [event["event"] for event in await office.desk.trace(id)]
    assert events == ["queued", "delayed", "held", "released", "delivered"]


async def test_hold_and_release_all() -> None:
    office = Office()
    for number in range(5):
        await office.send(f"user{number}@example.org", f"user{number}@example.net")
    assert await office.desk.hold("all") == 10
    assert await office.desk.hold("all") == 0
    stats = await office.desk.stats()
    assert (stats["messages"], stats["recipients"], stats["held"], stats["next"]) == (5, 10, 10, None)
    assert await office.desk.release("all") == 10


async def test_retry_and_flush_try_now() -> None:
    office = Office()
    id = await office.send("joe@example.org")
    await office.send("sue@example.net")
    await office.send("kim@example.com")
    assert await office.desk.retry(id) == 1
    assert office.target.taken[3:] == ["joe@example.org"]
    office.clock.advance(0)
    assert await office.desk.flush("EXAMPLE.net") == 1
    assert office.target.taken[4:] == ["sue@example.net"]
    office.clock.advance(0)
    await office.desk.hold(id)
    assert await office.desk.flush() == 2
    assert sorted(office.target.taken[5:]) == ["kim@example.com", "sue@example.net"]


async def test_retry_of_what_is_delivered_at_once() -> None:
    office = Office()
    id = await office.send("joe@example.org")
    office.target.outcome = Delivered()
    assert await office.desk.retry(id) == 1
    office.clock.advance(0)
    assert await office.desk.list() == []
    assert [event["event"] for event in await office.desk.trace(id)] == ["queued", "delayed", "changed", "delivered"]


async def test_flush_asks_a_dead_destination_too() -> None:
    office = Office()
    office.target.outcome = Delayed(Status("4.4.1", "Connection refused"))
    for number in range(10):
        await office.send(f"user{number}@example.org")
    stats: Any = await office.desk.stats()
    assert "example.org" in stats["running"]["dead"]
    office.target.outcome = Delivered()
    await office.desk.flush("example.org")
    office.clock.advance(0)
    assert await office.desk.list() == []


async def test_reschedule_and_remove() -> None:
    office = Office()
    id = await office.send("joe@example.org")
    office.target.outcome = Delivered()
    assert await office.desk.reschedule(id, BEGAN + 7200) == 1
    office.clock.pump([60] * 110)
    assert len(office.target.taken) == 1
    for wrong in (-1, float("nan"), float("inf"), True, "now"):
        with pytest.raises(BadSyntax):
            await office.desk.reschedule(id, wrong)  # type: ignore[arg-type]
    assert await office.desk.remove(id) == 1
    office.clock.pump([60] * 60)
    assert len(office.target.taken) == 1 and await office.desk.list() == []
    assert (await office.desk.trace(id))[-1]["event"] == "removed"


async def test_stats_count_by_destination() -> None:
    office = Office()
    for number in range(3):
        await office.send(f"user{number}@example.org")
    await office.send("joe@example.net")
    stats: Any = await office.desk.stats()
    assert stats["messages"] == 4 and stats["size"] == 40 and stats["oldest"] == BEGAN
    assert list(stats["destinations"]) == ["example.org", "example.net"]
    assert stats["destinations"]["example.org"]["recipients"] == 3
    assert stats["destinations"]["example.org"]["waiting"] == 3
    assert BEGAN < stats["next"] < BEGAN + 400


async def test_a_desk_without_a_server_works_on_the_spool() -> None:
    office = Office()
    id = await office.send("joe@example.org")
    await office.queue.stop(0)
    desk = Desk(office.spool)
    assert await desk.retry(id) == 1 and await desk.hold(id) == 1
    stats = await desk.stats()
    assert stats["running"] is None and stats["held"] == 1
    assert await desk.remove(id) == 1
