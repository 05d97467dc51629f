"""Coroutines that somebody owns: they end with him, and what goes wrong in one is logged once."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure


class Tasks:
    """What runs at the moment."""

    log = Logger()

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._running: set[Deferred[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Let it run."""
        task = Deferred.fromCoroutine(coroutine)
        self._running.add(task)

        def over(result: Any) -> None:
            self._running.discard(task)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self.log.failure("something in the queue broke", failure=result)

        task.addBoth(over)
        return task

    async def end(self, seconds: float) -> None:
        """Wait for all of them; cut off what still runs after so many seconds."""
        if not self._running:
            return
        if seconds <= 0:
            self._cut_off()
            return
        alarm = self._clock.callLater(seconds, self._cut_off)
        while self._running:
            await DeferredList(list(self._running))
        if alarm.active():
            alarm.cancel()

    def _cut_off(self) -> None:
        for task in list(self._running):
            task.cancel()


class Sleep:
    """The sleep of a loop that others may wake. A wake between `begin` and falling asleep is not lost."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._is_awake = False
        self._sleeper: Deferred[None] | None = None

    def begin(self) -> None:
        """A round of the loop begins: what came before is known to it."""
        self._is_awake = False

    def wake(self) -> None:
        """There is something to look at."""
        self._is_awake = True
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            sleeper.callback(None)

    async def until_woken(self, seconds: float) -> None:
        """Sleep for so long, or until woken; not at all after a wake in this round."""
        if not self._is_awake:
            await self.deeply(seconds)

    async def deeply(self, seconds: float) -> None:
        """The same, whatever was before."""
        sleeper = self._sleeper = Deferred()
        alarm = self._clock.callLater(seconds, self.wake)
        try:
            await sleeper
        finally:
            self._sleeper = None
            if alarm.active():
                alarm.cancel()
