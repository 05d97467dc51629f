"""How late the reactor is: what would have happened now and had to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from twisted_mail_kit.metrics.catalogue import LOOP_LAG
from twisted_mail_kit.metrics.instruments import Histogram

SHORTEST = 1.0
LONGEST = 30.0
"""Seconds between two looks. A process that does nothing is woken less and less."""
NOTHING = 0.002
"""Share of the time: with less of the processor than this, a process has done nothing."""


class Lag:
    """Sets a delayed call again and again, and counts by how much each was late."""

    def __init__(
        self,
        clock: IReactorTime,
        histogram: Histogram = LOOP_LAG,
        worked: Callable[[], float] = time.process_time,
    ) -> None:
        """`worked` says for how many seconds this process has had a processor."""
        self._clock = clock
        self._histogram = histogram
        self._worked = worked
        self._pause = SHORTEST
        self._due = 0.0
        self._done = 0.0
        self._call: Any = None

    def start(self) -> None:
        """From now on."""
        if self._call is None:
            self._done = self._worked()
            self._next()

    def stop(self) -> None:
        """No more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _next(self) -> None:
        self._due = self._clock.seconds() + self._pause
        self._call = self._clock.callLater(self._pause, self._look)

    def _look(self) -> None:
        self._histogram.add(max(0.0, self._clock.seconds() - self._due))
        done = self._worked()
        did_nothing = done - self._done < NOTHING * self._pause
        self._done = done
        self._pause = min(self._pause * 2, LONGEST) if did_nothing else SHORTEST
        self._next()
