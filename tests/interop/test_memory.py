"""A message of 100 MB goes through the whole server, in and out by every protocol, for a few MB of memory."""

from __future__ import annotations

import re
import smtplib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.server import Server
from tests.interop.test_main_job import CONFIGURATION

pytestmark = [pytest.mark.interop, pytest.mark.slow]

MEGABYTE = 1024 * 1024
LINE = b"All work and no play makes Jack a dull boy, and the next line says the same.\r\n"
HEAD = b"From: ann@example.net\r\nSubject: large\r\n\r\n"
COUNT = 100 * 1_000_000 // len(LINE)
SIZE = len(HEAD) + COUNT * len(LINE)
LARGE = "\n[smtp]\nmessage_size = 200_000_000\n[imap]\nmessage_size = 200_000_000\n"
CROWD = 1000
LARGE += f"sessions_per_account = {CROWD}\n[imap.connections]\nper_address = {CROWD}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("memory")
    with Server.configured(folder, CONFIGURATION.format(store="sqlite") + LARGE) as server:
        talk(
            server, "imap", b"a LOGIN joe@example.org secret\r\nb LOGOUT\r\n", b"b OK"
        )  # the password's hash takes 64 MB
        yield server


class Peak:
    """How much more memory the server took at most, while something was done."""

    def __init__(self, server: Server) -> None:
        assert server.process is not None
        self.folder = Path(f"/proc/{server.process.pid}")

    def _kilobytes(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", (self.folder / "status").read_text())
        assert found is not None
        return int(found.group(1))

    def __enter__(self) -> Peak:
        (self.folder / "clear_refs").write_text("5")  # the high-water mark begins anew
        self.before = self._kilobytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        more = (self._kilobytes("VmHWM") - self.before) * 1024
        assert more < 16 * MEGABYTE, f"{more / MEGABYTE:.1f} MB more"


def talk(server: Server, service: str, words: bytes, end: bytes) -> int:
    """Say all of it, and count the octets until `end` was heard."""
    with socket.create_connection(("127.0.0.1", server.port(service)), 60) as line:
        line.sendall(words)
        total, tail = 0, b""
        while end not in tail:
            octets = line.recv(1 << 18)
            assert octets, tail
            total += len(octets)
            tail = tail[-100:] + octets
    return total


def pour(line: socket.socket) -> None:
    line.sendall(HEAD)
    for _ in range(COUNT // 1000):
        line.sendall(LINE * 1000)
    line.sendall(LINE * (COUNT % 1000))


def test_in_by_smtp_and_out_by_imap_and_pop3(server: Server) -> None:
    with Peak(server), smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=120) as client:
        client.ehlo("client.example.net")
        client.mail("ann@example.net")
        client.rcpt("joe@example.org")
        assert client.docmd("DATA")[0] == 354
        assert client.sock is not None
        pour(client.sock)
        client.sock.sendall(b".\r\n")
        assert client.getreply()[0] == 250
    with Peak(server):
        words = b"a LOGIN joe@example.org secret\r\nb SELECT INBOX\r\nc FETCH * BODY.PEEK[]\r\n"
        assert talk(server, "imap", words, b"\r\nc OK") > SIZE
    with Peak(server):
        assert talk(server, "pop3", b"USER joe@example.org\r\nPASS secret\r\nRETR 1\r\n", b"\r\n.\r\n") > SIZE


def test_in_by_append_while_others_are_served(server: Server) -> None:
    with Peak(server), socket.create_connection(("127.0.0.1", server.port("imap")), 120) as line:
        file = line.makefile("rb")
        line.sendall(b"a LOGIN joe@example.org secret\r\nb APPEND INBOX {%d}\r\n" % SIZE)
        while not file.readline().startswith(b"+"):
            pass
        waits = []
        line.sendall(HEAD)
        for number in range(COUNT // 1000):
            line.sendall(LINE * 1000)
            if number % 100 == 0:
                began = time.monotonic()
                talk(server, "pop3", b"CAPA\r\n", b"\r\n.\r\n")
                waits.append(time.monotonic() - began)
        line.sendall(LINE * (COUNT % 1000) + b"\r\n")
        assert file.readline().startswith(b"b OK")
    assert max(waits) < 2.0  # far from the goal of 50 ms, which bench/ watches: only that nobody is shut out


def test_a_thousand_sessions_in_idle(server: Server) -> None:
    words = b"a LOGIN joe@example.org secret\r\nb SELECT INBOX\r\nc IDLE\r\n"

    def crowd(size: int) -> list[socket.socket]:
        lines = []
        for _ in range(size):
            line = socket.create_connection(("127.0.0.1", server.port("imap")), 60)
            lines.append(line)
            line.sendall(words)
            heard = b""
            while b"\r\n+ " not in heard:
                heard += line.recv(4096)
        return lines

    peak = Peak(server)
    lines = crowd(100)
    with peak:
        before = peak.before
        lines += crowd(CROWD - 100)
        more = peak._kilobytes("VmRSS") - before
    assert more / (CROWD - 100) < 5.0, f"{more} KB more"
    for line in lines:
        line.close()
