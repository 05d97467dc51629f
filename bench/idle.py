"""Memory: of the server at rest, of idle sessions with and without TLS, of ten thousand of them."""

from __future__ import annotations

import ssl
import time

from bench.dovecot import dovecots
from bench.effort import Effort
from bench.lines import IMAPLine
from bench.load import send
from bench.servers import CONFIGURATION, Ours, Server, certificate, running
from bench.table import Table, goals, note

DOVECOT_SESSIONS = 200
"""Each is a process: a thousand would take half a gigabyte, and say the same."""


class WithTLS(Ours):
    """Our server with a second IMAP port, for TLS."""

    def __init__(self) -> None:
        super().__init__(CONFIGURATION)

    def before_start(self) -> None:
        """Add the port."""
        listen = (
            '\n[[listen]]\nservice = "imap"\nendpoint = "tcp:0:interface=127.0.0.1:backlog=1024"\ntls = "implicit"\n'
        )
        config = self.folder / "mailkit.toml"
        with config.open("a") as file:
            file.write(f'{listen}\n[tls]\ncertificate = "{certificate(self.folder)}"\n')


def idle(effort: Effort) -> None:
    """Sessions that are logged in, have the inbox open and wait in IDLE."""
    table = Table("memory (proportional set size)", "sessions", "all in all", "each session", "seconds to open them")
    kinds: list[type[Server]] = [WithTLS, *dovecots()[:1]]
    for kind in kinds:
        with running(kind) as (server,):
            ours = isinstance(server, Ours)
            send(server.ports["lmtp"], 1, 10, 2_000, hello=b"LHLO")
            line = IMAPLine(server.ports["imap"])
            line.ask(b"SELECT INBOX")
            line.close()
            time.sleep(1)
            base = server.memory() / 1e6
            table.row(f"{kind.name}, after one login", "", f"{base:.1f} MB")
            if ours:
                goals.at_most("memory: base", 80, base, "MB")
            count = effort.idle if ours else min(DOVECOT_SESSIONS, effort.idle)
            for what, port, goal in (("", "imap", 4), ("with TLS", "imaps", 30)):
                each, _ = _row(table, server, what, server.ports[port], count)
                if ours:
                    goals.at_most(f"memory: an idle IMAP session {what}".rstrip(), goal, each / 1024, "KB")
            if ours:
                _, whole = _row(table, server, "", server.ports["imap"], effort.crowd)
                goals.at_most(f"memory: {effort.crowd:,} idle sessions", 200, whole / 1e6, "MB")
    note("Dovecot has a process for each session.")


def _row(table: Table, server: Server, what: str, port: int, count: int) -> tuple[float, int]:
    """Octets a session, and of the whole server then."""
    tls = None
    if what:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    lines = []
    base, began = server.memory(), time.monotonic()
    try:
        for _ in range(count):
            line = IMAPLine(port, tls=tls)
            line.ask(b"SELECT INBOX")
            line.idle()
            lines.append(line)
        seconds = time.monotonic() - began
        now = server.memory()
    finally:
        for line in lines:
            line.close()
    each = (now - base) / count
    name = f"{server.name}, in IDLE {what}".rstrip()
    table.row(name, f"{count:,}", f"{now / 1e6:.1f} MB", f"{each / 1024:.1f} KB", f"{seconds:.1f}")
    time.sleep(0.5)
    return each, now
