"""What the promises of checkers, accounts, checks and targets stand on: how a part is made, and made to fail."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.net.blocking import Adapted, adapted, release
from twisted_mail_kit.testing.contracts.promise import finished, running_reactor, test_of
from twisted_mail_kit.testing.contracts.streams import Lags

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a promise counts as broken: an awaitable that never fires fails, and does not hang."""

PART_LEVELS = {
    "core": "what the door says, for what is asked every day",
    "abilities": "the optional interfaces, each where the part provides it",
    "hostile": "what strangers can say: names, addresses and messages that nobody would think of",
    "crowds": "many at once, some that give up in the middle, and nobody is held up",
    "kept": "made again, closed, and left without what it stands on",
}
"""Every level of these contracts, and what it looks at."""


class PartBench:
    """How a part is made. All it keeps is in `tmp_path`; asked again with the same one, it is made again."""

    level = "core"
    """Which of `PART_LEVELS` the promises of a class are of."""
    tmp_path: Path
    """The test's own directory."""
    longest_lag = 0.25
    """Seconds for which the reactor may be held up, times in which the system let others work left out."""

    def make_broken(self, tmp_path: Path) -> Any:
        """Give a part that has lost what it stands on: its file, its database. An awaitable of one will do."""
        pytest.skip("the contract has no make_broken(): what happens without its file or database was not looked at")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for test in vars(cls).values():
            if isinstance(test, FunctionType) and getattr(test, "level", None) == "":
                test.level = cls.level  # type: ignore[attr-defined]

    # --- for promises ------------------------------------------------------------------------------------------------

    _open: list[Any]

    def _make(self) -> Any:
        """What the author's `make_…` gives."""
        raise NotImplementedError

    async def opened(self, part: Any) -> Any:
        """The part as a server has it: one that blocks in threads. It is let go of when the promise is over."""
        part = adapted(await finished(part), running_reactor())
        self._open.append(part)
        return part

    async def made_again(self) -> Any:
        """Another one in the same place, while the first is there: so it is at a reload."""
        return await self.opened(self._make())

    async def closed(self, part: Any) -> None:
        """Closed, where it can be."""
        close = getattr(part, "close", None)
        if callable(close):
            await finished(close())
        release(part)


def part_promise(method: Callable[..., Awaitable[None]]) -> Callable[..., Deferred[None]]:
    """Make a test of a coroutine method that takes a fresh `part`, or nothing."""
    wanted = list(inspect.signature(method).parameters)[1:]
    assert wanted in ([], ["part"]), wanted

    async def keep(bench: PartBench, tmp_path: Path) -> None:
        bench.tmp_path, bench._open = tmp_path / "part", []
        bench.tmp_path.mkdir(exist_ok=True)
        try:
            given = [await bench.opened(bench._make())] if wanted else []
            await method(bench, *given)
        finally:
            for part in bench._open:
                await bench.closed(part)

    test = test_of(method, keep, lambda: PATIENCE)
    test.level = ""  # type: ignore[attr-defined]  # the class has it, and gives it to us
    return test


# --- steps -----------------------------------------------------------------------------------------------------------


async def what_became(asked: Awaitable[T]) -> T | Exception:
    """What it gave, or what it raised."""
    try:
        return await asked
    except Exception as problem:
        return problem


async def at_once(asked: Iterable[Awaitable[T]]) -> list[T | Exception]:
    """What became of each, all of them asked before any has answered."""
    began = [Deferred.fromCoroutine(_of(one)) for one in asked]
    done: list[T | Exception] = [result for _, result in await DeferredList(began)]
    return done


async def _of(one: Awaitable[T]) -> T | Exception:
    return await what_became(one)


async def given_up(asked: Coroutine[Any, Any, Any], after: float = 0.001) -> None:
    """Ask, and do not wait for the answer."""
    began: Deferred[Any] = Deferred.fromCoroutine(asked)
    began.addErrback(lambda _: None)
    await deferLater(running_reactor(), after, lambda: None)
    began.cancel()


@asynccontextmanager
async def nobody_held_up(bench: PartBench) -> AsyncIterator[None]:
    """Look at the reactor meanwhile."""
    lags = Lags()
    async with lags.of("it"):
        yield
    lag = lags.longest["it"]
    assert lag <= bench.longest_lag, f"the reactor was held up for {lag:.2f} s: is it to be blocking = True?"


def can_be_said(status: Status, digits: Sequence[str] = "245") -> None:
    """A status is of the right kind, and fits into one line of a reply."""
    first, dot, rest = status.code.partition(".")
    assert first in digits and dot and all(part.isdigit() and len(part) <= 3 for part in rest.split(".")), status
    assert rest.count(".") == 1, f"{status.code} is no enhanced status code (RFC 3463)"
    assert status.text and len(status.text) <= 500, "the text of a status is a line for a person"
    assert status.text.isprintable(), f"{status.text!r} does not fit into one line"
    assert status.reply == 0 or str(status.reply)[0] == first, f"{status.reply} and {status.code} say different things"


def is_no(problem: object) -> None:
    """Refused or TryLater, in words that can be said; anything else has failed."""
    if isinstance(problem, Refused):
        can_be_said(problem.status, "5")
    elif isinstance(problem, TryLater):
        can_be_said(problem.status, "4")
    elif isinstance(problem, BaseException):
        raise AssertionError(f"it raised {type(problem).__name__}: {problem}") from problem


def in_threads(part: object) -> bool:
    """Whether its methods are called in threads."""
    return isinstance(part, Adapted)
