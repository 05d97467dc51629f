"""`lasting`: makes a test of a coroutine method that works on directories of its own for longer than a promise may."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.testing.contracts.child import found_again
from twisted_mail_kit.testing.contracts.promise import StoreBench, running_reactor

PATIENCE = 900.0
"""Seconds after which it counts as broken."""
Note = Callable[[str, object], None]


def lasting(method: Callable[[Any, Note], Awaitable[None]]) -> Callable[..., Deferred[None]]:
    """Make a test of a coroutine method that takes `note`: what is noted is printed, and kept in the test's report."""

    def test(self: StoreBench, tmp_path: Path, record_property: Note) -> Deferred[None]:
        def note(name: str, value: object) -> None:
            print(f"{name}: {value}")
            record_property(name, value)

        self.tmp_path, self._open = tmp_path, []

        async def keep() -> None:
            try:
                await method(self, note)
            finally:
                for store in self._open:
                    await store.close()

        kept: Deferred[None] = Deferred.fromCoroutine(keep())
        return kept.addTimeout(PATIENCE, running_reactor())

    # As in `promise`: pytest must not look through to the coroutine.
    test.__name__, test.__qualname__ = method.__name__, method.__qualname__
    test.__doc__, test.__module__ = method.__doc__, method.__module__
    test.level = ""  # type: ignore[attr-defined]  # the class has it, and gives it to us
    return test


def can_be_looked_at(bench: StoreBench) -> None:
    """Skip aloud where another process could not open the same store."""
    if not bench.persistent:
        pytest.skip("not a persistent store: nothing survives the process")
    found_again(type(bench))  # or skips


def how_many(default: int, variable: str) -> int:
    """A number that the environment may say otherwise: CI does more than an author waits for."""
    return int(os.environ.get(variable) or default)
