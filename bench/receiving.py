"""Mail coming in by SMTP and LMTP until it can be seen in the mailbox, beside every peer."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict

from bench.dovecot import dovecots
from bench.effort import Effort
from bench.lines import IMAPLine
from bench.load import Load, send
from bench.postfix import Postfix, postfixes
from bench.programs import Aiosmtpd, Bare, TwistedMail
from bench.servers import Ours, Plain, Server, running
from bench.table import Table, goals, note


class Meter:
    """Loads servers in turn, each time a mailbox of its own, and keeps what came of it."""

    def __init__(self, effort: Effort, protocol: str) -> None:
        self.effort = effort
        self.protocol = protocol
        self.hello = b"LHLO" if protocol == "lmtp" else b"EHLO"
        self.users = 0
        self.busy = 0.0
        """The greatest share of one core that the generator took."""
        self.rates: dict[str, list[float]]
        self.costs: dict[str, list[float]]
        self.lates: dict[str, list[float]]

    def measure(self, servers: tuple[Server, ...], sessions: int, size: int) -> None:
        """Fill `rates`, `costs` and `lates` for one row of the table."""
        self.rates, self.costs, self.lates = defaultdict(list), defaultdict(list), defaultdict(list)
        for number in range(self.effort.rounds + 1):
            user = f"u{self.users}@example.org"
            self.users += 1
            for server in servers:
                if number == 0:  # processes are begun, caches are filled
                    self._once(server, user, sessions, size, sessions, sys.maxsize)
                    continue
                load, seconds, cpu = self._once(server, user, sessions, size, sys.maxsize, self.effort.seconds)
                self.busy = max(self.busy, load.generator / load.seconds)
                self.rates[server.name].append(load.messages / seconds)
                self.costs[server.name].append(cpu / load.messages)
                self.lates[server.name].append(load.percentile(99))

    def _once(
        self, server: Server, user: str, sessions: int, size: int, messages: int, most: float
    ) -> tuple[Load, float, float]:
        """A load, the seconds from its beginning until an IMAP client finds all of it, and the server's CPU seconds."""
        # A reader is there before, so that its login is no part of it, and so that the mailbox exists.
        reader = IMAPLine(server.ports["imap"], user) if "imap" in server.ports else None
        there = reader.count() if reader else 0
        cpu = server.cpu()
        load = send(server.ports[self.protocol], sessions, messages, size, user, seconds=most, hello=self.hello)
        seconds, until = load.seconds, time.monotonic() + 120
        while reader and (found := reader.count() - there) < load.messages:
            if not isinstance(server, Postfix) or time.monotonic() > until:
                raise SystemExit(f"{server.name} has {found} of {load.messages} messages")
            time.sleep(0.02)
            seconds = time.monotonic() - load.began
        if reader:
            reader.close()
        return load, seconds, server.cpu() - cpu

    def rate(self, name: str) -> float:
        return statistics.median(self.rates[name])

    def seconds(self, name: str) -> float:
        return statistics.median(self.costs[name])

    def cost(self, name: str) -> str:
        return f"{self.seconds(name) * 1e6:,.0f} us"

    def late(self, name: str) -> str:
        return f"{statistics.median(self.lates[name]) * 1000:.0f} ms"


