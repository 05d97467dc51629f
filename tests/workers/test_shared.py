"""Limits hold over all workers together, as strangers meet them."""

from __future__ import annotations

import os
import poplib
import re
import signal
import smtplib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.interop.server import Server
from tests.interop.test_main_job import CONFIGURATION
from tests.workers.bench import pair
from tests.workers.test_server import log_says, replaced, until, workers_of
from twisted_mail_kit.workers.line import Line
from twisted_mail_kit.workers.shared import CrewsShared, WorkersShared

LIMITS = """
[smtp]
message_size = 1000000
[smtp.connections]
per_address = 6
[pop3.connections]
per_listener = 6
[imap]
sessions_per_account = 5
[login]
first_delay = 0.01
longest_delay = 0.3
"""


class Crew:
    """An owner's end and some workers' ends, with real lines between them."""

    def __init__(self, size: int) -> None:
        self.owner = CrewsShared()
        self.lines: list[Line] = []
        self.workers = [self.hire() for _ in range(size)]

    def hire(self) -> WorkersShared:
        ours, theirs = Line(reactor, {}), Line(reactor, {})
        worker = WorkersShared(reactor, theirs)
        ours.verbs.update(self.owner.verbs(ours))
        ours.news.update(self.owner.news(ours))
        ours.when_lost = lambda: self.owner.leave(ours)
        pair(ours, theirs)
        self.lines += [ours, theirs]
        self.owner.join(ours)
        return worker

    def close(self) -> None:
        for line in self.lines:
            line.close()


async def a_moment() -> None:
    await deferLater(reactor, 0.05)


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew(3)
    yield crew
    crew.close()


async def test_each_knows_what_the_others_have(crew: Crew) -> None:
    await a_moment()
    for number, worker in enumerate(crew.workers, 1):
        worker.add("connections", number)
    await a_moment()
    assert [worker.now("connections") for worker in crew.workers] == [6, 6, 6]
    crew.workers[2].add("connections", -3)
    crew.workers[0].note("new")
    await a_moment()
    assert [worker.now("connections") for worker in crew.workers] == [3, 3, 3]
    assert [worker.note("new") for worker in crew.workers] == [2, 2, 2]


async def test_one_that_comes_later_is_told_and_one_that_dies_leaves_nothing(crew: Crew) -> None:
    crew.workers[0].add("connections", 2)
    crew.workers[1].add("connections", 3)
    assert await crew.workers[1].hold("maildrop")
    await a_moment()
    late = crew.hire()
    await a_moment()
    assert late.now("connections") == 5
    assert not await late.hold("maildrop")
    crew.workers[1]._line.transport.abortConnection()
    await a_moment()
    assert late.now("connections") == crew.workers[0].now("connections") == 2
    assert await late.hold("maildrop")


async def test_only_one_holds_it_and_only_he_lets_it_go(crew: Crew) -> None:
    one, other, _ = crew.workers
    assert await one.hold("x")
    assert not await one.hold("x")
    assert not await other.hold("x")
    other.let_go("x")
    assert not await other.hold("x")
    one.let_go("x")
    await a_moment()
    assert await other.hold("x")


async def test_what_one_tells_the_others_hear(crew: Crew) -> None:
    class Ear:
        def hear(self, *facts: object) -> None:
            heard.append(facts)

    heard: list[object] = []
    ears = [Ear() for _ in crew.workers]
    for worker, ear in zip(crew.workers, ears, strict=True):
        worker.hear("failed", ear.hear)
    crew.workers[0].tell("failed", "192.0.2.1", "joe")
    await a_moment()
    assert heard == [("192.0.2.1", "joe")] * 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    text = "workers = 2\n" + CONFIGURATION.format(store="sqlite") + LIMITS
    with Server.configured(tmp_path_factory.mktemp("shared"), text) as server:
        yield server


