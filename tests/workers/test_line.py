"""The line: many things at a time, in order, and never a wait for somebody who is not there."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.workers.bench import pair
from twisted_mail_kit.errors import MailboxNotFound, Unavailable
from twisted_mail_kit.workers.frames import LENGTH, pack
from twisted_mail_kit.workers.line import Line
from twisted_mail_kit.workers.pulse import Pulse
from twisted_mail_kit.workers.sockets import adopt_line


class End(Line):
    """Answers what it is asked to, when it is told to."""

    def __init__(self) -> None:
        super().__init__(reactor, {"echo": self.echo, "wait": self.wait, "fail": self.fail}, {"note": self.note})
        self.noted: list[Any] = []
        self.waiting: list[Deferred[Any]] = []
        self.lost: Deferred[None] = Deferred()
        self.when_lost = lambda: self.lost.callback(None)

    async def echo(self, value: Any) -> Any:
        return value

    async def wait(self, value: Any) -> Any:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        await waiting
        return value

    async def fail(self, error: str) -> None:
        raise MailboxNotFound(error) if error else KeyError("secret of the house")

    def note(self, *what: Any) -> None:
        self.noted.append(what)
        if what == ("trouble",):
            raise ValueError


@pytest_twisted.async_yield_fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    one, other = End(), End()
    pair(one, other)
    yield one, other
    for end in (one, other):
        end.close()
    await one.lost
    await other.lost


async def test_both_ends_ask_and_answer(ends: tuple[End, End]) -> None:
    one, _ = ends
    asked = [end.ask("echo", (end is one, number)) for number in range(100) for end in ends]
    answers = [await answer for answer in asked]
    assert answers == [(end is one, number) for number in range(100) for end in ends]


async def test_who_waits_holds_up_nobody(ends: tuple[End, End]) -> None:
    one, other = ends
    slow = [one.ask("wait", number) for number in range(3)]
    assert await one.ask("echo", "quick") == "quick"
    for number in (2, 0, 1):
        other.waiting[number].callback(None)
        assert await slow[number] == number


async def test_what_is_told_arrives_in_order_with_what_is_asked(ends: tuple[End, End]) -> None:
    one, other = ends
    one.tell("note", 1)
    one.mention("note", 2)
    assert other.noted == []
    await one.ask("echo", None)
    assert other.noted == [(1,), (2,)]
    one.mention("note", 3)
    one.tell("note", 4)
    await one.ask("echo", None)
    assert other.noted[2:] == [(3,), (4,)]


async def test_errors_of_mail_are_raised_here_and_others_are_a_reference(ends: tuple[End, End]) -> None:
    one, _ = ends
    with pytest.raises(MailboxNotFound, match="Sent"):
        await one.ask("fail", "Sent")
    with pytest.raises(Unavailable, match="reference") as told:
        await one.ask("fail", "")
    assert "secret" not in str(told.value)
    with pytest.raises(Unavailable):
        await one.ask("no-such-verb")
    with pytest.raises(Exception, match="lambda"):
        await one.ask("echo", lambda: None)
    one.tell("no-such-news")
    one.tell("note", "trouble")
    assert await one.ask("echo", "on it goes") == "on it goes"


async def test_megabytes_both_ways_at_once(ends: tuple[End, End]) -> None:
    blob = bytes(range(256)) * 4096
    asked = [end.ask("echo", blob) for _ in range(8) for end in ends]
    for answer in asked:
        assert await answer == blob


async def test_a_full_pipe_is_told_and_gets_room_again(ends: tuple[End, End]) -> None:
    one, other = ends
    told: list[str] = []
    one.when_room = lambda: told.append("room")
    other.transport.pauseProducing()  # it does not read
    for _ in range(50):  # far more than the kernel holds
        one.tell("note", b"x" * 100_000)
        await deferLater(reactor, 0)
    assert one.is_full
    told.clear()
    await deferLater(reactor, 0.05)
    assert told == []
    other.transport.resumeProducing()
    while not told:
        await deferLater(reactor, 0.01)
    assert not one.is_full
    assert await one.ask("echo", 1) == 1


async def test_the_others_death_is_an_answer_to_all(ends: tuple[End, End]) -> None:
    one, other = ends
    asked = [one.ask("wait", number) for number in range(3)]
    await one.ask("echo", None)
    other.transport.abortConnection()
    for answer in asked:
        with pytest.raises(Unavailable, match="gone"):
            await answer
    with pytest.raises(Unavailable, match="gone"):
        await one.ask("echo", 1)
    one.tell("note", 1)
    one.mention("note", 2)


async def test_one_that_is_half_closed_is_gone(ends: tuple[End, End]) -> None:
    one, other = ends
    waiting = one.ask("wait", 1)
    await one.ask("echo", None)
    other.transport.getHandle().shutdown(socket.SHUT_WR)
    with pytest.raises(Unavailable, match="gone"):
        await waiting


@pytest.mark.parametrize("octets", [b"HELP\r\n", LENGTH.pack(1 << 31), pack("hello"), pack((1, 2)), pack(None)])
async def test_nonsense_cuts_the_line(octets: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    end = End()
    adopt_line(reactor, ours.fileno(), end)
    ours.close()
    waiting = end.ask("wait", 1)
    theirs.sendall(octets)
    with pytest.raises(Unavailable):
        await waiting
    await end.lost
    theirs.close()


async def test_one_that_hangs_is_noticed_and_comes_back(ends: tuple[End, End]) -> None:
    one, other = ends
    silences: list[str] = []

    def silent() -> None:
        silences.append("silent")
        one.expect_nothing()

    pulses = [Pulse(one, 0.3, silent), Pulse(other, 0.3, lambda: silences.append("the wrong one"))]
    for pulse in pulses:
        pulse.start()
    await deferLater(reactor, 0.6)
    assert silences == []
    waiting = one.ask("wait", 1)
    other.transport.stopReading()
    pulses[1].stop()  # it hangs: it neither hears nor speaks
    with pytest.raises(Unavailable, match="no sign of life"):
        await waiting
    with pytest.raises(Unavailable, match="no sign of life"):
        await one.ask("echo", 1)
    await deferLater(reactor, 0.6)
    assert silences == ["silent"]
    other.transport.startReading()
    pulses[1].start()
    while one.is_silent:
        await deferLater(reactor, 0.01)
    assert await one.ask("echo", 1) == 1
    assert len(other.waiting) == 1
    other.waiting[0].callback(None)  # an answer that nobody waits for any more
    for pulse in pulses:
        pulse.stop()