def receive(effort: Effort) -> None:
    """Accept -> durable and visible, against all SMTP peers."""
    meter = Meter(effort, "smtp")
    kinds: list[type[Server]] = [Ours, *postfixes(), Aiosmtpd, TwistedMail]
    table = Table("SMTP, durable and visible", "server", "messages/s", "ours is", "p99 of the 250", "CPU a message")
    with running(*kinds) as servers:
        for size, sessions, goal in (
            (2_000, 1, 2.5),
            (2_000, 20, 10),
            (2_000, 100, 12),
            (50_000, 20, 4),
            (1_000_000, 20, 2),
        ):
            meter.measure(servers, sessions, size)
            what = f"{_octets(size)}, {sessions} session{'s' if sessions > 1 else ''}"
            for kind in kinds:
                ratio = meter.rate(Ours.name) / meter.rate(kind.name)
                table.row(
                    what if kind is Ours else "",
                    kind.name,
                    f"{meter.rate(kind.name):,.0f}",
                    "" if kind is Ours else f"{ratio:.1f}x",
                    meter.late(kind.name),
                    meter.cost(kind.name),
                )
            best = max((meter.rate(kind.name) for kind in postfixes()), default=0.0)
            if best:
                goals.at_least(f"SMTP in, {what}, against Postfix -> Dovecot", goal, meter.rate(Ours.name) / best)
            if sessions == 20 and size == 2_000:
                for kind, least in ((Aiosmtpd, 4), (TwistedMail, 3)):
                    ratio = meter.rate(Ours.name) / meter.rate(kind.name)
                    goals.at_least(f"SMTP in, {what}, against {kind.name}", least, ratio)
    note(
        "For Postfix -> Dovecot the clock stops when the last message can be seen over IMAP; ours can be seen at the"
        " 250, and is counted then. The CPU is that of all processes of a server."
        f" The load generator took {meter.busy:.0%} of one core at most."
    )


def lmtp(effort: Effort) -> None:
    """Into the store by LMTP, against Dovecot alone."""
    meter = Meter(effort, "lmtp")
    kinds: list[type[Server]] = [Ours, *dovecots()]
    table = Table("LMTP, 2 KB, 20 sessions", "messages/s", "ours is", "p99 of the 250", "CPU a message")
    with running(*kinds) as servers:
        meter.measure(servers, 20, 2_000)
        for kind in kinds:
            table.row(
                kind.name,
                f"{meter.rate(kind.name):,.0f}",
                "" if kind is Ours else f"{meter.rate(Ours.name) / meter.rate(kind.name):.1f}x",
                meter.late(kind.name),
                meter.cost(kind.name),
            )
        best = max((meter.rate(kind.name) for kind in dovecots()), default=0.0)
        if best:
            goals.at_least("LMTP, 20 sessions, against Dovecot", 5, meter.rate(Ours.name) / best)


def bare(effort: Effort) -> None:
    """What takes of the speed of the way in: the scan and the rest that can be left out, and all that can be."""
    meter = Meter(effort, "smtp")
    kinds: list[type[Server]] = [Ours, Plain, Bare]
    table = Table("SMTP, with less and less in it", "server", "messages/s", "ours is", "CPU a message", "ours is")
    with running(*kinds) as servers:
        for size, sessions in ((2_000, 20), (2_000, 100), (50_000, 20)):
            meter.measure(servers, sessions, size)
            what = f"{_octets(size)}, {sessions} sessions"
            if sessions == 20 and size == 2_000:
                share = meter.rate(Ours.name) / meter.rate(Plain.name)
                goals.at_least(
                    "the SMTP path with scan, trace fields, limits and metrics beside that without", 0.667, share
                )
            for kind in kinds:
                table.row(
                    what if kind is Ours else "",
                    kind.name,
                    f"{meter.rate(kind.name):,.0f}",
                    "" if kind is Ours else f"{meter.rate(Ours.name) / meter.rate(kind.name):.0%}",
                    meter.cost(kind.name),
                    "" if kind is Ours else f"{meter.seconds(Ours.name) / meter.seconds(kind.name):.1f}x",
                )
    note(
        "The second leaves out the MIME scan, the summary for IMAP, Received and the other trace fields, limits by the"
        " minute and metrics: `bench/plain_server.py`. Bare is our session and our store and nothing between them, no"
        " routing, accounts, checks, settling, delivery token and log either: `bench/bare_server.py`."
    )


def _octets(size: int) -> str:
    return f"{size // 1_000_000} MB" if size >= 1_000_000 else f"{size // 1_000} KB"
