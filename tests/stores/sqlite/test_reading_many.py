"""Summaries and bodies of many messages at once: wherever they lie, and whatever is broken beside them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import IReadMany
from twisted_mail_kit.mail.operations import Remove
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.segmentreader import RUN, cut_neighbours, runs, span
from twisted_mail_kit.stores.sqlite.segments import HEADER, HEADER_SIZE, LARGE, Location, record_header

from .conftest import add


class SlowFiles(Files):
    """Nothing is ever in memory."""

    def read_cached(self, fd: int, size: int, offset: int) -> None:
        return None


@pytest.mark.parametrize("files", [Files(), SlowFiles()], ids=["in memory", "on the disk"])
async def test_bodies_of_many_segments_and_large_files(tmp_path: Path, files: Files) -> None:
    store = SQLiteStore(tmp_path, reactor, SQLiteSettings(segment_size=50_000, small_message=10_000), files)
    try:
        account = await store.open_account("alice", create=True)
        assert IReadMany.providedBy(account)
        box = (await account.mailboxes())[0].id
        expected = {}
        for number in range(60):
            octets = b"%d " % number * (number * number * (4 if number % 20 == 19 else 1))
            expected[await add(account, box, octets)] = octets
        assert len(list(tmp_path.glob("segments/*.log"))) > 2 and list(tmp_path.glob("large/*/*.blob"))
        await account.apply([Remove(box, [7, 8, 30])])
        for uid in (7, 8, 30):
            del expected[uid]
        assert await account.bodies(box, range(1, 70)) == list(expected.items())
        some = [1, 7, 40, 60, 61]
        assert await account.bodies(box, some) == [(uid, expected[uid]) for uid in some if uid in expected]
    finally:
        await store.close()


@pytest.mark.parametrize("count", [5, 30], ids=["few", "neighbours"])
@pytest.mark.parametrize("at", [0, 3, 6, 13, 17, 22, 26, 30], ids=str)
async def test_a_damaged_body_is_left_out_and_told_of_by_itself(store: SQLiteStore, count: int, at: int) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for number in range(count):
        await add(account, box, b"letter %d" % number * 100)
    (segment,) = store.path.glob("segments/*.log")
    octets = bytearray(segment.read_bytes())
    octets[octets.index(b"letter 3") - HEADER_SIZE + at] ^= 1
    segment.write_bytes(octets)
    found = dict(await account.bodies(box, range(1, count + 1)))
    if not HEADER.size <= at < HEADER_SIZE:  # of the header's own checksum there is no need
        assert found.pop(4, None) is None
        assert await account.bodies(box, [4]) == []
        (row,) = await account.messages(box, [4])
        with pytest.raises(Unavailable, match="fsck"):
            await account.read_blob(row.blob_id, 0, row.size)
    assert found == {uid: b"letter %d" % (uid - 1) * 100 for uid in range(1, count + 1) if uid != 4 or uid in found}
    assert [uid for uid, _ in await account.bodies(box, [1, 2, 3])] == [1, 2, 3]


async def test_neighbours_are_one_read_also_past_those_of_others(tmp_path: Path) -> None:
    class Counting(Files):
        reads = 0

        def read_cached(self, fd: int, size: int, offset: int) -> bytes | None:
            self.reads += 1
            return super().read_cached(fd, size, offset)

    files = Counting()
    store = SQLiteStore(tmp_path, reactor, files=files)
    try:
        alice, bob = [await store.open_account(name, create=True) for name in ("alice", "bob")]
        hers, his = [(await account.mailboxes())[0].id for account in (alice, bob)]
        expected = {}
        for number in range(40):
            octets = b"%d " % number * (number * 10)
            expected[await add(alice, hers, octets)] = octets
            if number % 3 == 0:
                await add(bob, his, b"not for alice" * 20)
        files.reads = 0
        assert dict(await alice.bodies(hers, range(1, 41))) == expected
        assert files.reads == 1
        await alice.apply([Remove(hers, [2, 3, 17])])
        for uid in (2, 3, 17):
            del expected[uid]
        assert dict(await alice.bodies(hers, range(1, 41))) == expected
        assert files.reads == 2
        assert [octets for _, octets in await bob.bodies(his, range(1, 41))] == [b"not for alice" * 20] * 14
    finally:
        await store.close()


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    wanted=st.sets(st.integers(1, 12)),
    flips=st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 255)), max_size=3),
    end=st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_neighbours_are_cut_right_or_not_at_all(
    sizes: list[int], wanted: set[int], flips: list[tuple[int, int]], end: int
) -> None:
    bodies = {number: b"%x" % number * size for number, size in enumerate(sizes, 1)}
    records = [record_header(number, len(body), crc32(body)) + body for number, body in bodies.items()]
    numbers = sorted({1, *wanted})
    expected = [bodies[number] for number in numbers] if numbers[-1] in bodies else None
    assert cut_neighbours(b"".join(records), numbers) == expected
    octets = bytearray(b"".join(records)[: end or None])
    for at, flip in flips:
        if at < len(octets):
            octets[at] ^= flip
    assert cut_neighbours(bytes(octets), numbers) in (expected, None)
    assert cut_neighbours(bytes(octets), [*numbers, 1]) is None


async def test_bodies_are_the_same_while_compaction_moves_them(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, reactor, SQLiteSettings(segment_size=30_000, blob_grace=-1.0, compact_share=1.0))
    try:
        account = await store.open_account("alice", create=True)
        box = (await account.mailboxes())[0].id
        bodies = {}
        for number in range(200):
            octets = b"%d " % number * 300
            bodies[await add(account, box, octets)] = octets
        gone = [uid for uid in bodies if uid % 3 == 0 or 50 < uid < 120]
        await account.apply([Remove(box, gone)])
        expected = [(uid, octets) for uid, octets in bodies.items() if uid not in gone]
        compacting = Deferred.fromCoroutine(store.compact())
        seen = 0
        while seen < 3:  # until it is over, and then once more
            seen += compacting.called
            found: list[tuple[int, bytes]] = []
            for start in range(1, 201, 20):
                found += await account.bodies(box, range(start, start + 20))
                await deferLater(reactor, 0)
            for uid in {uid for uid, _ in expected} - {uid for uid, _ in found}:
                # It was moved at this moment: who misses one asks for it by itself.
                (row,) = await account.messages(box, [uid])
                found.append((uid, await account.read_blob(row.blob_id, 0, row.size)))
            assert sorted(found) == expected
        assert (await compacting).counts["records moved"]
    finally:
        await store.close()


async def test_a_message_without_its_facts_is_not_passed_over(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for _ in range(3):
        await add(account, box, b"letter")
    with sqlite3.connect(store.path / "index.sqlite") as connection:
        connection.execute("DELETE FROM facts WHERE id & 0xFFFFFFFF = 2")
    connection.close()
    for ask in (account.summaries, account.bodies):
        with pytest.raises(Unavailable, match="fsck"):
            await ask(box, [1, 2, 3])
        assert [uid for uid, _ in await ask(box, [1, 3])] == [1, 3]


def test_runs_are_what_one_read_gets() -> None:
    near = [Location(number, 1, HEADER_SIZE + number * 1000, 900) for number in range(300)]
    found = runs(near)
    assert [one for run in found for one in run] == near
    assert len(found) == 3 and all(span(run)[1] <= RUN + HEADER_SIZE for run in found)
    assert len(runs([near[1], near[0]])) == 2, "never backwards"
    assert len(runs([near[0], near[100]])) == 2, "what lies between is not read for nothing"
    assert len(runs([near[0], near[1]._replace(segment=2)])) == 2
    assert len(runs([Location(1, LARGE, 28, 10), Location(2, LARGE, 38, 10)])) == 2
    assert runs([]) == []
