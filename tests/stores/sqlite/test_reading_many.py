"""Summaries and bodies of many messages at once: wherever they lie, and whatever is broken beside them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from twisted.internet import reactor

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import IReadMany
from twisted_mail_kit.mail.operations import Remove
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.segments import HEADER_SIZE, LARGE, RUN, Location, runs, span

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


async def test_a_damaged_body_is_left_out_and_told_of_by_itself(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    for number in range(5):
        await add(account, box, b"letter %d" % number * 100)
    (segment,) = store.path.glob("segments/*.log")
    octets = bytearray(segment.read_bytes())
    octets[octets.index(b"letter 3")] ^= 1
    segment.write_bytes(octets)
    assert 4 not in dict(await account.bodies(box, [1, 2, 3, 4, 5]))
    assert await account.bodies(box, [4]) == []
    assert [uid for uid, _ in await account.bodies(box, [1, 2, 3])] == [1, 2, 3]
    (row,) = await account.messages(box, [4])
    with pytest.raises(Unavailable, match="fsck"):
        await account.read_blob(row.blob_id, 0, row.size)


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
