"""From the start of the program to the first 220."""

from __future__ import annotations

from functools import partial

from bench.effort import Effort
from bench.postfix import postfixes
from bench.programs import Aiosmtpd, TwistedMail
from bench.servers import Ours, Server
from bench.table import Table, goals, in_turn


def start(effort: Effort) -> None:
    """In turn, each with an empty state folder, the files in the system's cache."""
    kinds: list[type[Server]] = [Ours, *postfixes()[:1], Aiosmtpd, TwistedMail]

    def once(kind: type[Server], number: int) -> float:
        server = kind()
        server.stop()
        return server.seconds_to_start

    took = in_turn(effort.rounds + 2, {kind.name: partial(once, kind) for kind in kinds})
    table = Table("start to first 220", "seconds")
    for name, seconds in took.items():
        table.row(name, f"{seconds:.2f}")
    goals.at_most("start to first 220", 1, took[Ours.name], "s")
