"""Time, threads, crashes and disks of the world."""

from __future__ import annotations

import time

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool

from twisted_mail_kit.interfaces import IMailStore
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.world import Timeline, World, WorldSpins
from twisted_mail_kit.testing.world import timeline as timeline_module

HERE = "198.51.100.1"
THERE = "192.0.2.1"


def test_what_is_due_first_happens_first_and_equals_in_order() -> None:
    world, rung = World(), []
    for seconds, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b"), (0, "now")):
        world.reactor.callLater(seconds, rung.append, name)
    world.run(1.5)
    assert rung == ["now", "a", "b"]
    world.run(1.5)
    assert rung == ["now", "a", "b", "c", "d"] and world.now == 3


def test_a_call_can_be_cancelled_and_moved() -> None:
    world, rung = World(), []
    ring = lambda name: world.reactor.callLater(10, lambda: rung.append((name, world.now)))  # noqa: E731
    never, later, sooner, twice = (ring(name) for name in ("never", "later", "sooner", "twice"))
    never.cancel()
    later.reset(20)
    sooner.reset(5)
    twice.reset(1)
    twice.reset(30)
    assert len(world.reactor.getDelayedCalls()) == 3
    world.run(100)
    assert rung == [("sooner", 5), ("later", 20), ("twice", 30)]
    assert world.reactor.getDelayedCalls() == []


def test_thousands_of_cancelled_calls_are_swept_away() -> None:
    timeline = Timeline()
    for _ in range(5000):
        timeline.callLater(3600, print).cancel()
    assert len(timeline._heap) < 500


def test_five_idle_days_cost_nothing() -> None:
    world, rung = World(), []
    loop = LoopingCall(rung.append, 1)
    loop.clock = world.reactor
    loop.start(3600)
    began = time.monotonic()
    world.run(5 * 24 * 3600)
    assert len(rung) == 121 and time.monotonic() - began < 1


def test_a_callLater_into_the_past_is_an_error() -> None:
    with pytest.raises(ValueError):
        World().reactor.callLater(-1, print)


def test_an_event_that_raises_is_kept_and_the_others_go_on() -> None:
    world, rung = World(), []
    world.reactor.callLater(1, {}.__getitem__, "nothing")
    world.reactor.callLater(1, rung.append, "next")
    world.run(2)
    assert rung == ["next"] and [failure.type for failure in world.failures] == [KeyError]


def test_a_loop_without_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_module, "SPIN", 1000)
    world = World()

    def again() -> None:
        world.reactor.callLater(0, again)

    again()
    with pytest.raises(WorldSpins):
        world.run(1)


def test_threads_are_done_inline_and_tell_in_a_later_turn() -> None:
    world, rung = World(), []
    reactor = world.reactor
    assert IReactorThreads.providedBy(reactor) and IReactorTime.providedBy(reactor)
    done = deferToThreadPool(reactor, reactor.getThreadPool(), lambda: rung.append("work") or 7)
    done.addCallback(rung.append)
    failed = deferToThreadPool(reactor, reactor.getThreadPool(), {}.__getitem__, "nothing")
    failed.addErrback(lambda failure: rung.append(failure.type))
    assert rung == ["work"]
    world.run(0)
    assert rung == ["work", 7, KeyError]


# --- crashes --------------------------------------------------------------------------------------------------------


def test_a_crash_ends_calls_and_connections_and_a_restart_begins_anew() -> None:
    world, rung = World(), []
    host = world.add_host("mx.there.example", [THERE])
    old = world.reactor
    caller = world.call(THERE)
    assert caller.hear().startswith("220")
    old.callLater(10, rung.append, "old")
    world.crash()
    old.callLater(1, rung.append, "beyond death")
    late = world.call(THERE)
    old.callFromThread(rung.append, "beyond death")
    world.run(60)
    assert rung == [] and late.problem is None and late.transport is None
    assert caller.problem is None, "the dead hear nothing of their end"
    assert not host.ends, "the other side does"
    world.node.boot = lambda reactor: reactor.callLater(10, rung.append, "new")
    assert world.restart() is world.reactor is not old
    world.run(60)
    assert rung == ["new"]
    assert world.call(THERE).hear().startswith("220")
    assert [line.split(" ", 2)[2] for line in world.story] == ["mx.home.example: crashes", "mx.home.example: starts"]


def test_a_host_can_crash_and_listens_again_after_its_restart() -> None:
    world = World()
    host = world.add_host("mx.there.example", [THERE])
    caller = world.call(THERE)
    caller.hear()
    world.crash(host)
    assert caller.wait_for_the_end().check(ConnectionDone)
    assert world.call(THERE).wait_for_the_end().check(ConnectionRefusedError)
    world.restart(host)
    assert world.call(THERE).hear().startswith("220")


def test_after_a_power_cut_nobody_is_told() -> None:
    world = World()
    host = world.add_host("mx.there.example", [THERE])
    caller = world.call(THERE)
    caller.hear()
    world.crash(host, power_cut=True)
    world.run(3600)
    assert caller.problem is None
    assert world.call(THERE).wait_for_the_end().check(TimeoutError)
    world.restart(host)
    assert world.call(THERE).hear().startswith("220")


def test_what_was_written_before_a_crash_is_still_sent() -> None:
    world = World()
    host = world.add_host("mx.there.example", [THERE])
    caller = world.call(THERE)
    for line in ("", "EHLO x.example", "MAIL FROM:<>", "RCPT TO:<joe@there.example>", "DATA"):
        caller.ask(line) if line else caller.hear()
    caller.say("hello\r\n.")
    world.crash()
    world.run(60)
    [receipt] = host.received
    assert receipt.is_doubtful


def test_a_disk_takes_its_time_and_a_crash_finds_work_done_or_undone() -> None:
    seen = set()
    for seed in range(20):
        world = World(seed)
        store = MemoryStore(world.timeline)
        disk = world.node.disk(store, seconds=1.0)
        assert IMailStore.providedBy(disk)
        told: list[object] = []
        world.start(disk.open_account("joe", create=True)).addCallback(told.append)
        world.run(0.5)
        world.crash()
        world.run(60)
        assert not told, "the dead are told nothing"
        seen.add("joe" in store.accounts)
        world.restart()
        account = world.wait(world.node.disk(store).open_account("joe", create=True))
        assert account.name == "joe"
    assert seen == {True, False}


def test_what_a_disk_raises_comes_through_and_blobs_are_slow_too() -> None:
    world = World()
    disk = world.node.disk(MemoryStore(world.timeline), seconds=1.0)
    with pytest.raises(Exception, match="joe"):
        world.wait(disk.open_account("joe"))

    async def write() -> str:
        writer = disk.new_blob()
        await writer.write(b"octets")
        return await writer.commit()

    assert world.wait(write()) and world.now == pytest.approx(3)


def test_dns_never_answers_the_dead() -> None:
    world = World(1, {"there.example": {"A": [THERE]}})
    told: list[object] = []
    world.start(world.resolver.lookup("there.example", "A")).addCallback(told.append)
    world.crash()
    world.run(60)
    assert told == []


def test_a_deferred_can_be_waited_for_too() -> None:
    world = World()
    waiting: Deferred[str] = Deferred()
    world.reactor.callLater(5, waiting.callback, "here")
    assert world.wait(waiting) == "here" and world.now == 5
