"""The inbox: events in order, a pause when nobody listens, one alarm, an end."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.net.inbox import NEED_DATA, WOKEN, Draining, Inbox, Signal, TimedOut


class Lines:
    def __init__(self) -> None:
        self.buffer = b""

    def receive(self, octets: bytes) -> None:
        self.buffer += octets

    def next_event(self) -> bytes | Signal:
        line, found, rest = self.buffer.partition(b"\n")
        if not found:
            return NEED_DATA
        self.buffer = rest
        return line


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport() -> StringTransport:
    return StringTransport()


@pytest.fixture
def inbox(clock: Clock, transport: StringTransport) -> Inbox[bytes]:
    return Inbox(Lines(), transport, clock)


def listen(inbox: Inbox[bytes], seconds: float = 10, **more: bool) -> Deferred[object]:
    return Deferred.fromCoroutine(inbox.next(seconds, **more))


def test_events_come_in_order_however_they_were_cut(inbox: Inbox[bytes]) -> None:
    heard: list[object] = []
    for piece in (b"on", b"e\ntw", b"o\nthree\n"):
        inbox.received(piece)
    for _ in range(3):
        listen(inbox).addCallback(heard.append)
    assert heard == [b"one", b"two", b"three"]


def test_silence_is_timed_out_and_speech_is_not(inbox: Inbox[bytes], clock: Clock) -> None:
    first = listen(inbox, 10)
    clock.advance(9)
    inbox.received(b"x\n")
    assert first.result == b"x"
    second = listen(inbox, 10)
    clock.advance(9)
    assert not second.called
    clock.advance(1)
    assert isinstance(second.result.value, TimedOut)  # type: ignore[attr-defined]
    second.addErrback(lambda _: None)


def test_a_shorter_patience_moves_the_alarm_forward(inbox: Inbox[bytes], clock: Clock) -> None:
    first = listen(inbox, 300)
    inbox.received(b"x\n")
    assert first.called
    second = listen(inbox, 5)
    clock.advance(5)
    second.addErrback(lambda failure: failure.trap(TimedOut))
    assert second.called


def test_a_flood_pauses_the_transport_until_it_is_eaten(inbox: Inbox[bytes], transport: StringTransport) -> None:
    inbox.received(b"x\n" * Inbox.HIGH_WATER)
    assert transport.producerState == "paused"
    for _ in range(Inbox.HIGH_WATER):
        assert listen(inbox).result == b"x"
    waiting = listen(inbox)
    assert transport.producerState == "producing"
    inbox.ended()
    waiting.addErrback(lambda failure: failure.trap(ConnectionEnded))


def test_what_was_said_before_the_end_is_heard(inbox: Inbox[bytes]) -> None:
    inbox.received(b"last words\n")
    inbox.ended()
    assert listen(inbox).result == b"last words"
    end = listen(inbox)
    end.addErrback(lambda failure: failure.trap(ConnectionEnded))
    assert end.called


def test_wake_is_kept_until_somebody_listens_for_it(inbox: Inbox[bytes]) -> None:
    inbox.wake()
    inbox.received(b"x\n")
    assert listen(inbox, wakeable=True).result == b"x"
    assert listen(inbox, wakeable=True).result is WOKEN
    waiting = listen(inbox, wakeable=True)
    assert not waiting.called
    inbox.wake()
    assert waiting.result is WOKEN


def test_drain_ends_at_a_safe_point_only(inbox: Inbox[bytes]) -> None:
    unsafe = listen(inbox)
    inbox.drain()
    assert not unsafe.called
    inbox.received(b"x\n")
    safe = listen(inbox, safe_point=True)
    safe.addErrback(lambda failure: failure.trap(Draining))
    assert safe.called
