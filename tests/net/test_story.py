"""A session's coroutine: it goes on when what it awaits has fired, and its end is told once."""

from __future__ import annotations

import gc
import weakref

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from twisted_mail_kit.net.story import Story, Until

Ends = list[Failure | None]


def test_it_runs_to_its_first_wait_and_on_from_there() -> None:
    heard: list[object] = []
    ends: Ends = []
    first: Deferred[str] = Deferred()
    second: Deferred[str] = Deferred()

    async def run() -> None:
        heard.append(await first)
        heard.append(await second)

    Story(run(), ends.append).begin()
    assert heard == []
    first.callback("one")
    assert heard == ["one"]
    assert ends == []
    second.callback("two")
    assert heard == ["one", "two"]
    assert ends == [None]


def test_one_that_waits_for_nothing_ends_at_once() -> None:
    ends: Ends = []

    async def run() -> None:
        await succeed(None)

    Story(run(), ends.append).begin()
    assert ends == [None]


def test_a_failure_is_raised_where_it_was_waited_for() -> None:
    heard: list[object] = []
    ends: Ends = []
    waiting: Deferred[None] = Deferred()

    async def run() -> None:
        try:
            await waiting
        except ValueError as problem:
            heard.append(str(problem))

    Story(run(), ends.append).begin()
    waiting.errback(ValueError("no"))
    assert heard == ["no"]
    assert ends == [None]


@pytest.mark.parametrize("wraps", [False, True])
def test_what_is_raised_ends_it_with_its_traceback(wraps: bool) -> None:
    ends: Ends = []
    waiting: Deferred[None] = Deferred()

    async def within() -> None:
        await (Until(waiting) if wraps else waiting)

    async def run() -> None:
        await within()

    Story(run(), ends.append).begin()
    waiting.errback(ValueError("no"))
    (failure,) = ends
    assert failure is not None
    assert failure.check(ValueError)
    assert "in within" in failure.getTraceback()


def test_until_is_awaited_under_twisteds_own_driver_too() -> None:
    waiting: Deferred[None] = Deferred()

    async def run() -> str:
        await Until(waiting)
        return "done"

    done = Deferred.fromCoroutine(run())
    assert not done.called
    waiting.callback(None)
    assert done.result == "done"


def test_one_that_nobody_can_wake_any_more_is_not_kept() -> None:
    class Thing:
        pass

    there: list[weakref.ref[Thing]] = []

    async def run() -> None:
        thing = Thing()
        there.append(weakref.ref(thing))
        waiting: Deferred[None] = Deferred()
        await Until(waiting)

    Story(run(), lambda _: None).begin()
    gc.collect()
    assert there[0]() is None
