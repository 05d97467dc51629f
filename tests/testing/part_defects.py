"""Notes which promises a broken part has to be caught by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import memory_parts as parts
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

DEFECTS: list[tuple[type, str]] = []
"""(part, promise)."""


def breaks(*promises: str) -> Callable[[type], type]:
    """The part, or a target of such deliveries, has to be caught by each of these."""

    def note(broken: type) -> type:
        part = broken
        if issubclass(broken, parts.Delivering):

            class part(parts.Target):
                async def begin(self, envelope: Any) -> Any:
                    return broken(self, envelope)

            part.__name__ = broken.__name__
        DEFECTS.extend((part, f"test_{promise}") for promise in promises)
        return broken

    return note


def later(seconds: float) -> Deferred[None]:
    """So many seconds."""
    return deferLater(reactor, seconds, lambda: None)
