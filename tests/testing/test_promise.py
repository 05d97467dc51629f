"""`promise`: a test of its own for pytest, a fresh store that is closed again, a failure that comes through."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.interfaces import IAccount, IMailStore
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts import promise
from twisted_mail_kit.testing.contracts.promise import StoreBench


class Counted(MemoryStore):
    closed = 0

    async def close(self) -> None:
        self.closed += 1


class Bench(StoreBench):
    def make_store(self, tmp_path: Path) -> Deferred[Counted]:
        self.store = Counted()
        made: Deferred[Counted] = Deferred()
        made.callback(self.store)
        return made

    @promise
    async def test_kept(self, store: IMailStore, account: IAccount) -> None:
        """It says so."""
        assert store is self.store and account.name == "alice"

    @promise
    async def test_broken(self, account: IAccount) -> None:
        raise ZeroDivisionError

    @promise
    async def test_skipped(self, store: IMailStore) -> None:
        await self.opened_again(store)


def test_pytest_sees_a_plain_test_that_wants_a_directory() -> None:
    assert list(inspect.signature(Bench.test_kept).parameters) == ["self", "tmp_path"]
    assert not inspect.iscoroutinefunction(Bench.test_kept)
    assert (Bench.test_kept.__name__, Bench.test_kept.__doc__) == ("test_kept", "It says so.")


async def test_the_store_is_closed_whatever_happens(tmp_path: Path) -> None:
    bench = Bench()
    await bench.test_kept(tmp_path)
    assert bench.store.closed == 1
    with pytest.raises(ZeroDivisionError):
        await bench.test_broken(tmp_path)
    assert bench.store.closed == 1


async def test_what_cannot_be_looked_at_is_skipped_aloud(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="not a persistent store"):
        await Bench().test_skipped(tmp_path)
