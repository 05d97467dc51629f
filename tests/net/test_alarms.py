"""Many deadlines, few delayed calls."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from twisted_mail_kit.net.alarms import Alarms


class Sleeper:
    rang_at = 0.0

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def ring(self) -> None:
        self.rang_at = self.clock.seconds()


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1000.25)
    return clock


def test_those_of_the_same_second_share_a_call_and_ring_within_a_second(clock: Clock) -> None:
    alarms = Alarms(clock)
    sleepers = [Sleeper(clock) for _ in range(100)]
    for number, sleeper in enumerate(sleepers):
        alarms.set(sleeper, 2000.001 + number / 100)
    assert len(clock.getDelayedCalls()) == 1
    clock.pump([0.05] * 20_040)
    for number, sleeper in enumerate(sleepers):
        assert 0 <= sleeper.rang_at - (2000.001 + number / 100) <= 1.06
    assert not clock.getDelayedCalls()


def test_a_deadline_that_is_near_is_kept_exactly(clock: Clock) -> None:
    sleeper = Sleeper(clock)
    Alarms(clock).set(sleeper, 1000.75)
    clock.advance(0.49)
    assert not sleeper.rang_at
    clock.advance(0.01)
    assert sleeper.rang_at == pytest.approx(1000.75)


def test_one_that_is_over_rings_in_the_next_turn(clock: Clock) -> None:
    sleeper = Sleeper(clock)
    Alarms(clock).set(sleeper, 900)
    clock.advance(0)
    assert sleeper.rang_at


def test_whoever_has_cancelled_is_not_rung_and_not_held(clock: Clock) -> None:
    alarms = Alarms(clock)
    gone, stays = Sleeper(clock), Sleeper(clock)
    when = alarms.set(gone, 2000)
    assert alarms.set(stays, 2000) == when
    alarms.cancel(gone, when)
    alarms.cancel(gone, when)
    clock.advance(1000)
    assert stays.rang_at
    assert not gone.rang_at
    alarms.cancel(stays, when)
    alarms.cancel(gone, alarms.set(gone, 3000))
    assert not clock.getDelayedCalls()


def test_ringing_may_set_and_cancel_others(clock: Clock) -> None:
    alarms = Alarms(clock)

    class Snoozer(Sleeper):
        def ring(self) -> None:
            alarms.cancel(other, when)
            alarms.set(self, 2000)
            self.ring = lambda: Sleeper.ring(self)  # type: ignore[method-assign]

    one, other = Snoozer(clock), Sleeper(clock)
    when = alarms.set(one, 1500)
    alarms.set(other, 1500)
    clock.advance(500)
    clock.advance(500)
    assert one.rang_at == pytest.approx(2000.25)
