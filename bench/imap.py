"""A mailbox of ten thousand, read, changed and searched over IMAP, beside Dovecot."""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench.dovecot import Dovecot, dovecots
from bench.drive import Line, Story, drive, tagged
from bench.effort import Effort
from bench.lines import IMAPLine
from bench.servers import Ours, Server, running
from bench.table import Table, goals, note
from bench.text import OFTEN, RARE, message_of, with_the_rare_word

WRITERS = 20
LEARNED = 10.0
"""Seconds that our index is given at most, after the first SEARCH in a mailbox."""


class Client:
    """A session with the mailbox open, for each server one."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = server.ports["imap"]
        self.line = IMAPLine(self.port)
        self.line.ask(b"SELECT INBOX")
        self.others: list[IMAPLine] = []


@dataclass(frozen=True)
class Work:
    """One row."""

    name: str
    units: int
    """What its time is divided by: messages, or questions."""
    do: Callable[[Client, int], float | None]
    """Told the number of the round. Answers seconds, where not all that it does counts."""
    goal: float | None = None
    prepare: Callable[[Client, int], None] | None = None
    """What is done before, untimed."""


def works(effort: Effort) -> Sequence[Work]:
    """All rows, in the order in which they are done."""
    many, steps = effort.mailbox, effort.steps
    some = random.Random(3).sample(range(1, many + 1), min(steps, many))
    new = min(many, 2_000)
    few, short = some[: max(1, steps // 4)], max(1, steps // 20)
    appended = short * 4

    def fetch(items: bytes) -> Callable[[Client, int], float | None]:
        def do(client: Client, number: int) -> None:
            client.line.drink(b"FETCH 1:* " + items)

        return do

    def bodies_in_turn(client: Client, number: int) -> None:
        for one in some:
            client.line.drink(b"FETCH %d BODY.PEEK[]" % one)

    def store_in_turn(client: Client, number: int) -> None:
        for one in few:
            client.line.ask(b"STORE %d %bFLAGS (\\Flagged)" % (one, b"-" if number % 2 else b"+"))

    def store_all(client: Client, number: int) -> None:
        client.line.ask(b"STORE 1:* %bFLAGS (\\Answered)" % (b"-" if number % 2 else b"+"))

    def append(client: Client, number: int) -> None:
        append_at_once(client.port, "joe@example.org", b"Appended%d" % number, appended)

    def make_mailbox(client: Client, number: int) -> None:
        client.line.ask(b"CREATE Appended%d" % number)

    def log_in_others(client: Client, number: int) -> None:
        client.others = [IMAPLine(client.port) for _ in range(short)]

    def leave_alone(client: Client, number: int) -> None:
        client.line.ask(b"CLOSE")
        log_in_others(client, number)

    def select(client: Client, number: int) -> float:
        """In a session that has nothing open; it is closed before the next one's."""
        seconds = 0.0
        for line in client.others:
            began = time.monotonic()
            line.ask(b"SELECT INBOX")
            seconds += time.monotonic() - began
            line.ask(b"CLOSE")
            line.close()
        return seconds

    def select_alone(client: Client, number: int) -> float:
        seconds = select(client, number)
        client.line.ask(b"SELECT INBOX")
        return seconds

    def select_again(client: Client, number: int) -> None:
        for _ in range(short):
            client.line.ask(b"SELECT INBOX")

    def search(keys: bytes, found: bytes = rb"\* SEARCH \d+") -> Callable[[Client, int], float | None]:
        def do(client: Client, number: int) -> None:
            began = time.monotonic()
            answer = client.line.ask(b"SEARCH " + keys)
            if not re.search(found, answer):
                raise SystemExit(f"{client.server.name} did not find {keys!r}: {answer!r}")
            first = time.monotonic() - began
            while not number and isinstance(client.server, Ours) and time.monotonic() - began < LEARNED:
                # Its index is made after the first SEARCH: see that it is there before anything is measured.
                time.sleep(0.5)
                before = time.monotonic()
                client.line.ask(b"SEARCH " + keys)
                if time.monotonic() - before < first / 10:
                    break

        return do

    def copy_some(client: Client, number: int) -> None:
        client.line.ask(b"CREATE New%d" % number)
        client.line.ask(b"COPY %d:* New%d" % (many - new + 1, number))

    def search_first(client: Client, number: int) -> float:
        client.line.ask(b"SELECT New%d" % number)
        began = time.monotonic()
        client.line.ask(b"SEARCH TEXT " + RARE)
        seconds = time.monotonic() - began
        client.line.ask(b"SELECT INBOX")
        return seconds

    return (
        Work("FETCH 1:* (FLAGS UID RFC822.SIZE)", many, fetch(b"(FLAGS UID RFC822.SIZE)"), 1),
        Work("FETCH 1:* (ENVELOPE)", many, fetch(b"(ENVELOPE)"), 4),
        Work("FETCH 1:* (BODYSTRUCTURE)", many, fetch(b"(BODYSTRUCTURE)")),
        Work("FETCH 1:* (BODY.PEEK[])", many, fetch(b"(BODY.PEEK[])"), 1.5),
        Work("FETCH BODY.PEEK[] of one, one after the other", len(some), bodies_in_turn, 1),
        Work("STORE of one, one after the other", len(few), store_in_turn, 2),
        Work("STORE 1:*", many, store_all),
        Work(f"APPEND of 2 KB, {WRITERS} sessions", appended, append, 2, make_mailbox),
        Work("SELECT, nobody else has it open", short, select_alone, 5, leave_alone),
        Work("SELECT, somebody has it open", short, select, None, log_in_others),
        Work("SELECT again", short, select_again),
        Work("SEARCH TEXT, the first in a mailbox, a message of it", new, search_first, None, copy_some),
        Work("SEARCH TEXT of a word that one message has", 1, search(b"TEXT " + RARE), 100),
        Work("SEARCH BODY of two words, one of them rare", 1, search(b"BODY " + OFTEN + b" BODY " + RARE)),
        Work(
            "SEARCH HEADER of a Message-ID that is not there",
            1,
            search(b"HEADER Message-ID " + RARE, rb"\* SEARCH *\r\n"),
        ),
        Work("SEARCH SUBJECT of a word that one in twenty has", 1, search(b"SUBJECT quarter")),
        Work("SEARCH TEXT of a word that most messages have", 1, search(b"TEXT harbour")),
    )


