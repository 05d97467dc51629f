"""The pulse of a line: each end says again and again that it lives, and notices when the other one does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_mail_kit.workers.line import Line

BEATS = 3
"""In the time after which an end counts as hanging."""


class Pulse:
    """Calls `silent` once when nothing was heard from the other end for `seconds`, and again after each time that it
    was heard in between.

    What is counted is beats of our own: a process that slept itself does not take the others for dead when it wakes.
    """

    def __init__(self, line: Line, seconds: float, silent: Callable[[], None]) -> None:
        self._line = line
        self._between = seconds / BEATS
        self._silent = silent
        self._missed = 0
        self._next: Any = None

    def start(self) -> None:
        """From now on."""
        self._line.has_heard = False
        self._next = self._line.clock.callLater(self._between, self._beat)

    def stop(self) -> None:
        """No more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _beat(self) -> None:
        self._next = self._line.clock.callLater(self._between, self._beat)
        self._line.tell("pulse")
        if self._line.has_heard:
            self._line.has_heard = False
            self._missed = 0
            return
        self._missed += 1
        if self._missed == BEATS:
            self._silent()
