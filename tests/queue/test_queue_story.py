"""The queue in virtual time: five days in milliseconds, with a target that does what it is told."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from email.parser import BytesParser
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound, Refused, TryLater, Unavailable
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IDestinations
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.queue import Queue
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.testing.fakes import CollectingTarget

MINUTE, HOUR, DAY = 60.0, 3600.0, 24 * 3600.0
BEGAN = 1_800_000_000.0
REFUSED = Failed(Status("5.1.1", "No such user", 550, "mx.example.org [192.0.2.1]"))
GREYLISTED = Delayed(Status("4.7.1", "Greylisted, come again", 451, "mx.example.org [192.0.2.1]"))
NO_ANSWER = Delayed(Status("4.4.1", "Connection timed out", 0, "mx.dead.example [192.0.2.9]"))
MESSAGE = b"Message-ID: <1@home.example>\r\nSubject: Lunch\r\n\r\nAt noon?\r\n"


@implementer(IDeliveryTarget)
class Scripted:
    """`says(address, attempt number)` gives an outcome, an exception, or a Deferred of an outcome."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.says: Callable[[str, int], Any] = lambda address, number: Delivered()
        self.attempts: list[tuple[float, tuple[str, ...]]] = []
        self.tried: Counter[str] = Counter()
        self.delivered: Counter[tuple[str, str]] = Counter()
        self.octets: dict[str, bytes] = {}
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def begin(self, envelope: Envelope) -> IDelivery:
        return _Scripted(self, envelope)


@implementer(IDelivery)
class _Scripted:
    def __init__(self, target: Scripted, envelope: Envelope) -> None:
        self.target, self.envelope = target, envelope
        self.recipients: list[str] = []
        self.octets = b""

    async def add_recipient(self, recipient: Recipient) -> None:
        self.recipients.append(str(recipient.address))

    async def write(self, octets: bytes) -> None:
        self.octets += octets

    async def commit(self) -> Sequence[Outcome]:
        target = self.target
        target.attempts.append((target.clock.seconds() - BEGAN, tuple(self.recipients)))
        domain = self.recipients[0].partition("@")[2]
        target.running[domain] += 1
        target.most[domain] = max(target.most[domain], target.running[domain])
        outcomes = []
        try:
            for one in self.recipients:
                target.tried[one] += 1
                outcome = target.says(one, target.tried[one])
                if isinstance(outcome, Deferred):
                    outcome = await outcome
                if isinstance(outcome, Exception):
                    raise outcome
                if isinstance(outcome, Delivered):
                    target.delivered[self.envelope.trace_id, one] += 1
                    target.octets[one] = self.octets
                outcomes.append(outcome)
        finally:
            target.running[domain] -= 1
        return outcomes

    async def abort(self) -> None:
        pass