def imap(effort: Effort) -> None:
    """Each row in turn, warm: a first round is not counted."""
    kinds: list[type[Server]] = [Ours, *dovecots()]
    table = Table(
        f"IMAP, {effort.mailbox:,} messages of 2 KB, warm",
        *(kind.name for kind in kinds),
        "against the better",
        *(f"CPU {kind.name}" for kind in kinds),
    )
    with running(*map(unsynced, kinds)) as servers:
        for server in servers:
            fill(server, effort.mailbox)
        clients = [Client(server) for server in servers]
        for work in works(effort):
            times: dict[str, list[float]] = {kind.name: [] for kind in kinds}
            costs = {kind.name: 0.0 for kind in kinds}
            for number in range(effort.rounds + 1):
                for client in clients:
                    if work.prepare is not None:
                        work.prepare(client, number)
                    before, began = client.server.cpu(), time.monotonic()
                    seconds = work.do(client, number) or time.monotonic() - began
                    if number:
                        times[client.server.name].append(seconds / work.units)
                        costs[client.server.name] += (client.server.cpu() - before) / work.units / effort.rounds
            took = [statistics.median(times[kind.name]) for kind in kinds]
            ratio = ""
            if len(took) > 1:
                ratio = f"{min(took[1:]) / took[0]:.2f}x"
                if work.goal:
                    goals.at_least(f"IMAP {work.name}", work.goal, min(took[1:]) / took[0])
            cells = [duration(one) for one in (*took, *costs.values())]
            table.row(work.name, *cells[: len(kinds)], ratio, *cells[len(kinds) :])
        for client in clients:
            client.line.close()
    note(
        "Times are for one message, or for one question where there is one after the other. STORE waits for a sync on"
        " both sides."
    )


def unsynced(kind: type[Server]) -> Callable[[], Server]:
    """Dovecot without syncs at first: nobody measures how the mailbox is filled. `fill` puts it right."""
    return partial(kind, "never") if issubclass(kind, Dovecot) else kind


def fill(server: Server, count: int, user: str = "joe@example.org") -> None:
    """Put so many messages into the inbox; one of them has the rare word."""
    port = server.ports["imap"]
    line = IMAPLine(port, user)
    half = count // 2
    if isinstance(server, Dovecot):
        for batch in (half, count - half - 1):
            line.append(b"INBOX", [message_of(2_000) for _ in range(batch)])
    else:
        append_at_once(port, user, b"INBOX", count - 1)
    line.append(b"INBOX", [with_the_rare_word(message_of(2_000))])
    line.close()
    if isinstance(server, Dovecot):
        server.make_durable()


def append_at_once(port: int, user: str, mailbox: bytes, messages: int) -> None:
    """Over several sessions at once, one after the other in each."""
    left = messages
    lines = [Line(port) for _ in range(WRITERS)]

    def log_in(line: Line) -> Story:
        yield b"", greeted
        yield b"l LOGIN %b secret\r\n" % user.encode(), tagged(b"l")

    def append(line: Line) -> Story:
        nonlocal left
        while left > 0:
            left -= 1
            message = message_of(2_000)
            yield b"a APPEND %b {%d+}\r\n%b\r\n" % (mailbox, len(message), message), tagged(b"a")

    drive(lines, log_in)
    drive(lines, append)
    for line in lines:
        line.close()


def greeted(heard: bytearray) -> bool:
    return heard.startswith(b"* OK") and heard.endswith(b"\r\n")


def duration(seconds: float) -> str:
    """In a unit that is easy to read."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 0.001:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1e6:.1f} us"
