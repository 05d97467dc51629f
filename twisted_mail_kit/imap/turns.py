"""Long work gives others their turn: the reactor is never held for longer than a few milliseconds."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

TURN = 0.010
"""Seconds after which a long work lets others have their turn."""


async def next_turn(clock: IReactorTime) -> None:
    """Let others have their turn."""
    turn: Deferred[None] = Deferred()
    clock.callLater(0, turn.callback, None)
    await turn


class Turns:
    """When a piece of work began, and whether its time is over."""

    __slots__ = ("_began", "clock")

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._began = 0.0

    def begin(self) -> None:
        """The reactor has just called us."""
        self._began = self.clock.seconds()

    async def give(self) -> None:
        """Called between pieces of a long work: let others have their turn, where they have waited for long enough."""
        if self.clock.seconds() - self._began > TURN:
            await next_turn(self.clock)
            self._began = self.clock.seconds()
