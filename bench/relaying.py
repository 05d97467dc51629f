"""Relay out: 20 sessions submit, the queue is durable, the next hop is smtp-sink; beside Postfix in the same run."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from bench import load
from bench.effort import Effort
from bench.postfix import PostfixRelay
from bench.servers import CONFIGURATION, Ours, Server, free_port, program, running, wait_for_greeting
from bench.table import Table, goals, note


class Sink:
    """smtp-sink, which ends when it has had so many messages."""

    def __init__(self, port: int, messages: int) -> None:
        self.process = subprocess.Popen(
            [program("smtp-sink") or "smtp-sink", "-M", str(messages), "-u", "nobody", f"127.0.0.1:{port}", "1000"],
            stderr=subprocess.DEVNULL,
        )
        wait_for_greeting(port)


class Relaying(Ours):
    """Our server, with the sink as the way to everywhere."""

    def __init__(self, sink: int) -> None:
        route = f'\n[[relay.routes]]\ndomain = "*"\nhost = "127.0.0.1"\nport = {sink}\n'
        trust = '\n[delivery]\ntrusted_networks = ["127.0.0.0/8"]\n'
        super().__init__(CONFIGURATION + route + trust)


def relay(effort: Effort) -> None:
    """From the first submission until the sink has all of them."""
    if not program("smtp-sink") or not program("postfix"):
        note("Postfix, and smtp-sink with it, is not installed: left out.")
        return
    kinds: tuple[Callable[[int], Server], ...] = (Relaying, PostfixRelay)
    table = Table("relay out, 2 KB, 20 submitting sessions", "messages/s", "ours is", "CPU a message")
    rates: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    for _ in range(effort.rounds):
        for kind in kinds:
            port = free_port()
            sink = Sink(port, effort.relayed)
            try:
                with running(partial(kind, port)) as (server,):
                    before, began = server.cpu(), time.monotonic()
                    load.send(server.ports["smtp"], 20, effort.relayed, 2_000, "bob@away.example")
                    sink.process.wait(300)
                    rates[server.name].append(effort.relayed / (time.monotonic() - began))
                    costs[server.name].append((server.cpu() - before) / effort.relayed)
            finally:
                sink.process.kill()
                sink.process.wait()
    ours, theirs = (statistics.median(rates[name]) for name in (Ours.name, PostfixRelay.name))
    goals.at_least("relay out, 20 sessions, against Postfix", 3, ours / theirs)
    for name, found in rates.items():
        cost = statistics.median(costs[name]) * 1e6
        ratio = "" if name == Ours.name else f"{ours / theirs:.1f}x"
        table.row(name, f"{statistics.median(found):,.0f}", ratio, f"{cost:,.0f} us")
