"""Fifty hosts, thousands of messages, all that goes wrong with mail, and a server of ours that crashes.

In the end every recipient of every message was delivered to, or his sender was told, exactly once; but where a reply
was lost, or our server crashed between a reply and its own disk, there may be one more for each such accident, and the
accidents are counted. `MAILKIT_SIMULATION=10000` is the full size; `MAILKIT_SEED` another story.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter, defaultdict
from email.parser import BytesParser
from random import Random

import pytest

from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.testing.fakes import CollectingTarget
from twisted_mail_kit.testing.world import Behaviour, Fault, World

try:
    from twisted_mail_kit.queue.memory import MemorySpool
    from twisted_mail_kit.queue.queue import Queue
    from twisted_mail_kit.queue.settings import QueueSettings
    from twisted_mail_kit.smtp.relay.relay import Relay
    from twisted_mail_kit.smtp.relay.settings import RelaySettings
except ImportError as problem:  # pragma: no cover
    pytest.skip(f"the queue or the relay is not there yet: {problem}", allow_module_level=True)

MESSAGES = int(os.environ.get("MAILKIT_SIMULATION", "2000"))
SEED = os.environ.get("MAILKIT_SEED", "1")
HOSTS = 50
HOUR = 3600.0
DAY = 24 * HOUR
BUSY = 12 * HOUR
"""In this time all messages are submitted, and our server crashes."""
CRASHES = 6
HOME = "mx.home.example"

Pair = tuple[str, str]
"""A message's Message-ID and a recipient of it."""


