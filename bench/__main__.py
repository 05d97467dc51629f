"""`python -m bench [receive] [fetch] [idle] [relay] [queue] [workers] [scale]`: measures, and prints tables."""

from __future__ import annotations

import imaplib
import platform
import socket
import statistics
import sys
import time
from collections.abc import Callable

from bench.load import send
from bench.queued import queue
from bench.relaying import relay
from bench.scale import scale
from bench.servers import Aiosmtpd, Ours, cpu_seconds, memory
from bench.workers import workers

ROUNDS = 3


def receive() -> None:
    """Accept -> durable (and, with us, visible), in turn A, B, A, B; medians."""
    print(
        "| receive, durable before the 250 | messages/s | p99 of the final reply | CPU a message | against aiosmtpd |"
    )
    print("|---|---|---|---|---|")
    for size, sessions, messages in (
        (2_000, 1, 600),
        (2_000, 20, 4000),
        (2_000, 100, 6000),
        (50_000, 20, 1500),
        (1_000_000, 20, 100),
    ):
        rates: dict[str, list[float]] = {Ours.name: [], Aiosmtpd.name: []}
        lates: list[float] = []
        costs: list[float] = []
        for _ in range(ROUNDS):
            for kind in (Ours, Aiosmtpd):
                server = kind()
                try:
                    send(server.ports["smtp"], sessions, sessions * 2, size)
                    before = cpu_seconds(server.process.pid)
                    load = send(server.ports["smtp"], sessions, messages, size)
                    rates[kind.name].append(load.rate)
                    if kind is Ours:
                        costs.append((cpu_seconds(server.process.pid) - before) / load.messages)
                        lates.append(load.percentile(99))
                finally:
                    server.stop()
        ours, theirs = (statistics.median(rates[kind.name]) for kind in (Ours, Aiosmtpd))
        print(
            f"| {size:,} octets, {sessions} sessions | {ours:,.0f} | {statistics.median(lates) * 1000:.1f} ms "
            f"| {statistics.median(costs) * 1e6:.0f} us | {ours / theirs:.1f}x |",
            flush=True,
        )


def _logged_in(port: int) -> imaplib.IMAP4:
    imap = imaplib.IMAP4("127.0.0.1", port)
    imap.login("joe@example.org", "secret")
    return imap


def fetch() -> None:
    """A mailbox of 10,000, read in several ways."""
    server = Ours()
    try:
        send(server.ports["smtp"], 50, 10_000, 2_000)
        print("| IMAP, 10,000 messages of 2 KB | seconds (median of 5) | us a message |")
        print("|---|---|---|")
        imap = _logged_in(server.ports["imap"])
        imap.select("INBOX", readonly=True)
        for items in ("(FLAGS UID RFC822.SIZE)", "(ENVELOPE)", "(BODYSTRUCTURE)", "(BODY.PEEK[])"):
            times = []
            for _ in range(5):
                began = time.monotonic()
                _drink(server.ports["imap"], f"FETCH 1:* {items}")
                times.append(time.monotonic() - began)
            seconds = statistics.median(times)
            print(f"| FETCH 1:* {items} | {seconds:.3f} | {seconds * 100:.1f} |", flush=True)
        times = []
        for _ in range(5):
            began = time.monotonic()
            imap.select("INBOX", readonly=True)
            times.append(time.monotonic() - began)
        print(f"| SELECT | {statistics.median(times):.4f} | |")
    finally:
        server.stop()


def _drink(port: int, command: str) -> int:
    """Send one command on a raw socket and count the octets until it is done: imaplib's parsing is no part of it."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"a LOGIN joe@example.org secret\r\nb EXAMINE INBOX\r\nc " + command.encode() + b"\r\n")
        total, tail = 0, b""
        while b"\r\nc OK" not in tail:
            octets = line.recv(1 << 18)
            if not octets:
                raise SystemExit("the server hung up")
            total += len(octets)
            tail = tail[-100:] + octets
    return total


def idle() -> None:
    """Memory of idle IMAP sessions."""
    server = Ours()
    try:
        send(server.ports["smtp"], 1, 10, 2_000)
        _logged_in(server.ports["imap"]).logout()
        base = memory(server.process.pid)
        lines = []
        for _ in range(1000):
            line = socket.create_connection(("127.0.0.1", server.ports["imap"]))
            line.sendall(b"a LOGIN joe@example.org secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
            lines.append(line)
        for line in lines:
            heard = b""
            while b"+ " not in heard:
                heard += line.recv(4096)
        now = memory(server.process.pid)
        print("| memory | |\n|---|---|")
        print(f"| the server, after one login | {base / 1e6:.1f} MB |")
        more = now - base
        print(f"| 1,000 sessions in IDLE | {more / 1e6:.1f} MB more: {more / 1000 / 1024:.1f} KB a session |")
        began = time.monotonic()
        send(server.ports["smtp"], 1, 1, 2_000)
        waits = []
        for line in lines:
            heard = b""
            while b"EXISTS" not in heard:
                heard += line.recv(4096)
            waits.append(time.monotonic() - began)
        print(f"| one delivery told to all 1,000 | {max(waits) * 1000:.0f} ms |")
        print(f"| start to every port open | {server.seconds_to_start:.2f} s |")
        for line in lines:
            line.close()
    finally:
        server.stop()


BENCHMARKS: dict[str, Callable[[], None]] = {
    "receive": receive,
    "fetch": fetch,
    "idle": idle,
    "relay": relay,
    "queue": queue,
    "workers": workers,
    "scale": scale,
}


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHMARKS)
    print(f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {platform.machine()}\n")
    for name in wanted:
        BENCHMARKS[name]()
        print()


main()
