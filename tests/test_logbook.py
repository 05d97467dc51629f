"""The logbook: the same lines that twistd writes, fewer writes."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, textFileLogObserver
from twisted.python.failure import Failure

from twisted_mail_kit.logbook import Logbook, logbook_of
from twisted_mail_kit.net.telling import tell


class Reactor(Clock):
    """A clock that is said to run, and remembers what belongs to its end."""

    running = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.at_the_end: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:
        assert (phase, event) == ("after", "shutdown")
        self.at_the_end.append(call)


class Page(io.StringIO):
    """Counts what is written to it."""

    encoding = "utf-8"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def raised() -> Failure:
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        return Failure()


@pytest.mark.parametrize(
    "event",
    [
        {"log_format": "hello {name}", "name": "joe"},
        {"log_format": "two\nlines"},
        {"log_format": "it broke", "log_failure": raised(), "log_level": LogLevel.critical},
        {"log_format": "no time", "log_time": None},
        {"log_format": "", "log_level": LogLevel.info},
        {},
        {"log_format": "old", "log_system": "HTTPChannel,1", "log_level": None},
        {"log_format": "{missing}"},
        {"log_format": "Gr\u00fc\u00dfe \ud800"},
    ],
)
def test_a_line_is_what_twistd_would_have_written(event: dict[str, Any]) -> None:
    theirs, ours = io.StringIO(), Page()
    event = {"log_time": 1_700_000_000.7, "log_namespace": "a.b", "log_level": LogLevel.info, **event}
    textFileLogObserver(theirs)(dict(event))
    book = Logbook(ours, Reactor())
    book(dict(event))
    book.flush()
    # What cannot be formatted says where in memory it is.
    assert re.sub("0x[0-9a-f]+", "", ours.getvalue()) == re.sub("0x[0-9a-f]+", "", theirs.getvalue())


def test_a_sentence_that_is_ready_is_taken_as_it_is() -> None:
    page, events = Page(), []
    tell(Logger("a.b", observer=events.append), "50 % {of} it\nall", recipients=2)
    theirs = io.StringIO()
    textFileLogObserver(theirs)(events[0])
    Logbook(page, Reactor())(events[0])
    book = Logbook(page, Reactor())
    book(events[0])
    book.flush()
    assert page.getvalue() == theirs.getvalue()
    assert "50 % {of} it\n\tall" in page.getvalue()


def test_what_is_said_in_a_turn_is_one_write_and_a_warning_waits_for_nothing() -> None:
    page, reactor = Page(), Reactor()
    book = Logbook(page, reactor)
    log = Logger("a.b", observer=book)
    log.info("one")
    log.info("two")
    assert page.writes == 0
    reactor.advance(0)
    assert page.writes == 1
    log.info("three")
    log.warn("four")
    assert page.writes == 2
    reactor.advance(0)
    assert page.writes == 2
    assert [line.rpartition(" ")[2] for line in page.getvalue().splitlines()] == ["one", "two", "three", "four"]


def test_at_the_end_and_before_the_beginning_nothing_waits() -> None:
    page, reactor = Page(), Reactor()
    log = Logger("a.b", observer=Logbook(page, reactor))
    log.info("one")
    for call in reactor.at_the_end:
        call()
    assert "one" in page.getvalue()
    reactor.running = False
    log.info("two")
    assert "two" in page.getvalue()


def test_lines_of_other_threads_are_whole_and_none_is_lost() -> None:
    page, reactor = Page(), Reactor()
    log = Logger("a.b", observer=Logbook(page, reactor))

    def chatter() -> None:
        for number in range(500):
            log.info("{number} said elsewhere", number=number)

    threads = [threading.Thread(target=chatter) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(500):
        log.info("{number} said here", number=number)
        reactor.advance(0)
    for thread in threads:
        thread.join(60)
    lines = page.getvalue().splitlines()
    assert sum(line.endswith("said here") for line in lines) == 500
    assert sum(line.endswith("said elsewhere") for line in lines) == 1500


def test_octets_where_the_file_takes_octets() -> None:
    file, reactor = io.BytesIO(), Reactor()
    Logger("a.b", observer=Logbook(file, reactor)).warn("Gr\u00fc\u00dfe \ud800")
    assert "Gr\u00fc\u00dfe \\ud800\n".encode() in file.getvalue()


@pytest.mark.parametrize(
    "options",
    [{"syslog": True}, {"logger": "a.b"}, {"logfile": "-", "nodaemon": False}],
    ids=lambda one: next(iter(one)),
)
def test_where_something_else_is_wanted_twistd_does_it(options: dict[str, Any]) -> None:
    assert logbook_of(options, Reactor()) is None


def test_twistd_writes_its_log_through_it_and_begins_a_new_file_at_sigusr1(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
    process = subprocess.Popen(
        [*command, "--logfile", str(log), "mailkit", "--state", str(tmp_path / "state"), "--ready-file", "ready.json"],
        cwd=tmp_path,
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "starting up" in log.read_text()
        process.send_signal(signal.SIGUSR1)
        while not list(tmp_path.glob("log.txt.*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        assert process.wait(60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait(60)
    assert "starting up" in next(tmp_path.glob("log.txt.*")).read_text()
    said = log.read_text()
    assert "Server Shut Down." in said
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[", said)
