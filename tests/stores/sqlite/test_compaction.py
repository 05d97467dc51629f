"""Compaction: room comes back, and nobody notices."""

from __future__ import annotations

import errno
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import IAccount, IMaintenance
from twisted_mail_kit.mail.operations import Add, CreateMailbox, Remove
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore
from twisted_mail_kit.stores.sqlite.elsewhere import SQLiteReader
from twisted_mail_kit.stores.sqlite.fsck import check
from twisted_mail_kit.stores.sqlite.hold import hold

from .conftest import BadFiles, add

# Small segments; what is gone is forgotten at once, and nothing is compacted before it is asked for.
SETTINGS = SQLiteSettings(segment_size=8_000, blob_grace=-1.0, compact_share=1.0)
BODIES = 60
Kept = dict[int, bytes]


def segments(store: SQLiteStore) -> set[str]:
    return {path.name for path in (store.path / "segments").iterdir()}


def octets_on_disk(store: SQLiteStore) -> int:
    """Without the zeros at the end of a segment that is written to."""
    return sum(len(path.read_bytes().rstrip(b"\0")) for path in (store.path / "segments").iterdir())


async def fill(store: SQLiteStore, keep: int = 5) -> Kept:
    """Messages of which every `keep`-th is left; in the account of alice."""
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    chance = random.Random(3)
    bodies = {await add(account, box, octets): octets for octets in (chance.randbytes(900) for _ in range(BODIES))}
    await account.apply([Remove(box, [uid for uid in bodies if uid % keep])])
    return {uid: octets for uid, octets in bodies.items() if not uid % keep}


async def read(store: SQLiteStore, uids: Iterable[int] | None = None) -> Kept:
    account = await store.open_account("alice")
    (box,) = await account.mailboxes()
    rows = await account.messages(box.id, uids if uids is None else list(uids), limit=10_000)
    return {row.uid: await account.read_blob(row.blob_id, 0, row.size) for row in rows}


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path, files: BadFiles) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "store", reactor, SETTINGS, files=files)
    yield store
    await store.close()


async def test_the_dead_give_up_their_room_and_the_living_are_as_before(store: SQLiteStore) -> None:
    assert IMaintenance.providedBy(store)
    kept = await fill(store)
    before = octets_on_disk(store)
    findings = await store.compact()
    assert findings.problems == ()
    assert findings.counts["records moved"] >= len(kept) - 2
    assert findings.counts["octets freed"] > before / 2
    assert octets_on_disk(store) < before / 2
    assert await read(store) == kept
    assert check(store.path).problems == ()
    await store.close()
    again = SQLiteStore(store.path, reactor, SETTINGS)
    assert await read(again) == kept
    await again.close()


async def test_there_is_nothing_to_do_the_second_time(store: SQLiteStore) -> None:
    await fill(store)
    await store.compact()
    there = segments(store)
    findings = await store.compact()
    assert findings.counts["records moved"] == findings.counts["octets freed"] == 0
    assert segments(store) == there


