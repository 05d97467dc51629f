"""Work that several ask for at once, and that is done once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Key = TypeVar("Key")
Result = TypeVar("Result")


class InFlight(Generic[Key, Result]):
    """Who asks while it is being done waits for the same result. One who gives up does not take it from the others;
    when the last one has given up, the work is cancelled."""

    def __init__(self) -> None:
        self._works: dict[Key, tuple[Deferred[Any], list[Deferred[Result]]]] = {}

    def __len__(self) -> int:
        return len(self._works)

    async def share(self, key: Key, begin: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of `begin`, which is called where nobody is at it yet."""
        mine: Deferred[Result] = Deferred(lambda gone: self._given_up(key, gone))
        found = self._works.get(key)
        if found is not None:
            found[1].append(mine)
        else:
            waiting = [mine]
            work = Deferred.fromCoroutine(begin())
            if not work.called:
                self._works[key] = (work, waiting)
            work.addBoth(self._done, key, work, waiting)
        return await mine

    def cancel(self) -> None:
        """End all of it."""
        for work, _ in list(self._works.values()):
            work.cancel()

    def _done(self, result: Any, key: Key, work: Deferred[Any], waiting: list[Deferred[Result]]) -> None:
        if key in self._works and self._works[key][0] is work:
            del self._works[key]
        for one in waiting:
            if isinstance(result, Failure):
                one.errback(result)
            else:
                one.callback(result)

    def _given_up(self, key: Key, gone: Deferred[Result]) -> None:
        found = self._works.get(key)
        if found is None or gone not in found[1]:
            return
        found[1].remove(gone)
        if not found[1]:
            del self._works[key]
            found[0].cancel()
