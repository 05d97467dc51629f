"""A message of 100 MB: what it takes of the server's memory, and what other sessions notice of it."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from bench.dovecot import dovecots
from bench.drive import Unexpected
from bench.effort import Effort
from bench.lines import IMAPLine, POP3Line
from bench.load import send
from bench.servers import Ours, Server, running
from bench.table import Table, goals, note, percentile
from bench.text import large_message

MORE_MEMORY, P99 = 16.0, 50.0
USER, OTHER = "u1@example.org", "joe@example.org"


def large(effort: Effort) -> None:
    """In by SMTP and APPEND, out by FETCH and RETR, each time with another session that asks small things."""
    message = large_message(effort.large)
    table = Table(
        f"{effort.large // 1_000_000} MB", "server", "seconds", "more memory", "another session's median", "p99"
    )
    most: dict[str, tuple[float, float]] = {}
    kinds: list[type[Server]] = [Ours, *dovecots()[:1]]
    for kind in kinds:
        with running(kind) as (server,):
            send(server.ports["lmtp"], 1, 10, 2_000, OTHER, hello=b"LHLO")
            IMAPLine(server.ports["imap"], USER).close()
            for what, transfer in (
                ("in by SMTP" if kind is Ours else "in by LMTP", _deliver),
                ("in by APPEND", _append),
                ("out by FETCH", _fetch),
                ("out by RETR", _retrieve),
            ):
                seconds, more, waits = _beside(server, transfer, message)
                late = percentile(waits, 99) * 1000
                most[what] = max(most.get(what, (0.0, 0.0)), (more, late)) if kind is Ours else (0.0, 0.0)
                middle = percentile(waits, 50) * 1000
                table.row(what, kind.name, f"{seconds:.2f}", f"{more:.1f} MB", f"{middle:.1f} ms", f"{late:.1f} ms")
        if kind is Ours:
            goals.at_most("a large message: more memory", MORE_MEMORY, max(more for more, _ in most.values()), "MB")
            goals.at_most("a large message: p99 of others", P99, max(late for _, late in most.values()), "ms")
    note(
        "The other session asks for the flags of one message every few milliseconds. Memory is looked at as often, so a"
        " peak between two looks is not seen. Dovecot gets the message by LMTP."
    )


def _beside(
    server: Server, transfer: Callable[[Server, bytes], float], message: bytes
) -> tuple[float, float, list[float]]:
    """Seconds of the transfer, MB more of memory, and how long each question of another session took."""
    line = IMAPLine(server.ports["imap"], OTHER)
    line.ask(b"SELECT INBOX")
    for _ in range(20):
        line.ask(b"FETCH 1 (FLAGS)")
    base = highest = server.memory()
    # A process of its own, so that moving 100 MB does not keep our own questions waiting.
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=(theirs, transfer, server, message))
    child.start()
    theirs.close()
    waits: list[float] = []
    while not ours.poll(0.003):
        began = time.monotonic()
        line.ask(b"FETCH 1 (FLAGS)")
        waits.append(time.monotonic() - began)
        highest = max(highest, server.memory())
    seconds = ours.recv()
    child.join()
    line.close()
    if seconds is None:
        raise SystemExit("the transfer failed")
    return seconds, (highest - base) / 1e6, waits or [0.0]


def _in_a_child(answer: Connection, transfer: Callable[[Server, bytes], float], server: Server, message: bytes) -> None:
    seconds = None
    try:
        seconds = transfer(server, message)
    finally:
        answer.send(seconds)


def _deliver(server: Server, message: bytes) -> float:
    smtp = isinstance(server, Ours)
    with socket.create_connection(("127.0.0.1", server.ports["smtp" if smtp else "lmtp"]), 120) as line:
        file = line.makefile("rb")
        steps = (b"", b"EHLO me\r\n" if smtp else b"LHLO me\r\n", b"MAIL FROM:<ann@example.net>\r\n")
        for command in (*steps, b"RCPT TO:<%b>\r\n" % USER.encode(), b"DATA\r\n"):
            line.sendall(command)
            _reply(file.readline)
        began = time.monotonic()
        line.sendall(message + b".\r\n")
        _reply(file.readline)
        return time.monotonic() - began


def _reply(read: Callable[[], bytes]) -> None:
    while (line := read())[3:4] == b"-":
        pass
    if line[:1] not in (b"2", b"3"):
        raise Unexpected(line.decode("utf-8", "replace"))


def _append(server: Server, message: bytes) -> float:
    line = IMAPLine(server.ports["imap"], USER)
    began = time.monotonic()
    line.append(b"INBOX", [message])
    return time.monotonic() - began


def _fetch(server: Server, message: bytes) -> float:
    line = IMAPLine(server.ports["imap"], USER)
    line.ask(b"SELECT INBOX")
    began = time.monotonic()
    if line.drink(b"FETCH 1 BODY.PEEK[]") < len(message):
        raise Unexpected("not all of it came back")
    return time.monotonic() - began


def _retrieve(server: Server, message: bytes) -> float:
    line = POP3Line(server.ports["pop3"], USER)
    began = time.monotonic()
    if line.retrieve([1]) < len(message):
        raise Unexpected("not all of it came back")
    return time.monotonic() - began
