"""The end of a turn: a piece of work is done there once, and those who wait there go on in a row."""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_mail_kit.net.turn import AtTurnsEnd, Turn


def test_however_often_it_is_asked_for_it_is_done_once() -> None:
    clock, done = Clock(), []
    work = AtTurnsEnd(clock, lambda: done.append(clock.seconds()))
    work.soon()
    work.soon()
    assert done == []
    clock.advance(0)
    assert done == [0]
    clock.advance(1)
    assert done == [0]
    work.soon()
    clock.advance(0)
    assert done == [0, 1]


def test_what_is_done_now_is_not_done_again_at_the_end() -> None:
    clock, done = Clock(), []
    work = AtTurnsEnd(clock, lambda: done.append("done"))
    work.now()
    work.soon()
    work.now()
    assert done == ["done", "done"]
    clock.advance(0)
    assert done == ["done", "done"]
    assert not clock.getDelayedCalls()


def test_it_may_be_asked_for_while_it_is_done_and_cancelled() -> None:
    clock, done = Clock(), []

    def again() -> None:
        done.append("done")
        if len(done) < 3:
            work.soon()

    work = AtTurnsEnd(clock, again)
    work.soon()
    for _ in range(5):
        clock.advance(0)
    assert len(done) == 3
    work.soon()
    work.cancel()
    clock.advance(0)
    assert len(done) == 3


def test_those_who_wait_go_on_in_their_order_and_one_that_was_cancelled_does_not() -> None:
    clock, heard = Clock(), []
    turn = Turn(clock)
    waiting = [turn.end() for _ in range(3)]
    for number, one in enumerate(waiting):
        one.addCallbacks(lambda _, number=number: heard.append(number), lambda _: None)
    waiting[1].cancel()
    clock.advance(0)
    assert heard == [0, 2]
