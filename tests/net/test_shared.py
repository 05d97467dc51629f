"""What sessions know of each other, in one process."""

from __future__ import annotations

import gc

from twisted.internet.task import Clock

from twisted_mail_kit.net.shared import Shared


def test_what_there_is_now_is_counted_and_nothing_is_left_of_what_was() -> None:
    shared, told = Shared(Clock()), []
    shared.watch(changed := lambda: told.append(shared.now("x")))
    shared.add("x")
    shared.add("x", 2)
    shared.add("x", -3)
    assert told == [1, 3, 0]
    assert not shared._now
    shared.unwatch(changed)
    shared.add("x")
    assert len(told) == 3


def test_what_was_in_this_minute_is_forgotten_in_the_next() -> None:
    clock = Clock()
    shared = Shared(clock)
    assert [shared.note("x") for _ in range(3)] == [1, 2, 3]
    assert shared.note("y") == 1
    clock.advance(60)
    assert shared.note("x") == 1


async def test_one_holds_it_until_he_lets_it_go() -> None:
    shared = Shared(Clock())
    assert await shared.hold("x")
    assert not await shared.hold("x")
    assert await shared.hold("y")
    shared.let_go("x")
    assert await shared.hold("x")


def test_only_the_living_hear() -> None:
    class Ear:
        def hear(self, *facts: object) -> None:
            heard.append(facts)

    heard: list[object] = []
    shared, one, other = Shared(Clock()), Ear(), Ear()
    shared.hear("news", one.hear)
    shared.hear("news", other.hear)
    shared.heard("news", 1)
    assert heard == [(1,), (1,)]
    del one
    gc.collect()
    shared.heard("news", 2)
    shared.heard("nobody listens", 2)
    assert heard[2:] == [(2,)]
