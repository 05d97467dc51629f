"""The promise that sums the others up: whatever is done, in whatever order, a store does as MemoryStore does."""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from twisted_mail_kit.interfaces import IAccount, IMailStore
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts.pairs import Pair
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise


class ModelPromises(StoreBench):
    """Random operations, side by side."""

    level = "model"

    @promise
    async def test_a_store_does_as_the_reference_does(self, account: IAccount) -> None:
        await _live(account, seed=1, steps=120)

    @promise
    async def test_a_store_does_as_the_reference_does_in_every_life(self, store: IMailStore) -> None:
        """Two accounts, several objects for each, applies at once, opening again. MAILKIT_MODEL says how many lives."""
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
            await deferToThread(live, store, reopen if self.persistent else None, is_over)
        finally:
            is_over.append(True)


async def _live(account: IAccount, seed: int, steps: int) -> None:
    model = await MemoryStore().open_account("model", create=True)
    pair = Pair(model, account, random.Random(seed))
    await pair.compare()
    for _ in range(steps):
        await pair.step()
        await pair.compare()
