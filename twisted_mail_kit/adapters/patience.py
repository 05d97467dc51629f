"""Asking somebody else's code, which may answer at once, later, or never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_mail_kit.errors import Unavailable


class Patience:
    """Waits `seconds` for each answer, and no longer.

    A function that blocks cannot be bounded: it runs in the reactor's thread, as it did in `twisted.mail`.
    """

    log = Logger()

    def __init__(self, reactor: Any, seconds: float) -> None:
        self.reactor = reactor
        self.seconds = seconds

    async def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What it answers: a plain value, or that of a Deferred or coroutine. Raises what it raises, and Unavailable
        where no answer comes in time; a Deferred is cancelled then."""
        answer = maybeDeferred(function, *arguments)
        if not answer.called or answer.paused:
            answer.addTimeout(self.seconds, self.reactor, onTimeoutCancel=_Late(function, self.seconds))
        return await answer

    def breath(self) -> Deferred[None]:
        """Let the others have their turn."""
        return deferLater(self.reactor, 0)


class _Late:
    """What a time-out is told as."""

    def __init__(self, function: Callable[..., Any], seconds: float) -> None:
        self.name = getattr(function, "__qualname__", repr(function))
        self.seconds = seconds

    def __call__(self, result: Any, _: float) -> Any:
        Patience.log.warn("{what} has not answered within {seconds} seconds", what=self.name, seconds=self.seconds)
        raise Unavailable(f"{self.name} has not answered within {self.seconds} seconds") from TimeoutError()
