"""Connect, LOGIN, LOGOUT over IMAP, one after the other, beside Dovecot in its two modes."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

from bench.dovecot import Dovecot, DovecotQuickLogins, dovecots
from bench.effort import Effort
from bench.imap import duration
from bench.lines import IMAPLine
from bench.servers import Ours, Server, running
from bench.table import Table, goals, note


def login(effort: Effort) -> None:
    """In turn; a first round is not counted."""
    kinds: list[type[Server]] = [Ours, *([Dovecot, DovecotQuickLogins] if dovecots() else [])]
    times: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, float] = defaultdict(float)
    count = max(1, effort.steps // 10)
    with running(*kinds) as servers:
        for number in range(effort.rounds + 1):
            for server in servers:
                before, began = server.cpu(), time.monotonic()
                for _ in range(count):
                    line = IMAPLine(server.ports["imap"])
                    line.ask(b"LOGOUT")
                    line.close()
                if number:
                    times[server.name].append((time.monotonic() - began) / count)
                    costs[server.name] += (server.cpu() - before) / count / effort.rounds
    table = Table("connect, LOGIN, LOGOUT", "time", "ours is", "CPU")
    ours = statistics.median(times[Ours.name])
    for kind in kinds:
        took = statistics.median(times[kind.name])
        ratio = "" if kind is Ours else f"{took / ours:.1f}x"
        table.row(kind.name, duration(took), ratio, duration(costs[kind.name]))
    if dovecots():
        goals.at_least("IMAP login, against Dovecot as it comes", 10, statistics.median(times[Dovecot.name]) / ours)
    note(
        "As it comes, Dovecot starts two processes for each session; in its high-performance mode they are there"
        " already. It compares with one password out of its configuration. Ours has its password file (argon2id), and"
        " remembers a password that was right for five minutes, as it comes."
    )
