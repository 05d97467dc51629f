"""The change feed: calls whoever watches an account after it has changed, by the store's hints or by asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.interfaces import IAccount, IChangeHints, IMailStore
from twisted_mail_kit.net.turn import AtTurnsEnd

LONGEST_PAUSE = 60.0
"""Seconds between two questions at most, while an account cannot be asked."""
HINTED = 30
"""A store that gives hints is asked this many times more seldom: a hint may be lost."""

Heard = Callable[[int], None]


class Feed:
    """Tells of changes, once a turn of the reactor at most, however many commits there were.

    With a store that provides IChangeHints it hears of a change at once; any other is asked for the state of the
    accounts that somebody watches, every `interval` seconds, once an account however many watch it.
    """

    log = Logger()

    def __init__(self, store: IMailStore, clock: IReactorTime, interval: float = 1.0) -> None:
        self.clock = clock
        self.interval = interval
        self._watched: dict[str, _Watched] = {}
        self._end_hints: Callable[[], None] | None = None
        if IChangeHints.providedBy(store):
            self.interval = interval * HINTED
            self._end_hints = store.watch_changes(self._hinted)

    def watch(self, account: IAccount, heard: Heard) -> Callable[[], None]:
        """Call ``heard(modseq)`` in the reactor thread after the account has changed; returns what ends the watch.

        Begin the watch, then look at the account: a change in between is heard of then. It may be called when nothing
        is new, and never with a smaller modseq than before.
        """
        name = account.name
        if name not in self._watched:
            self._watched[name] = _Watched(self, account)
        watched = self._watched[name]
        listener = _Listener(heard)
        watched.listeners[listener] = None

        def unwatch() -> None:
            watched.listeners.pop(listener, None)
            if not watched.listeners and self._watched.get(name) is watched:
                watched.stop()
                del self._watched[name]

        return unwatch

    def stop(self) -> None:
        """Nobody is called any more, and nothing is asked."""
        if self._end_hints is not None:
            self._end_hints()
            self._end_hints = None
        for watched in self._watched.values():
            watched.listeners.clear()
            watched.stop()
        self._watched.clear()

    def _hinted(self, account_name: str, modseq: int) -> None:
        watched = self._watched.get(account_name)
        if watched is not None:
            watched.changed(modseq)


class _Listener:
    """One watch. The same function may watch twice."""

    __slots__ = ("heard", "told")

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.told = -1


class _Watched:
    """One account: its listeners, its newest modseq, and when it is asked next."""

    def __init__(self, feed: Feed, account: IAccount) -> None:
        self.feed = feed
        self.account = account
        self.listeners: dict[_Listener, None] = {}
        self.newest = -1
        self._failures = 0
        self._over = False
        self._telling = AtTurnsEnd(feed.clock, self._tell)
        self._asking: IDelayedCall | None = None
        self._answer: Deferred[Any] | None = None
        self._ask_in(feed.interval)

    def stop(self) -> None:
        """Forget the account."""
        self._over = True
        self._telling.cancel()
        if self._asking is not None and self._asking.active():
            self._asking.cancel()

    def changed(self, modseq: int) -> None:
        """It has this modseq now: say so in the next turn, once."""
        self.newest = max(self.newest, modseq)
        if any(listener.told < self.newest for listener in self.listeners):
            self._telling.soon()

    def _tell(self) -> None:
        for listener in list(self.listeners):
            # One that was called before it may have ended the watch of this one, or heard of more.
            if listener in self.listeners and listener.told < self.newest:
                listener.told = self.newest
                try:
                    listener.heard(self.newest)
                except Exception:
                    self.feed.log.failure("a watcher of {account} failed", account=self.account.name)

    def _ask_in(self, seconds: float) -> None:
        self._asking = self.feed.clock.callLater(seconds, self._ask)

    def _ask(self) -> None:
        self._asking = None
        # The next question waits for this one's answer: a slow store is not asked twice at once.
        self._answer = Deferred.fromCoroutine(_state(self.account))
        self._answer.addCallbacks(self._answered, self._failed)

    def _answered(self, modseq: int) -> None:
        if self._over:
            return
        if self._failures:
            self._failures = 0
            self.feed.log.info("changes of {account} can be asked for again", account=self.account.name)
        self.changed(modseq)
        self._ask_in(self.feed.interval)

    def _failed(self, failure: Failure) -> None:
        if self._over:
            return
        if not self._failures:
            self.feed.log.failure("changes of {account} cannot be asked for", failure, account=self.account.name)
        self._failures += 1
        longest = max(LONGEST_PAUSE, self.feed.interval)
        self._ask_in(min(self.feed.interval * 2 ** min(self._failures, 20), longest))


async def _state(account: IAccount) -> int:
    return await account.state()