class Simulation:
    """One run: hosts and faults by the seed, then mail, crashes, and the end."""

    def __init__(self, seed: str, messages: int) -> None:
        self.world = world = World(seed, name=HOME)
        self.spool = MemorySpool(world.timeline)
        self.bounces = CollectingTarget()
        self.expected: set[Pair] = set()
        self.waiting: dict[int, Envelope] = {}
        """Submissions that were not answered yet."""
        self.excused: Counter[Pair] = Counter()
        """How many more there may be of each."""
        self.crash_doubts: set[object] = set()
        self.queues: list[Queue] = []
        """The dead ones too: nothing of them may be collected before the end, as it would be tidied up."""
        self.resubmitted = 0
        self.domains = self._build(world.random)
        self.plan = [self._message(number, world.random) for number in range(messages)]
        world.node.boot = self._boot
        self._boot(world.reactor)

    # --- the world -------------------------------------------------------------------------------------------------

    def _build(self, random: Random) -> list[str]:
        world = self.world
        domains = [f"d{number}.example" for number in range(HOSTS - 5)]
        for number in range(HOSTS):
            # The last five are second servers of the first five domains.
            domain, preference = (domains[number], 10) if number < HOSTS - 5 else (domains[number - HOSTS + 5], 20)
            addresses = [f"192.0.2.{number + 1}"] + ([f"2001:db8:1::{number + 1:x}"] if number % 3 == 0 else [])
            world.add_host(
                f"mx{number}.{domain}",
                addresses,
                self._behaviour(number, random),
                domains=[domain],
                preference=preference,
            )
        world.dns.add("null.example", "MX", (0, ""))
        world.dns.fail("d7.example", "servfail", 1 * HOUR, 9 * HOUR)
        world.dns.fail("d8.example", "timeout", 2 * HOUR, 4 * HOUR, chance=0.7)
        world.dns.fail("", "timeout", 5 * HOUR, 5.1 * HOUR)
        return [*domains, "null.example", "nowhere.example"]

    def _behaviour(self, number: int, random: Random) -> Behaviour:
        faults: list[Fault] = []
        if number in (11, 12):
            faults.append(Fault(("unreachable", "refused")[number - 11]))  # dead, for good
        if number in (13, 14, 15):
            start = random.uniform(0, BUSY)
            faults.append(Fault(("unreachable", "mute", "refused")[number - 13], 1.0, start, start + 30 * HOUR))
        for kind, most in (
            ("refused", 0.3),
            ("unreachable", 0.1),
            ("mute", 0.03),
            ("slow", 0.1),
            ("busy", 0.2),
            ("tls-broken", 0.05),
            ("mail-4xx", 0.1),
            ("rcpt-4xx", 0.15),
            ("rcpt-5xx", 0.02),
            ("data-4xx", 0.1),
            ("data-5xx", 0.02),
            ("cut", 0.15),
            ("lost-reply", 0.08),
        ):
            if random.random() < 0.4:
                start = random.uniform(0, BUSY)
                faults.append(Fault(kind, random.uniform(0, most), start, start + random.uniform(HOUR, 2 * DAY)))
        return Behaviour(
            faults=tuple(faults),
            greylist=random.choice([60.0, 300.0, 900.0]) if random.random() < 0.25 else None,
            lacks=[word for word in ("PIPELINING", "CHUNKING", "STARTTLS", "DSN", "SIZE") if random.random() < 0.15],
            unknown={f"user{one}@d{number}.example" for one in range(0, 100, 25)},
            latency=random.uniform(0.001, 0.2),
        )

    def _message(self, number: int, random: Random) -> tuple[float, str, list[str], bytes]:
        """When, from whom, for whom, and what."""
        recipients = [
            f"user{random.randrange(100)}@{random.choice(self.domains)}" for _ in range(random.choice([1, 1, 1, 2, 3]))
        ]
        if random.random() < 0.1:  # several in one domain
            domain = recipients[0].partition("@")[2]
            recipients += [f"user{random.randrange(100)}@{domain}" for _ in range(4)]
        recipients = list(dict.fromkeys(recipients))
        message_id = f"<{number}@home.example>"
        self.expected |= {(message_id, one) for one in recipients}
        body = b"A line of text.\r\n" * random.randrange(1, 40)
        octets = f"Message-ID: {message_id}\r\nSubject: number {number}\r\n\r\n".encode() + body
        return random.uniform(0, BUSY), f"sender{number % 20}@home.example", recipients, octets

    # --- our server ------------------------------------------------------------------------------------------------

    def _boot(self, reactor: object) -> None:
        world = self.world
        if self.queues:
            self.spool = self.spool.reopened()
        lives = len(self.queues)
        relay = Relay(
            world.reactor,
            world.resolver,
            HOME,
            RelaySettings(),
            shuffler=Random(f"{world.seed} shuffler {lives}"),
        )
        queue = Queue(
            world.node.disk(self.spool),
            relay,
            world.reactor,
            QueueSettings(),
            hostname=HOME,
            bounces=world.node.disk(self.bounces),
            random=Random(f"{world.seed} queue {lives}"),
        )
        self.queues.append(queue)
        queue.start()
        for number in list(self.waiting):  # whoever got no answer comes again
            self.resubmitted += 1
            self._submit(number)

    def _submit(self, number: int) -> None:
        world = self.world
        _, sender, _, _ = self.plan[number]
        envelope = Envelope(
            parse_address(sender),
            Peer("", service="submission", is_local=True),
            f"sim{len(self.queues):02}{number:011}",
        )
        self.waiting[number] = envelope
        if world.reactor.is_alive:  # else at the restart
            world.start(self._hand_in(number, envelope)).addErrback(lambda failure: world.failures.append(failure))

    async def _hand_in(self, number: int, envelope: Envelope) -> None:
        _, _, recipients, octets = self.plan[number]
        delivery = await self.queues[-1].begin(envelope)
        for one in recipients:
            await delivery.add_recipient(Recipient(parse_address(one)))
        await delivery.write(octets)
        await delivery.commit()
        del self.waiting[number]

    # --- the story -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        world = self.world
        for number, (when, *_) in enumerate(self.plan):
            world.timeline.at(world.timeline.began + when, self._submit, number)
        for host in list(world.hosts.values())[20:26]:  # others crash too
            when = world.timeline.began + world.random.uniform(0.05, 0.95) * BUSY
            world.timeline.at(when, world.crash, host, world.random.random() < 0.5)
            world.timeline.at(when + world.random.uniform(1, 3600), world.restart, host)
        for number, when in enumerate(sorted(world.random.uniform(0.05, 0.95) * BUSY for _ in range(CRASHES))):
            world.run(max(0.0, when - world.now))
            self._find_a_bad_moment(number)
            world.crash(power_cut=world.random.random() < 0.5)
            self._excuse_the_crash()
            world.run(world.random.uniform(1, 600))
            world.restart()
        world.run(max(0.0, BUSY - world.now))
        while self.queued() and world.now < 7 * DAY:
            world.run(HOUR)

    def _find_a_bad_moment(self, number: int) -> None:
        """In an attempt; between the other side's taking a message and our hearing of it; or just after that."""
        world = self.world
        if number % 3 == 0:
            world.run_until(lambda: self.queues[-1].state()["attempts"], HOUR)
            world.run(world.random.uniform(0, 1))
            return
        count = len(world.receipts)
        world.run_until(lambda: len(world.receipts) > count, HOUR)
        if number % 3 == 2 and world.receipts:
            last = world.receipts[-1]
            world.run_until(lambda: last.heard_at is not None, 1)
            world.run(world.random.uniform(0, 0.006))

    def queued(self) -> list[Pair]:
        """Who is in the spool."""
        found: list[Pair] = []
        after = ""
        while page := self.world.wait(self.spool.messages(after)):
            for message, recipients in page:
                number = int(message.id[5:]) if message.id.startswith("sim") else -1
                found += [(f"<{number}@home.example>", str(one.recipient.address)) for one in recipients]
            after = page[-1][0].id
        return found

    def _excuse_the_crash(self) -> None:
        """Who may get a message again, or hear of it again, since what was done could not be written down."""
        queued = set(self.queued())
        now = self.world.timeline.rightNow
        for one in self.world.receipts:
            pair = one.message_id, one.recipient
            was_heard = one.heard_at is not None and now - one.heard_at < HOUR / 2
            if pair in queued and was_heard and one not in self.crash_doubts:
                self.crash_doubts.add(one)
                self.excused[pair] += 1
        for report in self.bounces.messages:
            for action, pair in news(report.octets):
                if action == "failed" and pair in queued and report not in self.crash_doubts:
                    self.crash_doubts.add(report)
                    self.excused[pair] += 1
        taken = queued | {(one.message_id, one.recipient) for one in self.world.receipts}
        for number in self.waiting:  # durable, and whoever handed it in does not know
            pairs = [(f"<{number}@home.example>", one) for one in self.plan[number][2]]
            self.excused.update(pair for pair in pairs if pair in taken)

    # --- the end ---------------------------------------------------------------------------------------------------

    def account(self) -> dict[str, int]:
        """What became of everybody; asserts that it is right."""
        world = self.world
        delivered: Counter[Pair] = Counter()
        for one in world.receipts:
            pair = one.message_id, one.recipient
            delivered[pair] += 1
            if one.is_doubtful:
                self.excused[pair] += 1
        bounced: Counter[Pair] = Counter()
        delays: Counter[Pair] = Counter()
        for report in self.bounces.messages:
            for action, pair in news(report.octets):
                assert action in ("failed", "delayed"), action
                (bounced if action == "failed" else delays)[pair] += 1
        strangers = (set(delivered) | set(bounced)) - self.expected
        assert not strangers, f"nobody has sent these: {sorted(strangers)[:5]}"
        lost = [pair for pair in self.expected if not delivered[pair] and not bounced[pair]]
        assert not lost, f"{len(lost)} lost: {sorted(lost)[:5]}"
        surplus = {pair: delivered[pair] + bounced[pair] - 1 for pair in self.expected}
        wrong = {pair: count for pair, count in surplus.items() if count > self.excused[pair]}
        assert not wrong, f"{len(wrong)} more often than any lost reply excuses: {sorted(wrong)[:5]}"
        too_many = [pair for pair, count in delays.items() if count > 1 + CRASHES]
        assert not too_many, f"told of a delay again and again: {too_many[:5]}"
        return {
            "messages": len(self.plan),
            "recipients": len(self.expected),
            "delivered": sum(1 for pair in self.expected if delivered[pair]),
            "bounced": sum(1 for pair in self.expected if bounced[pair] and not delivered[pair]),
            "delivered and bounced": sum(1 for pair in self.expected if bounced[pair] and delivered[pair]),
            "copies too many": sum(surplus.values()),
            "excuses": sum(self.excused.values()),
            "lost replies": sum(one.is_doubtful for one in world.receipts),
            "taken but not written down at a crash": len(self.crash_doubts),
            "submitted again": self.resubmitted,
            "delay notices": sum(delays.values()),
            "connections": world.network.connections,
        }