async def test_what_is_mostly_alive_is_left_where_it_is(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for _ in range(30):
        await add(account, box, b"x" * 900)
    await account.apply([Remove(box, list(range(1, 30, 4)))])
    there = segments(store)
    assert (await store.compact()).counts["segments compacted"] == 0
    assert segments(store) == there


async def test_one_message_of_fifty_accounts_is_copied_once(store: SQLiteStore) -> None:
    accounts = [await store.open_account(f"a{number}", create=True) for number in range(50)]
    boxes = [(await account.mailboxes())[0].id for account in accounts]
    writer = store.new_blob()
    await writer.write(b"to all of you")
    shared = await writer.commit()
    for account, box in zip(accounts, boxes, strict=True):
        await account.apply([Add(box, shared, 0)])
    for _ in range(10):
        await add(accounts[0], boxes[0], b"x" * 900)
    await accounts[0].apply([Remove(boxes[0], list(range(2, 12)))])
    findings = await store.compact()
    assert findings.counts["records moved"] == 1
    assert {await account.read_blob(shared, 0, 100) for account in accounts} == {b"to all of you"}
    assert store._batch.execute("SELECT count(DISTINCT segment), count(*) FROM blobs").fetchone() == (1, 50)


async def test_a_reader_that_knows_where_it_was_finds_where_it_is(store: SQLiteStore) -> None:
    kept = await fill(store)
    other = SQLiteStore(store.path, reactor, SETTINGS)
    elsewhere = SQLiteReader(reactor, store.path, SETTINGS)
    rows = await (await other.open_account("alice")).messages("m1")
    known = [store_.locate(1, rows[0].blob_id) for store_ in (store, other, elsewhere)]
    assert len({*known}) == 1
    for row in rows:  # whose places are known from now on, though nothing was opened
        other.locate(1, row.blob_id)
        elsewhere.locate(1, row.blob_id)
    await store.compact()
    for reader in (store, other, elsewhere):
        assert await read(reader) == kept
        assert await reader.read_octets(known[0], 3, 5) == kept[rows[0].uid][3:8]
    await other.close()
    await elsewhere.close()


async def test_mail_comes_and_goes_meanwhile_and_no_reader_sees_an_error(store: SQLiteStore) -> None:
    kept = await fill(store)
    account = await store.open_account("alice")
    box = (await account.mailboxes())[0].id
    other = SQLiteStore(store.path, reactor, SETTINGS)
    is_over: list[bool] = []
    new: Kept = {}

    async def deliver() -> None:
        while not is_over:
            octets = random.randbytes(900)
            new[await add(account, box, octets)] = octets
            if len(new) % 2:
                await account.apply([Remove(box, [max(new)])])
                new.popitem()
            await deferLater(reactor, 0)

    async def look(where: SQLiteStore) -> None:
        while not is_over:
            assert await read(where, kept) == kept
            await deferLater(reactor, 0)

    async def compact() -> None:
        try:
            for _ in range(8):
                await store.compact()
                await other.compact()
        finally:
            is_over.append(True)

    everybody = [deliver(), look(store), look(other), compact()]
    await gatherResults([Deferred.fromCoroutine(one) for one in everybody], consumeErrors=True)
    assert await read(other) == {**kept, **new}
    assert check(store.path).problems == ()
    await other.close()


async def test_it_comes_by_itself_where_much_has_died(tmp_path: Path) -> None:
    settings = SQLiteSettings(segment_size=8_000, blob_grace=-1.0, housekeeping_interval=0.05)
    store = SQLiteStore(tmp_path, reactor, settings)
    kept = await fill(store)
    for _ in range(100):
        await deferLater(reactor, 0.05)
        if octets_on_disk(store) < 900 * BODIES / 2:
            break
    assert octets_on_disk(store) < 900 * BODIES / 2
    assert await read(store) == kept
    await store.close()


async def test_a_damaged_record_is_told_and_its_segment_is_kept(store: SQLiteStore) -> None:
    kept = await fill(store)
    victim = sorted(kept)[3]
    spoiled = bytearray(kept[victim])
    for path in (store.path / "segments").iterdir():
        octets = path.read_bytes()
        if spoiled in octets:
            path.write_bytes(octets.replace(spoiled, spoiled[:-1] + bytes([spoiled[-1] ^ 1])))
            break
    for _ in range(2):  # it is told each time somebody asks
        findings = await store.compact()
        (problem,) = findings.problems
        assert str(path) in problem and "mailkit fsck" in problem
        assert path.exists()
    account = await store.open_account("alice")
    with pytest.raises(Unavailable):
        await account.read_blob((await account.messages("m1", [victim]))[0].blob_id, 0, 900)
    del kept[victim]
    for uid, octets in kept.items():
        assert await account.read_blob((await account.messages("m1", [uid]))[0].blob_id, 0, 900) == octets


async def test_what_it_moved_is_synced_before_the_index_points_there(store: SQLiteStore, files: BadFiles) -> None:
    kept = await fill(store)
    assert (await store.compact()).counts["records moved"] > 0
    files.cut_power()
    assert await read(store) == kept
    assert check(store.path).problems == ()


async def test_two_processes_at_the_same_segments_do_no_harm(store: SQLiteStore) -> None:
    kept = await fill(store)
    other = SQLiteStore(store.path, reactor, SETTINGS)
    both = [Deferred.fromCoroutine(one.compact()) for one in (store, other) * 3]
    assert all(not findings.problems for findings in await gatherResults(both))
    assert octets_on_disk(store) < 900 * BODIES / 2
    assert await read(store) == await read(other) == kept
    assert check(store.path).problems == ()
    await other.close()


@pytest.mark.parametrize("kind", ["write", "create", "sync", "sync_directory"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_a_disk_that_fails_loses_nothing(store: SQLiteStore, files: BadFiles, number: int, kind: str) -> None:
    kept = await fill(store)
    files.fail_at, files.failures, files.kind, files.errno = len(files.calls), 1, kind, number
    try:
        findings = await store.compact()
        assert any("disk is full" in problem for problem in findings.problems)
    except Unavailable:
        pass
    assert files.failures == 0, "it did not fail"
    assert await read(store) == kept
    files.kind = ""
    again = SQLiteStore(store.path, reactor, SETTINGS)
    assert (await again.compact()).problems == ()
    assert await read(again) == kept
    assert octets_on_disk(again) < 900 * BODIES / 2
    await again.close()
    assert check(store.path).problems == ()


async def test_while_a_backup_reads_no_file_is_removed(store: SQLiteStore) -> None:
    kept = await fill(store)
    await store.keep_house()
    there = segments(store)
    held = await deferToThread(hold, store.path, files := BadFiles())
    findings = await store.compact()
    assert "a backup is being made" in findings.problems[0]
    assert findings.counts["records moved"] > 0
    assert segments(store) >= there
    assert await read(store) == kept
    files.unlock(held.fd)
    assert (await store.compact()).problems == ()
    assert octets_on_disk(store) < 900 * BODIES / 2
    assert await read(store) == kept


async def test_the_segment_that_is_written_to_is_closed_when_nothing_comes_any_more(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor, SQLiteSettings(blob_grace=-1.0))
    kept = await fill(store)
    before = octets_on_disk(store)
    assert (await store.compact()).counts["octets freed"] == before
    assert octets_on_disk(store) < before / 2
    assert await read(store) == kept
    await store.close()


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01])
async def test_closing_the_store_ends_it_soon(store: SQLiteStore, seconds: float) -> None:
    kept = await fill(store)
    compacting = Deferred.fromCoroutine(store.compact())
    compacting.addErrback(lambda failure: failure.trap(Unavailable))
    if seconds:
        await deferLater(reactor, seconds)
    await store.close()
    await compacting
    again = SQLiteStore(store.path, reactor, SETTINGS)
    assert await read(again) == kept
    await again.close()


COMPACTS = """
import sys
from pathlib import Path
from twisted.internet import defer, reactor
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore

async def main():
    store = SQLiteStore(Path(sys.argv[1]), reactor, SQLiteSettings(segment_size=8_000, blob_grace=-1.0))
    print("ready", flush=True)
    while True:
        await store.compact()
        account = await store.open_account("alice")
        rows = await account.messages("m1")
        for row in rows:  # written anew, so that there is something to compact
            writer = account.new_blob()
            await writer.write(await account.read_blob(row.blob_id, 0, row.size))
            from twisted_mail_kit.mail.operations import Add, Remove
            await account.apply([Add("m1", await writer.commit(), row.internal_date), Remove("m1", [row.uid])])

defer.ensureDeferred(main()).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
reactor.run()
"""


async def test_killed_at_any_moment_it_loses_nothing(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor, SETTINGS)
    kept = sorted((await fill(store)).values())
    await store.close()
    chance = random.Random(4)

    def kill_it(seconds: float) -> None:
        with subprocess.Popen([sys.executable, "-c", COMPACTS, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline() == b"ready\n"
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
            else:
                raise AssertionError("it ended by itself")

    for _ in range(8):
        await deferToThread(kill_it, chance.random() * 0.3)
        assert check(tmp_path).problems == ()
        store = SQLiteStore(tmp_path, reactor, SETTINGS)
        assert sorted((await read(store)).values()) == kept
        await store.close()


async def test_delivery_does_not_wait_for_it(store: SQLiteStore) -> None:
    account: IAccount = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for _ in range(40):
        await gatherResults([Deferred.fromCoroutine(add(account, box, b"x" * 60_000)) for _ in range(10)])
    await account.apply([Remove(box, [uid for uid in range(1, 401) if uid % 3])])
    longest, count = 0.0, 0
    compacting = Deferred.fromCoroutine(store.compact())
    while not compacting.called:
        begun = reactor.seconds()
        await account.apply([CreateMailbox((f"box {count}",))])
        longest, count = max(longest, reactor.seconds() - begun), count + 1
    assert (await compacting).counts["records moved"] > 100
    assert count > 5 and longest < 0.5
