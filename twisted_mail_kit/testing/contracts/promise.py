"""`promise`: makes a coroutine method into a test that is given a fresh store, with no fixture but `tmp_path`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.interfaces import IAccount, IMailStore

PATIENCE = 120.0
"""Seconds after which a promise counts as broken: an awaitable that never fires fails, and does not hang."""

LEVELS = {
    "core": "what every store promises: facts, operations, changes, blobs, what is kept",
    "abilities": "the optional interfaces, each where the store provides it",
    "streaming": "a 200 MB message and a mailbox of 100,000, under a memory ceiling",
    "faults": "a disk that is full or fails, at every call in turn",
    "crash": "processes that are killed, and power cuts",
    "processes": "several processes on one store at the same time",
    "model": "random operations, beside the memory store",
}
"""Every level, and what it looks at; each is a marker for pytest too: ``pytest -m "not crash"``."""


class StoreBench:
    """What the promises stand on: how a store is made, opened again, and made older."""

    level = "core"
    """Which of `LEVELS` the promises of a class are of."""
    tmp_path: Path
    """The test's own directory, as it was given to `make_store`."""
    persistent = False
    """Whether `make_store` with the same `tmp_path` finds the same mail again."""

    def make_store(self, tmp_path: Path) -> Any:
        """Give a new store that keeps all it keeps in `tmp_path`; an awaitable of one will do."""
        raise NotImplementedError("write make_store(self, tmp_path)")

    def reopen(self, store: Any) -> Any:
        """Give a store that finds what `store`, which is closed by now, has kept. An awaitable will do.

        Only has to be overridden where `persistent` and `make_store` do not say it.
        """
        if not self.persistent:
            pytest.skip("not a persistent store: nothing is kept when it is closed")
        return self.make_store(self.tmp_path)

    def pass_time(self, store: Any, seconds: float) -> Any:
        """Turn the store's clock forward, where it has one that can be turned. An awaitable will do."""
        pytest.skip("the contract has no pass_time(): what a store forgets in time was not looked at")

    def restore(self, directory: Path) -> Any:
        """Give a store made of what `backup` has put into `directory`, as the store's own tools do it; the place for
        what it keeps is `directory` itself, or anything new. An awaitable will do."""
        pytest.skip("the contract has no restore(): whether a backup can be used was not looked at")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for test in vars(cls).values():
            if isinstance(test, FunctionType) and getattr(test, "level", None) == "":
                test.level = cls.level  # type: ignore[attr-defined]
                _marker(cls.level)(test)

    # --- for promises ------------------------------------------------------------------------------------------------

    _open: list[Any]

    async def opened(self, store: Any) -> IMailStore:
        """The store, which is closed when the promise is over."""
        store = await finished(store)
        self._open.append(store)
        return store  # type: ignore[no-any-return]

    async def opened_again(self, store: IMailStore) -> IMailStore:
        """Close the store and open it again."""
        if not self.persistent and type(self).reopen is StoreBench.reopen:
            self.reopen(store)  # skips
        await store.close()
        self._open.remove(store)
        return await self.opened(self.reopen(store))


def promise(method: Callable[..., Awaitable[None]]) -> Callable[..., Deferred[None]]:
    """Make a test of a coroutine method that takes `store`, `account` (of that store), or both."""
    wanted = list(inspect.signature(method).parameters)[1:]

    async def keep(bench: StoreBench, tmp_path: Path) -> None:
        bench.tmp_path = tmp_path
        bench._open = []
        given: dict[str, IMailStore | IAccount] = {"store": await bench.opened(bench.make_store(tmp_path))}
        try:
            if "account" in wanted:
                given["account"] = await bench._open[0].open_account("alice", create=True)
            await method(bench, **{name: given[name] for name in wanted})
        finally:
            for store in bench._open:
                await store.close()

    test = test_of(method, keep)
    test.level = ""  # type: ignore[attr-defined]  # the class has it, and gives it to us
    return test


def test_of(
    method: Callable[..., Awaitable[None]],
    keep: Callable[[Any, Path], Coroutine[Any, Any, None]],
    patience: Callable[[], float] = lambda: PATIENCE,
) -> Callable[..., Deferred[None]]:
    """The test that pytest finds for `method`: it runs `keep` with the bench and a path, for `patience()` seconds."""

    def test(self: Any, tmp_path: Path) -> Deferred[None]:
        kept: Deferred[None] = Deferred.fromCoroutine(keep(self, tmp_path))
        return kept.addTimeout(patience(), running_reactor())

    # No functools.wraps: pytest would look through it, and find parameters that are no fixtures. The test is a plain
    # function that returns a Deferred, so that nobody takes it for a coroutine that is still to be wrapped.
    test.__name__, test.__qualname__ = method.__name__, method.__qualname__
    test.__doc__, test.__module__ = method.__doc__, method.__module__
    return test


def _marker(level: str) -> pytest.MarkDecorator:
    # pytest takes a marker from a list in the project's own configuration, and with --strict-markers from nowhere else.
    # An author's project need not list ours: we add them while his test file is imported.
    config: pytest.Config | None = getattr(pytest.mark, "_config", None)
    if config is not None:
        config.addinivalue_line("markers", f"{level}: {LEVELS[level]}")
    mark: pytest.MarkDecorator = getattr(pytest.mark, level)
    return mark


def running_reactor() -> Any:
    """The one that pytest-twisted has installed. To import it might be to install another."""
    return sys.modules["twisted.internet.reactor"]


async def finished(result: Any) -> Any:
    """A value, or what an awaitable comes to."""
    return await result if inspect.isawaitable(result) else result
