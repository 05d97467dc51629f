"""The outflow: gathered writes, the reader's pace, an end that is not taken for a reader."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.net.outflow import Outflow
from twisted_mail_kit.testing.transport import MemoryTransport


class Listener:
    """Only has to be told of the end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def makeConnection(self, transport: MemoryTransport) -> None:
        self.outflow = Outflow(transport, self.clock)

    def connectionLost(self, reason: object) -> None:
        self.outflow.ended()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport(clock: Clock) -> MemoryTransport:
    transport = MemoryTransport()
    transport.connect(Listener(clock))
    return transport


def test_writes_are_gathered_until_flush(transport: MemoryTransport) -> None:
    outflow = transport.protocol.outflow
    outflow.write(b"a")
    outflow.write(b"b")
    assert not transport.unread()
    outflow.flush()
    assert transport.take() == b"ab"


def test_drained_waits_for_the_reader(transport: MemoryTransport, clock: Clock) -> None:
    outflow = transport.protocol.outflow
    outflow.write(b"x" * 100_000)
    waiting = Deferred.fromCoroutine(outflow.drained())
    assert not waiting.called
    transport.take()
    assert waiting.called
    assert not clock.getDelayedCalls()


def test_a_reader_that_goes_has_not_read(transport: MemoryTransport) -> None:
    outflow = transport.protocol.outflow
    outflow.write(b"x" * 100_000)
    waiting = Deferred.fromCoroutine(outflow.drained())
    ends: list[object] = []
    waiting.addErrback(lambda failure: ends.append(failure.trap(ConnectionEnded)))
    transport.drop()
    transport.turn()
    assert ends == [ConnectionEnded]


def test_a_reader_that_reads_nothing_is_cut_off(transport: MemoryTransport, clock: Clock) -> None:
    outflow = transport.protocol.outflow
    outflow.write(b"x" * 100_000)
    waiting = Deferred.fromCoroutine(outflow.drained())
    waiting.addErrback(lambda failure: failure.trap(ConnectionEnded))
    clock.advance(301)
    transport.turn()
    assert transport.is_closed()
    assert waiting.called
    assert not clock.getDelayedCalls()
