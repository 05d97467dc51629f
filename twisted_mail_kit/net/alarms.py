"""The deadlines of many sessions, rung by few delayed calls."""

from __future__ import annotations

import math
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime


class Sleeper(Protocol):
    """Who has a deadline."""

    def ring(self) -> None:
        """It is over."""


class Alarms:
    """Rings at the deadline where it is near, else within a second after it; those that ring at the same moment share
    a delayed call.

    Each session has a deadline and nearly none comes to it. A delayed call for each of ten thousand would take 4 MB.
    """

    EXACTLY = 10.0
    """Seconds: a deadline so near is not put off."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._moments: dict[float, _Moment] = {}

    def set(self, sleeper: Sleeper, deadline: float) -> float:
        """Ring it, by the clock. The answer is when, and what `cancel` wants."""
        left = deadline - self._clock.seconds()
        when = deadline if left < self.EXACTLY else float(math.ceil(deadline))
        moment = self._moments.get(when)
        if moment is None:
            moment = self._moments[when] = _Moment(when)
            moment.call = self._clock.callLater(max(0.0, when - deadline + left), self._ring, moment)
        moment.sleepers[sleeper] = None
        return moment.when

    def cancel(self, sleeper: Sleeper, when: float) -> None:
        """It has no deadline any more."""
        moment = self._moments.get(when)
        if moment is not None and moment.sleepers.pop(sleeper, moment) is None and not moment.sleepers:
            del self._moments[when]
            moment.call.cancel()

    def _ring(self, moment: _Moment) -> None:
        del self._moments[moment.when]
        for sleeper in moment.sleepers:
            sleeper.ring()


class _Moment:
    """Those that ring together."""

    __slots__ = ("call", "sleepers", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self.sleepers: dict[Sleeper, None] = {}
        self.call: Any = None