def news(octets: bytes) -> list[tuple[str, Pair]]:
    """What a report (RFC 3464) says: action, message and recipient."""
    report = BytesParser().parsebytes(octets)
    assert report.get_content_type() == "multipart/report", report.get_content_type()
    _, status, original = report.get_payload()
    [message_id] = re.findall(r"(?m)^Message-ID: (<\d+@home\.example>)", original.get_payload())
    found = []
    for block in status.get_payload()[1:]:
        address = block["Final-Recipient"].partition(";")[2].strip()
        found.append((block["Action"].strip(), (message_id, address)))
    return found


@pytest.mark.slow
def test_every_message_is_delivered_or_bounced_exactly_once(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    simulation = Simulation(SEED, MESSAGES)
    simulation.run()
    world = simulation.world
    assert not world.failures, world.failures[:3]
    assert not simulation.waiting
    assert simulation.queued() == []
    counts = simulation.account()
    struck: dict[str, int] = defaultdict(int)
    for host in world.hosts.values():
        for kind, count in host.struck.items():
            struck[kind] += count
    with capsys.disabled():
        print(
            f"\n  seed {SEED}: {world.now / DAY:.1f} days in {time.monotonic() - began:.1f} s, "
            f"{world.timeline.events} events, {CRASHES} crashes"
        )
        print("  " + ", ".join(f"{name}: {count}" for name, count in counts.items()))
        print("  faults: " + ", ".join(f"{kind}: {count}" for kind, count in sorted(struck.items())))
    assert counts["messages"] == MESSAGES
    assert counts["delivered"] + counts["bounced"] == counts["recipients"]
    # It must have been a story worth the name.
    assert counts["bounced"] > MESSAGES / 50 and counts["delivered"] > MESSAGES / 2
    assert counts["delay notices"] > 0
    for kind in (
        "refused",
        "unreachable",
        "busy",
        "cut",
        "lost-reply",
        "rcpt-4xx",
        "data-4xx",
        "greylisted",
        "unknown",
    ):
        assert struck[kind] > 0, f"{kind} has never happened"


def test_the_same_seed_gives_the_same_story() -> None:
    stories = []
    for _ in range(2):
        simulation = Simulation("story", 100)
        simulation.run()
        stories.append(simulation.world.story)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 100
