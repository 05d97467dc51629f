"""A maildrop retrieved over POP3, beside Dovecot."""

from __future__ import annotations

import time
from functools import partial

from bench.dovecot import dovecots
from bench.effort import Effort
from bench.imap import duration, fill, unsynced
from bench.lines import POP3Line
from bench.servers import Ours, Server, running
from bench.table import Table, goals, in_turn


def pop3(effort: Effort) -> None:
    """RETR of every message: all asked for at once, and one after the other. Login and QUIT are not counted."""
    kinds: list[type[Server]] = [Ours, *dovecots()]
    count = effort.maildrop
    table = Table(
        f"POP3, {count:,} messages of 2 KB, a message",
        *(kind.name for kind in kinds),
        "against the better",
        *(f"CPU {kind.name}" for kind in kinds),
    )
    costs: dict[str, float] = {}

    def retrieve(server: Server, at_once: int, number: int = 0) -> float:
        line = POP3Line(server.ports["pop3"])
        if line.stat() != count:
            raise SystemExit(f"{server.name} has {line.stat()} messages instead of {count}")
        before, began = server.cpu(), time.monotonic()
        for start in range(1, count + 1, at_once):
            line.retrieve(range(start, min(start + at_once, count + 1)))
        seconds = time.monotonic() - began
        costs[server.name] += (server.cpu() - before) / count / effort.rounds
        line.quit()
        return seconds / count

    with running(*map(unsynced, kinds)) as servers:
        for server in servers:
            fill(server, count)
            costs[server.name] = 0.0
            retrieve(server, count)  # warm
        for what, at_once, goal in (("RETR, pipelined", count, 1.4), ("RETR, one after the other", 1, 1)):
            costs.update((kind.name, 0.0) for kind in kinds)
            took = in_turn(effort.rounds, {one.name: partial(retrieve, one, at_once) for one in servers})
            ours, *theirs = took.values()
            ratio = f"{min(theirs) / ours:.2f}x" if theirs else ""
            if theirs:
                goals.at_least(f"POP3 {what}", goal, min(theirs) / ours)
            table.row(what, *map(duration, took.values()), ratio, *(duration(costs[kind.name]) for kind in kinds))
