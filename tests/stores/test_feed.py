"""The feed: hints or questions, once a turn, for those who watch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface import alsoProvides

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import CreateMailbox, IAccount
from twisted_mail_kit.stores.feed import HINTED, Feed
from twisted_mail_kit.stores.memory import MemoryStore


class Asked:
    """An account that is asked for its state."""

    def __init__(self, name: str = "alice") -> None:
        self.name = name
        self.modseq = 1
        self.questions = 0
        self.error: Exception | None = None
        self.waiting: Deferred[None] | None = None
        alsoProvides(self, IAccount)

    async def state(self) -> int:
        self.questions += 1
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error
        return self.modseq


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    events: list[dict[str, object]] = []

    def observe(event: dict[str, object]) -> None:
        if "account" in event:
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def silent_feed(clock: Clock, interval: float = 1.0) -> Feed:
    return Feed(object(), clock, interval)  # type: ignore[arg-type]


async def change(account: IAccount, times: int = 1) -> None:
    for _ in range(times):
        await account.apply([CreateMailbox((str(await account.state()),))])


async def test_a_hint_is_passed_on_in_the_next_turn_once_for_all_commits(clock: Clock) -> None:
    store = MemoryStore(clock)
    account = await store.open_account("alice", create=True)
    heard: list[int] = []
    feed = Feed(store, clock)
    feed.watch(account, heard.append)
    await change(account, 5)
    assert heard == [], "never from within the commit"
    clock.advance(0)
    assert heard == [await account.state()]
    await change(account)
    clock.advance(0)
    assert heard == [6, 7]
    clock.advance(0)
    assert heard == [6, 7]
    feed.stop()
    assert not clock.getDelayedCalls()


async def test_only_those_hear_who_watch_that_account_until_they_end_it(clock: Clock) -> None:
    store = MemoryStore(clock)
    alice, bob = [await store.open_account(name, create=True) for name in ("alice", "bob")]
    feed = Feed(store, clock)
    heard: list[str] = []
    end_one = feed.watch(alice, lambda modseq: heard.append("one"))
    feed.watch(alice, lambda modseq: heard.append("two"))
    feed.watch(bob, lambda modseq: heard.append("bob"))
    await change(alice)
    clock.advance(0)
    assert heard == ["one", "two"]
    end_one()
    end_one()
    await change(alice)
    await change(bob)
    clock.advance(0)
    assert heard == ["one", "two", "two", "bob"]
    feed.stop()


async def test_a_watch_that_is_ended_before_the_turn_hears_nothing(clock: Clock) -> None:
    store = MemoryStore(clock)
    account = await store.open_account("alice", create=True)
    feed = Feed(store, clock)
    heard: list[str] = []
    ends = []

    def first(modseq: int) -> None:
        heard.append("first")
        ends[1]()

    ends.append(feed.watch(account, first))
    ends.append(feed.watch(account, lambda modseq: heard.append("second")))
    await change(account)
    clock.advance(0)
    assert heard == ["first"]
    await change(account)
    ends[0]()
    clock.advance(100)
    assert heard == ["first"]
    assert not clock.getDelayedCalls()


async def test_a_listener_that_fails_keeps_the_others_from_nothing(
    clock: Clock, logged: list[dict[str, object]]
) -> None:
    store = MemoryStore(clock)
    account = await store.open_account("alice", create=True)
    feed = Feed(store, clock)
    heard: list[int] = []

    def fail(modseq: int) -> None:
        raise RuntimeError("a watcher that fails, for a test")

    feed.watch(account, fail)
    feed.watch(account, heard.append)
    await change(account)
    clock.advance(0)
    assert heard == [2]
    assert [event["log_level"] for event in logged] == [LogLevel.critical]
    feed.stop()


async def test_a_lost_hint_is_made_good_by_asking_now_and_then(clock: Clock) -> None:
    store = MemoryStore(clock)
    account = await store.open_account("alice", create=True)
    feed = Feed(store, clock, interval=1)
    heard: list[int] = []
    feed.watch(account, heard.append)
    store.tell = lambda name, modseq: None  # type: ignore[method-assign]
    await change(account)
    clock.advance(HINTED - 1)
    assert heard == []
    clock.pump([1, 0])
    assert heard == [2]
    feed.stop()


def test_without_hints_watched_accounts_are_asked_once_however_many_watch(clock: Clock) -> None:
    feed, account, other = silent_feed(clock), Asked(), Asked("bob")
    heard: list[str] = []
    ends = [feed.watch(account, lambda modseq, who=who: heard.append(f"{who}{modseq}")) for who in "abc"]
    clock.pump([1, 0])
    assert account.questions == 1
    heard.clear()
    clock.pump([1, 0] * 3)
    assert (account.questions, heard) == (4, []), "nothing new"
    account.modseq = 7
    clock.pump([1, 0])
    assert heard == ["a7", "b7", "c7"]
    assert other.questions == 0
    for end in ends:
        end()
    clock.advance(10)
    assert account.questions == 5
    assert not clock.getDelayedCalls()


def test_a_slow_store_is_not_asked_twice_at_once(clock: Clock) -> None:
    feed, account = silent_feed(clock), Asked()
    heard: list[int] = []
    feed.watch(account, heard.append)
    waiting = account.waiting = Deferred()
    clock.pump([1] * 10)
    assert account.questions == 1
    account.waiting = None
    waiting.callback(None)
    clock.advance(0)
    assert heard == [1]
    clock.advance(1)
    assert account.questions == 2
    feed.stop()


def test_failures_are_logged_once_and_asked_for_ever_more_seldom(clock: Clock, logged: list[dict[str, object]]) -> None:
    feed, account = silent_feed(clock), Asked()
    heard: list[int] = []
    feed.watch(account, heard.append)
    account.error = Unavailable("for a test")
    for _ in range(600):
        clock.advance(1)
    assert 8 <= account.questions <= 20
    assert len(logged) == 1
    account.error, account.modseq = None, 9
    clock.pump([1] * 61)
    assert heard[-1] == 9
    assert len(logged) == 2
    before = account.questions
    clock.pump([1] * 10)
    assert account.questions == before + 10
    feed.stop()


def test_after_stop_nobody_is_called(clock: Clock) -> None:
    feed, account = silent_feed(clock), Asked()
    heard: list[int] = []
    end = feed.watch(account, heard.append)
    waiting = account.waiting = Deferred()
    clock.advance(1)
    feed.stop()
    feed.stop()
    waiting.callback(None)
    clock.advance(100)
    end()
    assert heard == [] and not clock.getDelayedCalls()


async def test_the_feed_asks_the_memory_store_without_its_hints(clock: Clock) -> None:
    store = MemoryStore(clock)
    account = await store.open_account("alice", create=True)
    feed = silent_feed(clock)
    heard: list[int] = []
    feed.watch(account, heard.append)
    clock.pump([1, 0])
    await change(account, 3)
    clock.pump([1, 0])
    assert heard == [1, 4]
    feed.stop()
