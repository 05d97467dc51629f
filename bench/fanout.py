"""A delivery that a hundred sessions in IDLE are told of, beside Dovecot."""

from __future__ import annotations

import select
import time

from bench.dovecot import dovecots
from bench.drive import Unexpected
from bench.effort import Effort
from bench.lines import IMAPLine
from bench.load import send
from bench.servers import Ours, Server, running
from bench.table import Table, goals, percentile

SESSIONS = 100
GOAL = 10.0


def fanout(effort: Effort) -> None:
    """From the sender's 250 until each session has its EXISTS."""
    table = Table(f"{SESSIONS} sessions in IDLE, told after the 250", "median", "p99", "the last")
    kinds: list[type[Server]] = [Ours, *dovecots()]
    for kind in kinds:
        with running(kind) as (server,):
            waits = _measure(server, 20 if isinstance(server, Ours) else 4 + 2 * effort.rounds)
        if kind is Ours:
            goals.at_most(f"IDLE fan-out to {SESSIONS} sessions, p99", GOAL, percentile(waits, 99) * 1000, "ms")
        cells = (f"{one * 1000:.1f} ms" for one in (percentile(waits, 50), percentile(waits, 99), max(waits)))
        table.row(kind.name, *cells)


def _measure(server: Server, deliveries: int) -> list[float]:
    lines = [IMAPLine(server.ports["imap"]) for _ in range(SESSIONS)]
    poll = select.epoll()
    try:
        for line in lines:
            line.ask(b"SELECT INBOX")
            line.idle()
            poll.register(line.socket.fileno(), select.EPOLLIN)
        sockets = {line.socket.fileno(): line.socket for line in lines}
        waits = []
        for number in range(deliveries):
            send(server.ports["lmtp"], 1, 1, 2_000, hello=b"LHLO")
            told = time.monotonic()  # QUIT and its answer lie in between: some 0.1 ms in our favour and in theirs
            waiting, deadline = set(sockets), told + 20
            sign = b"* %d EXISTS" % (number + 1)
            heard = dict.fromkeys(sockets, b"")
            while waiting:
                for fileno, _ in poll.poll(1):
                    heard[fileno] += sockets[fileno].recv(65_536)
                    if fileno in waiting and sign in heard[fileno]:
                        waiting.remove(fileno)
                        waits.append(time.monotonic() - told)
                if time.monotonic() > deadline:
                    raise Unexpected(f"{len(waiting)} sessions of {server.name} were not told within 20 seconds")
        return waits
    finally:
        poll.close()
        for line in lines:
            line.close()
