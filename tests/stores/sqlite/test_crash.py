"""The embedded store in the worst moment: what the contract's level "crash" does not do by itself."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.testing.contracts.child import Child, child
from twisted_mail_kit.testing.contracts.crash import LIVE, CrashPromises
from twisted_mail_kit.testing.contracts.crowds import pause
from twisted_mail_kit.testing.contracts.witness import Broken, Event, Witness
from twisted_mail_kit.testing.contracts.workload import ACCOUNTS, heard


class SQLiteLevels(CrashPromises):
    persistent = True
    power_cuts = 20

    def make_store(self, tmp_path: Path) -> SQLiteStore:
        return SQLiteStore(tmp_path, reactor)


class BodiesAreNotSynced(SQLiteLevels):
    def make_store(self, tmp_path: Path) -> SQLiteStore:
        class Careless(Files):
            def sync(self, fd: int) -> None:
                pass

        return SQLiteStore(tmp_path, reactor, files=Careless())


class DirectoriesAreNotSynced(SQLiteLevels):
    def make_store(self, tmp_path: Path) -> SQLiteStore:
        class Careless(Files):
            def sync_directory(self, path: Path) -> None:
                pass

        return SQLiteStore(tmp_path, reactor, files=Careless())


class TheIndexIsNotSynced(SQLiteLevels):
    def make_store(self, tmp_path: Path) -> SQLiteStore:
        store = super().make_store(tmp_path)
        store._batch.connection.execute("PRAGMA synchronous = NORMAL")
        return store


@pytest.mark.parametrize("kind", [BodiesAreNotSynced, DirectoriesAreNotSynced, TheIndexIsNotSynced])
async def test_each_of_its_syncs_is_needed(kind: type[SQLiteLevels], tmp_path: Path) -> None:
    with pytest.raises(Broken, match="after power cut"):
        await kind().test_what_was_acknowledged_survives_a_power_cut(tmp_path, lambda name, value: None)


async def said(one: Child) -> list[Event]:
    events = [heard(line) async for line in one]
    assert await one.done() == 0, one.complaints.decode()
    return [event for event in events if event is not None]


async def test_two_processes_write_to_one_directory(tmp_path: Path) -> None:
    bench = SQLiteLevels()
    bench.tmp_path = tmp_path / "store"
    witness, store = Witness(), SQLiteStore(bench.tmp_path, reactor)
    heard_of: list[tuple[str, int]] = []
    try:
        unwatch = store.watch_changes(lambda name, modseq: heard_of.append((name, modseq)))
        children = [child(bench, LIVE, str(seed), "300", "400000") for seed in (1, 2)]
        for events in await gatherResults([Deferred.fromCoroutine(said(one)) for one in children]):
            assert any(event.kind == "done" for event in events)
            witness.hear(events)
        await witness.look(store, random.Random(1))
        states = {name: await (await store.open_account(name)).state() for name in ACCOUNTS}
        for _ in range(1000):
            if states.items() <= dict(heard_of).items():
                break
            await pause(0.01)  # the last look may still be to come
        unwatch()
    finally:
        await store.close()
    for name in ACCOUNTS:
        modseqs = [modseq for account, modseq in heard_of if account == name]
        assert modseqs == sorted(modseqs) and modseqs[-1:] == [states[name]], "what the watcher heard of the others"
    index = sqlite3.connect(bench.tmp_path / "index.sqlite")
    assert index.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    index.close()
