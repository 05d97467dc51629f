"""Work that may block, done aside: in a thread where the reactor has some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

T = TypeVar("T")


async def aside(reactor: Any, work: Callable[[], T]) -> T:
    """What `work()` gives, without holding up the reactor. A test's clock has no threads: there it is done at once."""
    if not IReactorThreads.providedBy(reactor):
        return work()
    done: T = await deferToThreadPool(reactor, reactor.getThreadPool(), work)
    return done
