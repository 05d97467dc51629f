"""Virtual time: what is due next happens next, at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure

SPIN = 1_000_000
"""So many events at one instant are taken for a loop that never ends."""


class WorldSpins(RuntimeError):
    """Something calls itself again and again without time passing."""


class Call(DelayedCall):
    """A callLater of one process: it does not ring when that process is dead."""

    owner: Any = None


class Timeline(Clock):
    """A `task.Clock` for many: a heap of events, those of the same time in the order in which they were set.

    Time jumps from event to event, so an idle week costs nothing. An exception out of an event is logged, and kept in
    `failures`; the others go on, as in a real reactor.
    """

    log = Logger()

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.rightNow = self.began = start
        self.failures: list[Failure] = []
        self.events = 0
        """How many have happened."""
        self._heap: list[tuple[float, int, Any, Any]] = []
        self._numbers = count()
        self._cancelled = 0
        self._at_once = 0

    # --- setting events --------------------------------------------------------------------------------------------

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See IReactorTime."""
        return self.call_later(None, delay, callable, args, kw)

    def call_later(
        self,
        owner: Any,
        delay: float,
        function: Callable[..., object],
        args: tuple[object, ...] = (),
        kw: dict[str, object] | None = None,
    ) -> Call:
        """callLater for a process, which has `is_alive`."""
        if delay < 0:
            raise ValueError(f"callLater: {delay} seconds is in the past")
        if not callable(function):
            raise TypeError(f"callLater: {function!r} cannot be called")
        call = Call(self.rightNow + delay, function, args, kw or {}, self._cancel, self._push, self.seconds)
        call.owner = owner
        if owner is None or owner.is_alive:
            self._push(call)
        return call

    def at(self, when: float, function: Callable[..., object], *args: object) -> None:
        """Something that happens in the world then, and that nobody can cancel."""
        heappush(self._heap, (when, next(self._numbers), function, args))

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """At this instant, after what is happening now."""
        heappush(self._heap, (self.rightNow, next(self._numbers), function, args))

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See IReactorTime."""
        # One that was moved forward is in the heap twice.
        return list(dict.fromkeys(what for _, _, what, args in self._heap if args is None and self._rings(what)))

    def pending(self) -> list[object]:
        """All that is to happen, whosever it is."""
        return [*self._heap]

    # --- time ------------------------------------------------------------------------------------------------------

    def next_time(self) -> float | None:
        """When the next event is due; None: nothing will ever happen."""
        heap = self._heap
        while heap:
            when, _, what, args = heap[0]
            if args is not None:
                return when
            if not self._rings(what):
                heappop(heap)
                continue
            due: float = what.getTime()
            if due <= when:
                return when
            heappop(heap)
            what.activate_delay()
            self._push(what)
        return None

    def step(self, until: float = float("inf")) -> bool:
        """Let the next event happen, if it is due by then; False: there was none."""
        when = self.next_time()
        if when is None or when > until:
            return False
        _, _, what, args = heappop(self._heap)
        if when > self.rightNow:
            self.rightNow = when
            self._at_once = 0
        else:
            self._at_once += 1
            if self._at_once > SPIN:
                raise WorldSpins(f"{SPIN} events and no time passed; the last one was {what!r}")
        self.events += 1
        try:
            if args is not None:
                what(*args)
            else:
                what.called = 1
                what.func(*what.args, **what.kw)
        except Exception:
            failure = Failure()
            self.failures.append(failure)
            self.log.failure("an event in the world failed", failure=failure)
        return True

    def advance(self, amount: float) -> None:
        """All that is due until then happens, each at its time."""
        until = self.rightNow + amount
        while self.step(until):
            pass
        self.rightNow = max(self.rightNow, until)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _push(self, call: Any) -> None:
        heappush(self._heap, (call.getTime(), next(self._numbers), call, None))

    def _cancel(self, call: Any) -> None:
        # Most time limits are cancelled: without a sweep the heap would be full of them.
        self._cancelled += 1
        if self._cancelled > 200 and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[3] is not None or self._rings(entry[2])]
            heapify(self._heap)
            self._cancelled = 0

    @staticmethod
    def _rings(call: Any) -> bool:
        return not call.called and not call.cancelled and (call.owner is None or call.owner.is_alive)
