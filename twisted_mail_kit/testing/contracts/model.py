"""The promise that sums the others up: whatever is done, in whatever order, a store does as MemoryStore does."""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_mail_kit.interfaces import IAccount, IMailStore
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts.pairs import Pair
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise, running_reactor


class ModelPromises(StoreBench):
    """Random operations, side by side."""

    level = "model"
    steps = 30
    """How much happens in a life at most."""
    lives = 25
    """How many there are; the environment's MAILKIT_MODEL goes before, and makes it thousands."""

    @promise
    async def test_a_store_does_as_the_reference_does(self, account: IAccount) -> None:
        await _live(account, seed=1, steps=120)

    @promise
    async def test_a_store_does_as_the_reference_does_in_every_life(self, store: IMailStore) -> None:
        """Two accounts, several objects for each, applies at once, opening again."""
        try:
            from twisted_mail_kit.testing.contracts.machine import live
        except ModuleNotFoundError as error:
            pytest.skip(f"{error.name} is not installed: random lives were not lived")
        is_over: list[bool] = []
        current: list[Any] = [store]

        async def reopen() -> IMailStore:
            current[0] = await self.opened_again(current[0])
            return current[0]  # type: ignore[no-any-return]

        try:
            await _in_a_thread(
                lambda: live(store, reopen if self.persistent else None, is_over, self.steps, self.lives)
            )
        finally:
            is_over.append(True)


def _in_a_thread(work: Callable[[], None]) -> Deferred[None]:
    """Not one of the reactor's: those are waited for at its end, and this one may then be waiting for the reactor."""
    done: Deferred[None] = Deferred(lambda _: None)

    def whole() -> None:
        result: Failure | None = None
        try:
            work()
        except BaseException:
            result = Failure()
        running_reactor().callFromThread(lambda: None if done.called else done.callback(result))

    Thread(target=whole, daemon=True, name="lives of the model").start()
    return done


async def _live(account: IAccount, seed: int, steps: int) -> None:
    model = await MemoryStore().open_account("model", create=True)
    pair = Pair(model, account, random.Random(seed))
    await pair.compare()
    for step in range(steps):
        await pair.step()
        await pair.compare_rows()
        if step % 3 == 0:
            await pair.compare_changes()
