"""Each limit is counted when it bites, once, and no other one is: the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.metrics.counting import bites, counting, reached
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Outcome, Status
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.queue import Queue
from twisted_mail_kit.queue.settings import QueueSettings


@implementer(IDeliveryTarget)
class Target:
    """Says what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.outcome: Outcome = Delivered()
        self.hold: Deferred[None] | None = None

    async def begin(self, envelope: Envelope) -> IDelivery:
        return _Given(self)


@implementer(IDelivery)
class _Given:
    def __init__(self, target: Target) -> None:
        self.target = target
        self.count = 0

    async def add_recipient(self, recipient: Recipient) -> None:
        self.count += 1

    async def write(self, octets: bytes) -> None:
        pass

    async def commit(self) -> Sequence[Outcome]:
        if self.target.hold is not None:
            waiting: Deferred[None] = Deferred()
            self.target.hold.addCallback(lambda _: waiting.callback(None))
            await waiting
        return [self.target.outcome] * self.count

    async def abort(self) -> None:
        pass


class Sending:
    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.target = Target()
        self.queue = Queue(
            MemorySpool(self.clock), self.target, self.clock, QueueSettings(**settings), hostname="mx.example.org"
        )
        self.queue.start()

    def send(self, domain: str = "away.example", id: str = "1") -> None:
        async def work() -> None:
            sender = Address("ann", "example.org")
            envelope = Envelope(sender, Peer("", service="lmtp"), id, received_at=self.clock.seconds())
            delivery = await self.queue.begin(envelope)
            await delivery.add_recipient(Recipient(Address("joe", domain)))
            await delivery.write(b"Subject: x\r\n\r\n")
            await delivery.commit()

        Deferred.fromCoroutine(work())
        self.clock.advance(0)


LATER = Delayed(Status("4.7.1", "Greylisted", 451))


def test_the_delay_notice_and_the_age_of_what_is_queued() -> None:
    sending = Sending(age=2 * 86400, delay_notice=4 * 3600, gaps=(3600,), jitter=0)
    sending.target.outcome = LATER
    sending.send()
    with bites("queue_delay_notice"):
        for _ in range(4 * 60 + 1):
            sending.clock.advance(60)
    # The notice is owed until somebody takes it, and nobody is there for it: it is counted each time it is tried.
    with counting() as change:
        for _ in range(48 * 60):
            sending.clock.advance(60)
    assert "queue_age" in reached(change)


def test_attempts_at_once() -> None:
    sending = Sending(attempts=1)
    sending.target.hold = Deferred()
    sending.send("one.example", "1")
    with bites("queue_attempts"):
        sending.send("two.example", "2")
        sending.clock.advance(1)
    sending.target.hold.callback(None)


def test_attempts_for_a_destination() -> None:
    sending = Sending(destination_start=1, destination_most=1)
    sending.target.hold = Deferred()
    sending.send(id="1")
    with bites("queue_destination"):
        sending.send(id="2")
        sending.clock.advance(1)
    sending.target.hold.callback(None)
