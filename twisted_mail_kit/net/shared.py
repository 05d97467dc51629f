"""What the sessions of a server know of each other: counts that limits are held against, and who holds what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from weakref import WeakMethod

from twisted.internet.interfaces import IReactorTime


class Shared:
    """For all listeners and sessions of one process; `workers.shared` has one for several processes.

    There each process adds to its own numbers what the others tell it, within some milliseconds: so no question waits,
    and a limit may be passed by as many as come in that time. Only `hold` waits, and is exact.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._now: Counter[Hashable] = Counter()
        self._recent: Counter[Hashable] = Counter()
        self._minute = 0
        self._held: set[Hashable] = set()
        self._watchers: dict[Callable[[], None], None] = {}
        self._ears: dict[str, list[WeakMethod[Callable[..., object]]]] = {}

    def add(self, what: Hashable, count: int = 1) -> None:
        """There are more of these now, or, with a negative count, fewer."""
        self._now[what] += count
        if self._now[what] <= 0:
            del self._now[what]
        for watcher in list(self._watchers):
            watcher()

    def now(self, what: Hashable) -> int:
        """How many there are of these."""
        return self._now.get(what, 0)

    def note(self, what: Hashable, count: int = 1) -> int:
        """There was one more of these; how many there were in this minute."""
        minute = int(self._clock.seconds() // 60)
        if minute != self._minute:
            self._minute = minute
            self._recent.clear()
        self._recent[what] += count
        return self._recent[what]

    def tell(self, what: str, *facts: Hashable) -> None:
        """Let the other processes hear of it."""

    def hear(self, what: str, heard: Callable[..., object]) -> None:
        """``heard(*facts)``, a method, is called when another process tells it, for as long as its object lives."""
        self._ears.setdefault(what, []).append(WeakMethod(heard))

    def heard(self, what: str, *facts: Hashable) -> None:
        """Another process has told it."""
        ears = self._ears.get(what, [])
        for ear in list(ears):
            heard = ear()
            if heard is None:
                ears.remove(ear)
            else:
                heard(*facts)

    async def hold(self, what: Hashable) -> bool:
        """Take hold of it, until `let_go`. False: somebody else has it. Raises Unavailable."""
        if what in self._held:
            return False
        self._held.add(what)
        return True

    def let_go(self, what: Hashable) -> None:
        """Others may have it."""
        self._held.discard(what)

    def watch(self, changed: Callable[[], None]) -> None:
        """``changed()`` is called when a number that `now` tells may be another one."""
        self._watchers[changed] = None

    def unwatch(self, changed: Callable[[], None]) -> None:
        """No more."""
        self._watchers.pop(changed, None)