class Story:
    """A queue, what it stands on, and a clock."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(BEGAN)
        self.spool: Any = MemorySpool(self.clock)
        self.target = Scripted(self.clock)
        self.bounces = CollectingTarget()
        self.settings = QueueSettings(**settings)
        self.count = 0
        self.queue = self.boot()

    def boot(self, target: Any = None, owner: str = "queue") -> Queue:
        queue = Queue(
            self.spool,
            target or self.target,
            self.clock,
            self.settings,
            hostname="mx.home.example",
            bounces=self.bounces,
            owner=owner,
            random=Random(7),
        )
        queue.start()
        return queue

    async def send(self, *recipients: Any, sender: str | None = "ann@home.example", **envelope: Any) -> str:
        self.count += 1
        octets = envelope.pop("octets", MESSAGE)
        envelope.setdefault("trace_id", f"{self.count:016}")
        transaction = await self.queue.begin(
            Envelope(parse_address(sender) if sender else None, Peer("", service="submission"), **envelope)
        )
        for one in recipients:
            await transaction.add_recipient(one if isinstance(one, Recipient) else Recipient(parse_address(one)))
        await transaction.write(octets)
        outcomes = await transaction.commit()
        assert all(isinstance(one, Delivered) for one in outcomes)
        self.run(0)  # what the attempt brought is written down at the end of the turn
        return envelope["trace_id"]

    def run(self, seconds: float) -> None:
        """Let time pass, event by event."""
        end = self.clock.seconds() + seconds
        while True:
            calls = [call.getTime() for call in self.clock.getDelayedCalls()]
            following = min(calls, default=end + 1)
            if following > end:
                break
            self.clock.advance(max(following - self.clock.seconds(), 0))
        self.clock.advance(end - self.clock.seconds())

    @property
    def now(self) -> float:
        return self.clock.seconds() - BEGAN

    async def queued(self) -> list[str]:
        return [
            str(one.recipient.address)
            for _, recipients in await self.spool.messages(limit=100_000)
            for one in recipients
        ]

    async def timeline(self, trace_id: str) -> list[tuple[str, str, str]]:
        return [(one.event, one.recipient, one.text) for one in await self.spool.trace(trace_id)]

    def reports(self) -> list[tuple[str, list[str]]]:
        """Action and recipients of each report."""
        found = []
        for message in self.bounces.messages:
            _, status, *_ = BytesParser().parsebytes(message.octets).get_payload()
            blocks = status.get_payload()[1:]
            found.append((blocks[0]["Action"], [one["Final-Recipient"].partition("; ")[2] for one in blocks]))
        return found


@pytest.fixture
def story() -> Story:
    return Story()


# --- one message ---------------------------------------------------------------------------------------------------


async def test_a_message_is_tried_at_once_and_leaves(story: Story) -> None:
    trace_id = await story.send("joe@example.org")
    assert story.target.octets == {"joe@example.org": MESSAGE}
    assert await story.queued() == []
    assert [event for event, *_ in await story.timeline(trace_id)] == ["queued", "delivered"]


async def test_a_message_is_durable_before_its_commit_returns(story: Story) -> None:
    story.target.says = lambda *_: Deferred()
    await story.send("joe@example.org")
    assert await story.queued() == ["joe@example.org"]


async def test_nothing_is_kept_of_a_message_that_the_spool_does_not_take(story: Story) -> None:
    async def full(*_: Any) -> None:
        raise Unavailable("the disk is full")

    story.spool.add = full
    with pytest.raises(Unavailable):
        await story.send("joe@example.org")
    story.run(HOUR)
    assert story.target.attempts == [] and story.queue.state()["in_hand"] == 0 and story.queue.state()["memory"] == 0


async def test_recipients_are_independent_and_grouped_by_destination(story: Story) -> None:
    said = {"joe@example.org": GREYLISTED, "sue@example.org": REFUSED}
    story.target.says = lambda address, number: said.get(address, Delivered()) if number == 1 else Delivered()
    trace_id = await story.send("joe@example.org", "sue@example.org", "kim@example.org", "lee@example.net")
    assert sorted(recipients for _, recipients in story.target.attempts) == [
        ("joe@example.org", "sue@example.org", "kim@example.org"),
        ("lee@example.net",),
    ]
    assert await story.queued() == ["joe@example.org"]
    assert story.reports() == [("failed", ["sue@example.org"])]
    story.run(10 * MINUTE)
    assert await story.queued() == []
    assert set(story.target.delivered.values()) == {1}
    events = await story.timeline(trace_id)
    assert ("delayed", "joe@example.org", "451 4.7.1 Greylisted, come again") in events
    assert ("failed", "sue@example.org", "550 5.1.1 No such user") in events
    assert ("bounced", "sue@example.org", "<ann@home.example> was told") in events


@implementer(IDestinations)
class Smarthost(Scripted):
    def destination_of(self, recipient: Recipient) -> str:
        return "smarthost.example"


async def test_a_smarthost_is_one_destination() -> None:
    story = Story()
    await story.queue.stop(0)
    story.target = Smarthost(story.clock)
    story.queue = story.boot()
    await story.send("joe@example.org", "lee@example.net")
    assert [recipients for _, recipients in story.target.attempts] == [("joe@example.org", "lee@example.net")]


async def test_attempts_are_made_with_the_target_of_today(story: Story) -> None:
    story.target.says = lambda address, number: GREYLISTED
    await story.send("joe@example.org")
    story.queue.target = other = Smarthost(story.clock)
    story.run(86400)
    assert story.target.attempts == [(0.0, ("joe@example.org",))]
    assert other.tried == {"joe@example.org": 1}
    await story.send("joe@example.org", "lee@example.net")
    assert other.attempts[-1][1] == ("joe@example.org", "lee@example.net")  # grouped as that one says


async def test_a_hundred_recipients_an_attempt(story: Story) -> None:
    await story.send(*[f"user{n}@example.org" for n in range(250)])
    assert sorted(len(recipients) for _, recipients in story.target.attempts) == [50, 100, 100]
    assert len(story.target.delivered) == 250 and set(story.target.delivered.values()) == {1}


async def test_a_message_too_large_for_memory_is_read_from_the_spool() -> None:
    story = Story(memory=10)
    await story.send("joe@example.org")
    story.run(1)
    assert story.target.octets == {"joe@example.org": MESSAGE}


@pytest.mark.parametrize(
    ("problem", "becomes"),
    [
        (Refused(REFUSED.status), "failed"),
        (TryLater(GREYLISTED.status), "delayed"),
        (Unavailable("a lock"), "delayed"),
        (RuntimeError("a bug"), "delayed"),
    ],
)
async def test_what_a_target_raises_is_an_outcome(story: Story, problem: Exception, becomes: str) -> None:
    story.target.says = lambda *_: problem
    trace_id = await story.send("joe@example.org")
    event, _, text = (await story.timeline(trace_id))[1]
    assert event == becomes
    assert "bug" not in text and "lock" not in text


# --- the schedule --------------------------------------------------------------------------------------------------


async def test_five_days_of_retries_and_then_a_bounce_with_the_last_words(story: Story) -> None:
    story.target.says = lambda *_: GREYLISTED
    trace_id = await story.send("joe@example.org")
    story.run(6 * DAY)
    times = [time for time, _ in story.target.attempts]
    assert times[-1] == 5 * DAY
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    for gap, planned in zip(gaps, [5, 10, 20, 40, 60, 120, 180, 180, 180], strict=False):
        assert planned * MINUTE * 0.8 <= gap <= planned * MINUTE * 1.2
    assert len(set(gaps)) == len(gaps), "chance moves them"
    assert 40 < len(times) < 60
    assert await story.queued() == []
    assert story.reports() == [("delayed", ["joe@example.org"]), ("failed", ["joe@example.org"])]
    bounce = story.bounces.messages[1].octets
    assert b"Status: 5.4.7" in bounce and b"Diagnostic-Code: smtp; 451 Greylisted, come again" in bounce
    told = [event for event, *_ in await story.timeline(trace_id) if event not in ("delayed",)]
    assert told == ["queued", "delay-notice", "failed", "bounced"]


async def test_the_age_counts_from_when_the_message_was_taken(story: Story) -> None:
    story.target.says = lambda *_: GREYLISTED
    await story.send("joe@example.org", received_at=BEGAN - 5 * DAY)
    assert story.reports() == [("failed", ["joe@example.org"])]


async def test_a_delay_is_told_once_and_only_to_who_wants_it(story: Story) -> None:
    story.target.says = lambda *_: GREYLISTED
    await story.send("joe@example.org")
    await story.send(Recipient(parse_address("sue@example.org"), notify=frozenset({"FAILURE"})))
    await story.send(Recipient(parse_address("kim@example.org"), notify=frozenset({"NEVER"})))
    await story.send("lee@example.org", sender=None)
    story.run(3.5 * HOUR)
    assert story.reports() == []
    story.run(20 * HOUR)
    assert story.reports() == [("delayed", ["joe@example.org"])]
    story.run(5 * DAY)
    assert sorted(story.reports()) == [
        ("delayed", ["joe@example.org"]),
        ("failed", ["joe@example.org"]),
        ("failed", ["sue@example.org"]),
    ]
    assert await story.queued() == []


async def test_reports_are_from_nobody_and_come_from_the_queue(story: Story) -> None:
    story.target.says = lambda *_: REFUSED
    await story.send("joe@example.org")
    [report] = story.bounces.messages
    assert report.envelope.sender is None
    assert report.envelope.peer == Peer(host="", service="queue", is_local=True)
    assert report.recipients == [Recipient(parse_address("ann@home.example"), notify=frozenset({"NEVER"}))]


async def test_a_success_is_told_where_it_was_asked_for_and_written_down_before(story: Story) -> None:
    wanted = Recipient(parse_address("joe@example.org"), notify=frozenset({"SUCCESS", "FAILURE"}))
    story.target.says = lambda *_: Delivered(Status("2.0.0", "queued as 1", 250, "mx.example.org [192.0.2.1]"))
    held_up: Deferred[None] = Deferred()
    story.bounces.gate = lambda: held_up
    await story.send(wanted, "sue@example.org")
    story.run(1)
    # The report is not durable yet: only that is left to do.
    [(_, [left])] = await story.spool.messages()
    assert left.recipient == wanted and isinstance(left.last, Delivered)
    story.bounces.gate = None
    held_up.callback(None)
    story.run(1)
    assert story.reports() == [("relayed", ["joe@example.org"])]
    assert await story.queued() == [] and story.target.tried["joe@example.org"] == 1


# --- bounces that cannot be brought --------------------------------------------------------------------------------


async def test_news_that_cannot_be_brought_now_stays_until_it_can(story: Story) -> None:
    story.target.says = lambda *_: REFUSED
    story.bounces.refusals["sender"] = TryLater(Status("4.3.1", "No space", 452))
    await story.send("joe@example.org")
    story.run(2 * DAY)
    assert await story.queued() == ["joe@example.org"]
    assert story.target.tried["joe@example.org"] == 1, "it is not sent again meanwhile"
    del story.bounces.refusals["sender"]
    story.run(4 * HOUR)
    assert story.reports() == [("failed", ["joe@example.org"])]
    assert await story.queued() == []


async def test_news_that_nobody_takes_is_in_the_timeline(story: Story) -> None:
    story.target.says = lambda *_: REFUSED
    story.bounces.refusals["ann@home.example"] = Refused(Status("5.1.1", "No such user here", 550))
    trace_id = await story.send("joe@example.org")
    assert await story.queued() == []
    assert (await story.timeline(trace_id))[-1] == (
        "failed",
        "joe@example.org",
        "<ann@home.example> cannot be told: 550 5.1.1 No such user here",
    )


async def test_a_null_sender_gets_no_bounce(story: Story) -> None:
    story.target.says = lambda *_: REFUSED
    trace_id = await story.send("joe@example.org", sender=None)
    assert story.bounces.messages == [] and await story.queued() == []
    assert (await story.timeline(trace_id))[-1][0] == "failed"


async def test_one_report_for_all_who_failed_in_an_attempt(story: Story) -> None:
    story.target.says = lambda *_: REFUSED
    await story.send("joe@example.org", "sue@example.org")
    assert story.reports() == [("failed", ["joe@example.org", "sue@example.org"])]


# --- exactly once --------------------------------------------------------------------------------------------------


async def test_a_spool_that_fails_after_an_attempt_is_asked_again_not_the_target(story: Story) -> None:
    settle, failures = story.spool.settle, [3]

    async def stubborn(*arguments: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise Unavailable("the disk is full")
        await settle(*arguments)

    story.spool.settle = stubborn
    await story.send("joe@example.org")
    assert await story.queued() == ["joe@example.org"]
    story.run(20)
    assert await story.queued() == [] and story.target.tried["joe@example.org"] == 1


async def test_a_crash_before_the_reply_tries_again_and_after_it_does_not(story: Story) -> None:
    story.target.says = lambda address, _: Deferred() if address.startswith("slow") else Delivered()
    await story.send("slow@example.org", "quick@example.net")
    await story.queue.stop(0)
    story.spool = story.spool.reopened()
    story.target.says = lambda *_: Delivered()
    story.queue = story.boot()
    story.run(1)
    assert await story.queued() == []
    assert story.target.tried == {"slow@example.org": 2, "quick@example.net": 1}


async def test_the_work_of_a_dead_process_is_taken_over_by_another(story: Story) -> None:
    story.target.says = lambda *_: Deferred()
    await story.send("joe@example.org")
    await story.queue.stop(0)
    other = Scripted(story.clock)
    story.queue = story.boot(other, owner="another host")
    story.run(4 * MINUTE)
    assert other.attempts == []
    story.run(3 * MINUTE)
    assert other.tried["joe@example.org"] == 1 and await story.queued() == []


async def test_a_slow_attempt_keeps_its_lease(story: Story) -> None:
    reply: Deferred[Outcome] = Deferred()
    story.target.says = lambda *_: reply
    await story.send("joe@example.org")
    other = Scripted(story.clock)
    second = story.boot(other, owner="another host")
    story.run(2 * HOUR)
    reply.callback(Delivered())
    story.run(2 * HOUR)
    assert other.attempts == [] and story.target.tried["joe@example.org"] == 1 and await story.queued() == []
    await second.stop(0)


async def test_the_same_trace_id_twice_is_two_messages(story: Story) -> None:
    story.target.says = lambda *_: GREYLISTED
    await story.send("joe@example.org", trace_id="0123456789abcdef")
    await story.send("sue@example.org", trace_id="0123456789abcdef")
    assert await story.queued() == ["joe@example.org", "sue@example.org"]
    found = await story.timeline("0123456789abcdef")
    assert [text for event, _, text in found if event == "queued"][1].startswith("as 0123456789abcdef.2: ")


async def test_a_queue_can_be_started_again(story: Story) -> None:
    story.target.says = lambda *_: Deferred()
    for number in range(20):
        await story.send(f"user{number}@example.org")
    story.run(1)
    await story.queue.stop(0)
    assert story.queue.state()["in_hand"] == 0 and story.queue.state()["memory"] == 0
    story.target.says = lambda *_: Delivered()
    story.queue.start()
    story.run(10 * MINUTE)
    assert await story.queued() == [] and set(story.target.delivered.values()) == {1}


async def test_stop_lets_attempts_end_and_takes_nothing_new(story: Story) -> None:
    reply: Deferred[Outcome] = Deferred()
    story.target.says = lambda *_: reply
    await story.send("joe@example.org")
    stopping = Deferred.fromCoroutine(story.queue.stop(30))
    with pytest.raises(TryLater):
        await story.send("sue@example.org")
    story.run(10)
    assert not stopping.called
    reply.callback(Delivered())
    await stopping
    assert await story.queued() == []
    story.run(DAY)
    assert story.clock.getDelayedCalls() == []


async def test_stop_cuts_off_what_does_not_end(story: Story) -> None:
    story.target.says = lambda *_: Deferred()
    await story.send("joe@example.org")
    stopping = Deferred.fromCoroutine(story.queue.stop(30))
    story.run(31)
    await stopping
    assert await story.queued() == ["joe@example.org"]


# --- poison --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [BlobNotFound("gone"), ValueError("a wrong checksum"), b"torn"])
async def test_a_message_that_cannot_be_read_is_held_and_the_others_go_on(poison: Any) -> None:
    story = Story(memory=0)
    read = story.spool.read_blob

    async def poisoned(blob_id: str, offset: int, size: int) -> bytes:
        if blob_id == "B1":
            if isinstance(poison, Exception):
                raise poison
            return poison[offset : offset + size]  # type: ignore[no-any-return]
        return await read(blob_id, offset, size)

    story.spool.read_blob = poisoned
    trace_id = await story.send("joe@example.org")
    await story.send("sue@example.org")
    story.run(6 * DAY)
    assert set(story.target.octets) == {"sue@example.org"}
    [(_, [left])] = await story.spool.messages()
    assert left.is_held and str(left.recipient.address) == "joe@example.org"
    assert (await story.timeline(trace_id))[-1][0] == "held"


async def test_a_disk_that_is_ill_for_an_hour_is_no_poison() -> None:
    story = Story(memory=0)
    read = story.spool.read_blob

    async def ill(*arguments: Any) -> bytes:
        if story.now < HOUR:
            raise Unavailable("I/O error")
        return await read(*arguments)

    story.spool.read_blob = ill
    await story.send("joe@example.org")
    story.run(3 * HOUR)
    assert story.target.octets == {"joe@example.org": MESSAGE}


async def test_a_spool_that_cannot_be_asked_for_an_hour_is_asked_again(story: Story) -> None:
    story.target.says = lambda address, number: GREYLISTED if number == 1 else Delivered()
    await story.send("joe@example.org")
    lease = story.spool.lease

    async def ill(*arguments: Any) -> Any:
        if story.now < HOUR:
            raise Unavailable("I/O error")
        return await lease(*arguments)

    story.spool.lease = ill
    story.run(2 * HOUR)
    assert await story.queued() == []


# --- many destinations ---------------------------------------------------------------------------------------------


def slow_death(story: Story) -> Callable[[str, int], Any]:
    """dead.example lets every connection run into its time limit; others answer in half a second."""

    def says(address: str, number: int) -> Any:
        reply: Deferred[Outcome] = Deferred()
        if address.endswith("@dead.example"):
            story.clock.callLater(30, reply.callback, NO_ANSWER)
        else:
            story.clock.callLater(0.5, reply.callback, Delivered())
        return reply

    return says


async def test_ten_thousand_for_a_dead_host_do_not_hold_up_another(story: Story) -> None:
    story.target.says = slow_death(story)
    for number in range(10_000):
        await story.send(f"user{number}@dead.example")
        if number % 200 == 0:
            await story.send(f"user{number}@live.example")
    story.run(10)
    assert sum(address.endswith("@live.example") for _, address in story.target.delivered) == 50
    story.run(8 * HOUR)
    dead = sum(count for address, count in story.target.tried.items() if address.endswith("@dead.example"))
    # Put off together: one in a while asks whether it is back, and each still knows why it waits.
    assert dead < 400, dead
    queued = await story.spool.messages(limit=20_000)
    assert len(queued) == 10_000
    assert all(one.last == NO_ANSWER and one.delay_told for _, [one] in queued)
    assert len(story.bounces.messages) == 10_000
    assert story.target.most["dead.example"] <= 5
    # A new one for the living still goes at once, after as before a restart.
    await story.send("late@live.example")
    story.run(1)
    assert story.target.tried["late@live.example"] == 1
    await story.queue.stop(0)
    story.spool = story.spool.reopened()
    story.queue = story.boot()
    story.run(1)
    await story.send("later@live.example")
    story.run(1)
    assert story.target.tried["later@live.example"] == 1
    story.target.says = lambda *_: Delivered()
    story.queue.revive()
    story.run(5 * HOUR)
    assert await story.queued() == []
    assert len(story.target.delivered) == 10_052 and set(story.target.delivered.values()) == {1}


async def test_hundreds_of_dead_destinations_leave_room_for_the_living() -> None:
    story = Story(attempts=40)
    story.target.says = lambda address, _: (
        Delivered() if address.endswith("@live.example") else slow_death(story)("x@dead.example", 1)
    )
    for number in range(1200):
        await story.send(f"user@dead{number % 400}.example")
    story.run(HOUR)
    began = story.now
    await story.send("joe@live.example")
    story.run(1)
    assert next(time for time, who in story.target.attempts if who == ("joe@live.example",)) - began <= 1


async def test_a_destination_that_comes_back_is_noticed(story: Story) -> None:
    story.target.says = lambda address, _: NO_ANSWER if story.now < 3 * HOUR else Delivered()
    for number in range(500):
        await story.send(f"user{number}@example.org")
    story.run(8 * HOUR)
    assert await story.queued() == []
    assert set(story.target.delivered.values()) == {1}
    assert story.queue.state()["dead"] == {}


async def test_success_widens_and_failure_narrows() -> None:
    story = Story()
    story.target.says = slow_death(story)
    for number in range(1500):
        await story.send(f"user{number}@busy.example")
    assert story.target.most["busy.example"] == 5
    story.run(60)
    assert story.target.most["busy.example"] == 20
    story.run(600)
    assert await story.queued() == []


async def test_destinations_take_turns() -> None:
    story = Story(attempts=4, destination_start=1, destination_most=1)
    story.target.says = slow_death(story)
    for number in range(40):
        await story.send(f"user{number}@a.example")
    await story.send("joe@b.example")
    story.run(2)
    assert story.target.delivered[next(key for key in story.target.delivered if key[1] == "joe@b.example")] == 1


async def test_never_more_attempts_than_the_settings_say() -> None:
    story = Story(attempts=10)
    story.target.says = slow_death(story)
    most = 0
    for number in range(300):
        await story.send(f"user@host{number}.example")
        most = max(most, int(story.queue.state()["attempts"]))  # type: ignore[call-overload]
    for _ in range(400):
        story.run(0.1)
        most = max(most, int(story.queue.state()["attempts"]))  # type: ignore[call-overload]
    assert most == 10
    assert await story.queued() == []


async def test_two_processes_share_a_spool_and_nobody_gets_anything_twice(story: Story) -> None:
    random = Random(3)

    def says(address: str, number: int) -> Any:
        reply: Deferred[Outcome] = Deferred()
        outcome = random.choice([Delivered(), GREYLISTED, NO_ANSWER])
        story.clock.callLater(random.uniform(0, 60), reply.callback, outcome)
        return reply

    story.target.says = says
    first, second = story.queue, story.boot(owner="another host")
    for number in range(300):
        story.queue = random.choice([first, second])
        await story.send(f"user{number}@host{number % 7}.example", f"other{number}@host{number % 5}.example")
    story.run(4 * DAY)
    assert await story.queued() == []
    assert len(story.target.delivered) == 600 and set(story.target.delivered.values()) == {1}
    await second.stop(0)


async def test_a_queue_without_anything_to_do_costs_nothing_but_a_look_now_and_then(story: Story) -> None:
    looks = [0]
    lease = story.spool.lease

    async def counting(*arguments: Any) -> Any:
        looks[0] += 1
        return await lease(*arguments)

    story.spool.lease = counting
    story.target.says = lambda *_: GREYLISTED
    await story.send("joe@example.org")
    story.run(HOUR)
    assert looks[0] <= 60 + 10


# --- found by breaking it on purpose -------------------------------------------------------------------------------


async def test_a_machine_that_slept_past_its_leases_does_not_begin_again_what_it_is_at(story: Story) -> None:
    reply: Deferred[Outcome] = Deferred()
    story.target.says = lambda *_: reply
    await story.send("joe@example.org")
    story.clock.advance(2 * HOUR)  # in one leap: nobody could renew
    story.run(HOUR)
    assert story.target.tried["joe@example.org"] == 1
    reply.callback(Delivered())
    story.run(HOUR)
    assert await story.queued() == [] and story.target.tried["joe@example.org"] == 1


async def test_a_delay_notice_that_cannot_be_brought_now_is_brought_later(story: Story) -> None:
    story.target.says = lambda *_: GREYLISTED
    story.bounces.refusals["sender"] = TryLater(Status("4.3.1", "No space", 452))
    await story.send("joe@example.org")
    story.run(12 * HOUR)
    [(_, [waiting])] = await story.spool.messages()
    assert not waiting.delay_told
    del story.bounces.refusals["sender"]
    story.run(12 * HOUR)
    assert story.reports() == [("delayed", ["joe@example.org"])]


async def test_asking_the_dead_takes_a_quarter_of_all_attempts_at_most() -> None:
    story = Story(attempts=20)
    story.target.says = lambda address, _: slow_death(story)("x@dead.example", 1)
    for number in range(300):
        await story.send(f"user@dead{number}.example")
        await story.send(f"user@dead{number}.example")
    story.run(4 * HOUR)
    most = 0
    for _ in range(300):
        story.run(10)
        most = max(most, int(story.queue.state()["attempts"]))  # type: ignore[call-overload]
    assert 0 < most <= 5


@pytest.mark.parametrize(
    ("ret", "size", "settings", "returned"),
    [
        ("FULL", 10, {}, "message/rfc822"),
        ("HDRS", 10, {}, "text/rfc822-headers"),
        ("", 10, {}, "text/rfc822-headers"),
        ("", 10, {"returned": "full"}, "message/rfc822"),
        ("HDRS", 10, {"returned": "full"}, "text/rfc822-headers"),
        ("FULL", 5000, {"returned_size": 2000}, "text/rfc822-headers"),
    ],
)
async def test_what_is_returned_is_what_the_sender_asked_for(
    ret: str, size: int, settings: dict[str, Any], returned: str
) -> None:
    story = Story(**settings)
    story.target.says = lambda *_: REFUSED
    await story.send("joe@example.org", ret=ret, octets=MESSAGE + b"x" * 70 + b"\r\n" + b"y\r\n" * (size // 3))
    [report] = story.bounces.messages
    assert BytesParser().parsebytes(report.octets).get_payload()[2].get_content_type() == returned


async def test_a_delay_notice_never_returns_the_whole_message(story: Story) -> None:
    story.target.says = lambda *_: GREYLISTED
    await story.send("joe@example.org", ret="FULL")
    story.run(8 * HOUR)
    [report] = story.bounces.messages
    assert BytesParser().parsebytes(report.octets).get_payload()[2].get_content_type() == "text/rfc822-headers"


# --- many at once ----------------------------------------------------------------------------------------------------


async def test_what_waits_its_turn_is_sent_from_memory_in_the_order_in_which_it_came() -> None:
    story = Story(destination_start=1, destination_most=1)
    answers: list[Deferred[Outcome]] = []
    story.target.says = lambda address, number: answers.append(Deferred()) or answers[-1]

    async def unread(*_: Any) -> bytes:
        raise AssertionError("it lies in memory")

    story.spool.read_blob = unread
    for number in range(5):
        await story.send(f"user{number}@example.org", octets=b"%d" % number)
    for done in range(5):
        assert len(answers) == done + 1
        answers[done].callback(Delivered())
        story.run(0)
    assert list(story.target.octets.items()) == [(f"user{number}@example.org", b"%d" % number) for number in range(5)]
    assert await story.queued() == []


async def test_what_comes_while_older_mail_waits_in_the_spool_does_not_overtake_it() -> None:
    story = Story(destination_start=1, destination_most=1, attempts=4)
    answers: list[Deferred[Outcome]] = []
    story.target.says = lambda address, number: answers.append(Deferred()) or answers[-1]
    for number in range(30):
        await story.send(f"user{number}@example.org")
        story.run(0.001)  # so that each has come later than the one before
        if number % 3 == 2:
            answers[-1].callback(Delivered())
            story.run(0)
    while any(not one.called for one in answers):
        answers[-1].callback(Delivered())
        story.run(1)
    assert [names for _, names in story.target.attempts] == [(f"user{number}@example.org",) for number in range(30)]


async def test_attempts_that_end_together_are_written_down_together(story: Story) -> None:
    answers: list[Deferred[Outcome]] = []
    story.target.says = lambda address, number: answers.append(Deferred()) or answers[-1]
    settle, settled = story.spool.settle, []

    async def counting(some: Any, events: Any = ()) -> None:
        settled.append(len(some))
        await settle(some, events)

    story.spool.settle = counting
    for number in range(5):
        await story.send(f"user{number}@example.org")
    for one in answers:
        one.callback(Delivered())
    assert settled == []
    story.run(0)
    assert settled == [5] and await story.queued() == []


async def test_one_that_cannot_be_written_down_does_not_hold_up_those_who_ended_with_it(story: Story) -> None:
    answers: list[Deferred[Outcome]] = []
    story.target.says = lambda address, number: answers.append(Deferred()) or answers[-1]
    settle, is_ill = story.spool.settle, [True]

    async def choosy(some: Any, events: Any = ()) -> None:
        if is_ill[0] and any("user2" in str(one.recipient.recipient.address) for one in some):
            raise ValueError("that cannot be written down")
        await settle(some, events)

    story.spool.settle = choosy
    for number in range(5):
        await story.send(f"user{number}@example.org")
    for one in answers:
        one.callback(Delivered())
    story.run(1)
    assert await story.queued() == ["user2@example.org"]
    is_ill[0] = False
    story.run(60)
    assert await story.queued() == [] and set(story.target.tried.values()) == {1}


async def test_stop_writes_down_what_has_just_ended_and_being_killed_does_not(story: Story) -> None:
    answers: list[Deferred[Outcome]] = []
    story.target.says = lambda address, number: answers.append(Deferred()) or answers[-1]
    for seconds, left in ((30.0, []), (0.0, ["user1@example.org"])):
        await story.send(f"user{len(answers)}@example.org")
        answers[-1].callback(Delivered())
        await story.queue.stop(seconds)
        story.run(1)
        assert await story.queued() == left
        assert story.queue.state()["in_hand"] == 0
        story.queue.start()
