"""Several processes against one: TLS logins and IMAP reading, in turn, the generator on the same machine."""

from __future__ import annotations

import socket
import ssl
import statistics
import tempfile
import threading
import time
from pathlib import Path

from bench.load import send
from bench.servers import CONFIGURATION, Ours, memory
from twisted_mail_kit.net.tls import self_signed_pem

ROUNDS = 3
SESSIONS = 16
SECONDS = 6.0
MAILBOX = 500
# What a mail program does when it is opened: look at the list, read some.
SESSION = (
    b"a LOGIN joe@example.org secret\r\nb SELECT INBOX\r\nc FETCH 1:* (UID FLAGS ENVELOPE)\r\n"
    b"d FETCH 1:50 (BODYSTRUCTURE)\r\ne FETCH 1:20 (BODY.PEEK[])\r\nf LOGOUT\r\n"
)


def workers() -> None:
    """1 process, and an owner with two workers."""
    rates: dict[int, list[float]] = {0: [], 2: []}
    sizes: dict[int, int] = {}
    for _ in range(ROUNDS):
        for count in rates:
            server = _server(count)
            try:
                send(server.ports["smtp"], 20, MAILBOX, 2_000)
                _load(server.ports["imap"], 1.0)
                rates[count].append(_load(server.ports["imap"], SECONDS))
                sizes[count] = sum(memory(pid) for pid in (server.process.pid, *_children(server.process.pid)))
            finally:
                server.stop()
    one, two = (statistics.median(rates[count]) for count in rates)
    print(f"| IMAPS: login, list of {MAILBOX}, 20 bodies, {SESSIONS} at a time | sessions/s | against one | memory |")
    print("|---|---|---|---|")
    print(f"| one process | {one:.0f} | | {sizes[0] / 1e6:.0f} MB |")
    print(f"| workers = 2 | {two:.0f} | {two / one:.2f}x | {sizes[2] / 1e6:.0f} MB |", flush=True)


def _server(count: int) -> Ours:
    pem = Path(tempfile.mkdtemp(prefix="mailkit-bench-")) / "certificate.pem"
    pem.write_bytes(self_signed_pem("localhost"))
    imap = 'service = "imap"\n'
    text = f"workers = {count}\n" + CONFIGURATION.replace(imap, imap + 'tls = "implicit"\n')
    return Ours(text + f'\n[tls]\ncertificate = "{pem}"\n')


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


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