def connected(server: Server, service: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", server.port(service)), 20)
    time.sleep(0.02)  # so that whoever accepts the next one has heard of this one
    return line


def greeting(line: socket.socket) -> bytes:
    return until(line, b"\r\n")[:3]


def test_connections_of_an_address(server: Server) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(server, "smtp")) for _ in range(12)]
        codes = [greeting(line) for line in lines]
        assert codes == [b"220"] * 6 + [b"421"] * 6
        for line in lines[:3]:
            line.close()
        time.sleep(0.1)
        assert [greeting(stack.enter_context(connected(server, "smtp"))) for _ in range(4)] == [b"220"] * 3 + [b"421"]
    time.sleep(0.1)


def test_connections_of_a_listener(server: Server) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(server, "pop3")) for _ in range(8)]
        for line in lines[:6]:
            assert until(line, b"\r\n").startswith(b"+OK")
        for line in lines[6:]:
            line.settimeout(0.2)
            with pytest.raises(TimeoutError):
                line.recv(1)
        for line in lines[:2]:
            line.close()
        for line in lines[6:]:
            line.settimeout(20)
            assert until(line, b"\r\n").startswith(b"+OK")
    time.sleep(0.1)


def test_what_a_killed_worker_had_is_free_again(server: Server) -> None:
    before = workers_of(server)
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(server, "smtp")) for _ in range(6)]
        assert [greeting(line) for line in lines] == [b"220"] * 6
        os.kill(before[1], signal.SIGKILL)
        replaced(server, 1, before[1])
        lost = 0
        for line in lines:
            line.setblocking(False)
            try:
                lost += line.recv(1) == b""
            except (BlockingIOError, ConnectionResetError) as problem:
                lost += isinstance(problem, ConnectionResetError)
        later = [stack.enter_context(connected(server, "smtp")) for _ in range(8)]
        codes = [greeting(line) for line in later]
        assert codes == [b"220"] * lost + [b"421"] * (8 - lost)
    time.sleep(0.1)


def test_imap_sessions_of_an_account(server: Server) -> None:
    with ExitStack() as stack:
        answers = []
        for _ in range(10):
            line = stack.enter_context(connected(server, "imap"))
            line.sendall(b"a LOGIN joe@example.org secret\r\n")
            file = line.makefile("rb")
            answers.append(next(said for said in file if said.startswith(b"a "))[:4] == b"a OK")
        assert answers == [True] * 5 + [False] * 5


def test_a_maildrop_is_open_once_in_all_workers(server: Server) -> None:
    def try_once() -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20)
        client.user("joe@example.org")
        client.pass_("secret")
        return client

    first = try_once()
    for _ in range(6):
        with pytest.raises(poplib.error_proto, match="IN-USE"):
            try_once()
    first.quit()
    deadline = time.monotonic() + 5
    while True:  # whichever worker it is now
        try:
            try_once().quit()
            break
        except poplib.error_proto:
            assert time.monotonic() < deadline
    # A worker that dies with a maildrop open does not lock it for ever.
    opened = try_once()
    number = int(re.findall(r"\[(\d)\] joe@example.org logged in from \S+ \(pop3\)", server.log.read_text())[-1])
    pid = workers_of(server)[number]
    os.kill(pid, signal.SIGKILL)
    replaced(server, number, pid)
    opened.close()
    try_once().quit()


def test_failed_logins_slow_down_in_all_workers(server: Server) -> None:
    for _ in range(5):
        with smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=20) as client:
            client.ehlo()
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("joe@example.org", "wrong")
    refusals = re.findall(r"\[(\d)\] login refused for joe@.*answered after ([\d.]+) s", server.log.read_text())
    assert [float(delay) for _, delay in refusals] == [min(0.3, 0.01 * 2**n) for n in range(len(refusals))]
    workers = {worker for worker, _ in refusals}
    assert workers == {"1", "2"}, "one worker had them all: the test has shown nothing"
    # Whoever knows the password does not wait, and submission works in whichever worker.
    for _ in range(4):
        with smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=20) as client:
            client.login("joe@example.org", "secret")
            client.sendmail("joe@example.org", ["joe@example.org"], "From: joe@example.org\r\nSubject: x\r\n\r\nx\r\n")
    log_says(server, "joe@example.org logged in", 4)
