"""Full disks, failing disks, power cuts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from twisted_mail_kit.errors import MailError, OverQuota, Unavailable
from twisted_mail_kit.mail.operations import Add, CreateMailbox, SetFlags
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore

from .conftest import BadFiles, add, blob

BIG = b"x" * 1_700_000


async def test_a_full_disk_changes_nothing_and_writing_returns_with_the_space(
    store: SQLiteStore, files: BadFiles
) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    await add(account, box, b"first")
    before = await account.mailboxes()
    for octets in (b"second", BIG):
        files.fail_at, files.failures, files.kind = 0, 1, "write"
        with pytest.raises(OverQuota):
            await add(account, box, octets)
        assert await account.mailboxes() == before
        (row,) = await account.messages(box)
        assert await account.read_blob(row.blob_id, 0, 100) == b"first"
    assert await add(account, box, b"third") == 2
    assert await add(account, box, BIG) == 3
    rows = await account.messages(box)
    assert [await account.read_blob(row.blob_id, 0, row.size) for row in rows] == [b"first", b"third", BIG]


async def test_one_who_finds_the_disk_full_does_not_stop_the_others(store: SQLiteStore, files: BadFiles) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    await add(account, box, b"first")
    files.fail_at, files.failures, files.kind = 0, 1, "write"
    message = await blob(account, b"second")
    adding = ensureDeferred(account.apply([Add(box, message, 0)]))
    flagging = ensureDeferred(account.apply([SetFlags(box, [1], add=frozenset({r"\Seen"}))]))
    adding.addErrback(lambda failure: failure.trap(OverQuota))
    assert await adding is OverQuota
    assert (await flagging).results[0].changed == (1,)
    # The same blob, when there is room again.
    assert (await account.apply([Add(box, message, 0)])).results[0].uid == 2


async def test_a_full_index_changes_nothing_and_heals(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    connection = store._batch.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    message = await blob(account, b"x")
    with pytest.raises(OverQuota):
        await account.apply([Add(box, message, 0, b"s" * 100_000)])
    assert (await account.mailboxes())[0].total == 0
    assert await account.state() == 1
    connection.execute("PRAGMA max_page_count = 1000000")
    assert (await account.apply([Add(box, message, 0, b"s" * 100_000)])).modseq == 2


@pytest.mark.parametrize("octets", [b"small", BIG], ids=["small", "large"])
async def test_after_a_failed_sync_the_store_is_read_only_until_it_is_opened_again(
    store: SQLiteStore, files: BadFiles, octets: bytes
) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    await add(account, box, b"first")
    files.fail_at, files.failures, files.kind, files.errno = 0, 1, "sync", errno.EIO
    with pytest.raises(Unavailable):
        await add(account, box, octets)
    with pytest.raises(Unavailable):
        await account.apply([CreateMailbox(("Sent",))])
    (row,) = await account.messages(box)
    assert await account.read_blob(row.blob_id, 0, 100) == b"first"
    again = SQLiteStore(store.path, reactor)
    account = await again.open_account("alice")
    assert await add(account, box, b"second") == 2
    await again.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_every_call_may_fail_and_nothing_acknowledged_is_lost(tmp_path: Path, number: int) -> None:
    for at in range(40):
        root = tmp_path / f"{number}-{at}"
        files = BadFiles()
        files.fail_at, files.failures, files.errno, files.short = at, 1, number, at % 2 == 0
        acknowledged: dict[int, bytes] = {}
        try:
            store = SQLiteStore(root, reactor, SQLiteSettings(segment_size=2000), files)
        except Unavailable:
            store = SQLiteStore(root, reactor, SQLiteSettings(segment_size=2000), files)
        account = await store.open_account("alice", create=True)
        box = (await account.mailboxes())[0].id
        for count in range(6):
            octets = b"%d" % count * (900 if count != 3 else 1_300_000)
            try:
                acknowledged[await add(account, box, octets)] = octets
            except MailError:
                pass
        assert len(acknowledged) >= 5 or store.writer.mistrusts
        failed = files.failures == 0
        files.failures = 0
        await store.close()
        files.cut_power()
        store = SQLiteStore(root, reactor)
        account = await store.open_account("alice")
        rows = {row.uid: row for row in await account.messages(box)}
        assert acknowledged.keys() <= rows.keys()
        for uid, octets in acknowledged.items():
            assert await account.read_blob(rows[uid].blob_id, 0, len(octets)) == octets
        await add(account, box, b"and one more")
        await store.close()
        if not failed:
            break
    assert not failed, "there are more calls than were tried"


async def test_octets_that_rot_are_never_given_out_whole(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    await add(account, box, b"precious words")
    (segment,) = (store.path / "segments").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b"words", b"worts"))
    (row,) = await account.messages(box)
    with pytest.raises(Unavailable):
        await account.read_blob(row.blob_id, 0, 100)


async def test_a_directory_whose_sync_has_failed_is_synced_before_anything_is_acknowledged(
    store: SQLiteStore, files: BadFiles
) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    files.fail_at, files.failures, files.kind, files.errno = 0, 1, "sync_directory", errno.EIO
    with pytest.raises(Unavailable):
        await add(account, box, b"its segment's directory is made, and is not durable")
    assert (store.path / "segments").is_dir()
    files.calls.clear()
    await add(account, box, b"again")
    assert files.calls.count("sync_directory") == 2, "the store's directory, and that of the segments"
