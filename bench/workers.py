"""Several processes against one: TLS logins and IMAP reading, in turn, the generator on the same machine."""

from __future__ import annotations

import socket
import ssl
import statistics
import threading
import time
from functools import partial

from bench.effort import Effort
from bench.load import send
from bench.servers import CONFIGURATION, Ours, certificate, running
from bench.table import Table, goals

SESSIONS = 16
MAILBOX = 500
# What a mail program does when it is opened: look at the list, read some.
SESSION = (
    b"a LOGIN joe@example.org secret\r\nb SELECT INBOX\r\nc FETCH 1:* (UID FLAGS ENVELOPE)\r\n"
    b"d FETCH 1:50 (BODYSTRUCTURE)\r\ne FETCH 1:20 (BODY.PEEK[])\r\nf LOGOUT\r\n"
)


def workers(effort: Effort) -> None:
    """1 process, and an owner with two workers."""
    rates: dict[int, list[float]] = {0: [], 2: []}
    sizes: dict[int, int] = {}
    for _ in range(effort.rounds):
        for count in rates:
            with running(partial(Several, count)) as (server,):
                send(server.ports["smtp"], 20, MAILBOX, 2_000)
                _load(server.ports["imaps"], effort.seconds)
                rates[count].append(_load(server.ports["imaps"], effort.seconds * 2))
                sizes[count] = server.memory()
    one, two = (statistics.median(rates[count]) for count in rates)
    goals.at_least("two worker processes, TLS logins and IMAP reading", 1.3, two / one)
    table = Table(
        f"IMAPS: login, list of {MAILBOX}, 20 bodies, {SESSIONS} at a time", "sessions/s", "against one", "memory"
    )
    table.row("one process", f"{one:.0f}", "", f"{sizes[0] / 1e6:.0f} MB")
    table.row("workers = 2", f"{two:.0f}", f"{two / one:.2f}x", f"{sizes[2] / 1e6:.0f} MB")


class Several(Ours):
    """So many workers, 0 for none, and IMAP with TLS."""

    def __init__(self, count: int) -> None:
        imap = 'service = "imap"\n'
        super().__init__(f"workers = {count}\n" + CONFIGURATION.replace(imap, imap + 'tls = "implicit"\n'))

    def before_start(self) -> None:
        """Show a certificate."""
        with (self.folder / "mailkit.toml").open("a") as config:
            config.write(f'\n[tls]\ncertificate = "{certificate(self.folder)}"\n')


def _load(port: int, seconds: float) -> float:
    """Sessions a second. Threads: reading and TLS happen outside of Python's lock."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    until, done = time.monotonic() + seconds, []

    def again_and_again() -> None:
        while time.monotonic() < until:
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 60)) as line:
                line.sendall(SESSION)
                tail, buffer = b"", bytearray(1 << 18)
                while got := line.recv_into(buffer):
                    tail = (tail + buffer[max(0, got - 200) : got])[-200:]
                if b"f OK" not in tail:
                    raise SystemExit(f"cut off after {tail!r}")
            done.append(time.monotonic())

    began = time.monotonic()
    threads = [threading.Thread(target=again_and_again) for _ in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done) / (time.monotonic() - began)
