"""The memory store: every promise, and what it forgets when."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_mail_kit.errors import AccountNotFound, BlobNotFound, StateTooOld
from twisted_mail_kit.interfaces import Add, CreateMailbox, Remove
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts import MailStoreContract
from twisted_mail_kit.testing.contracts.steps import add, inbox, put_blob, read

DAY = 24 * 3600


class TestMemoryStore(MailStoreContract):
    def make_store(self, tmp_path: Path) -> MemoryStore:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        return MemoryStore(self.clock)

    def pass_time(self, store: MemoryStore, seconds: float) -> None:
        self.clock.advance(seconds)


async def test_what_need_not_be_kept_is_forgotten() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    account = await store.open_account("alice", create=True)
    box = await inbox(account)
    (added,) = await add(account, box.id)
    loose, shared = await put_blob(account), store.new_blob()
    shared_id = await shared.commit()
    await account.apply([Remove(box.id, [added.uid])], token="t")
    clock.advance(8 * DAY)
    applied = await account.apply([CreateMailbox(("New",))], token="t")
    assert not applied.replayed
    for blob in (loose, "gone"):
        with pytest.raises(BlobNotFound):
            await account.read_blob(blob, 0, 1)
    assert not account.blobs and not account.loose and not account.references
    await store.new_blob().commit()
    with pytest.raises(BlobNotFound):
        await account.apply([Add(box.id, shared_id, 1)])


async def test_old_tombstones_go_but_a_thousand_stay() -> None:
    clock = Clock()
    account = await MemoryStore(clock).open_account("alice", create=True)
    box, blob = await inbox(account), await put_blob(account)
    await account.apply([Add(box.id, blob, 1) for _ in range(1200)])
    since = await account.state()
    for start in range(0, 1200, 100):
        await account.apply([Remove(box.id, range(start + 1, start + 101))])
    await account.changes(since)
    clock.advance(8 * DAY)
    await add(account, box.id)
    with pytest.raises(StateTooOld):
        await account.changes(since)
    assert len((await account.changes(since + 2)).removed) == 1000


async def test_a_state_of_the_future_is_no_state() -> None:
    account = await MemoryStore().open_account("alice", create=True)
    with pytest.raises(StateTooOld):
        await account.changes(await account.state() + 1)


async def test_an_account_that_was_removed_takes_nothing_more() -> None:
    store = MemoryStore()
    account = await store.open_account("alice", create=True)
    await store.remove_account("alice")
    new = await store.open_account("alice", create=True)
    with pytest.raises(AccountNotFound):
        await account.apply([CreateMailbox(("New",))])
    assert len(await new.mailboxes()) == 1


async def test_the_octets_of_a_shared_blob_are_there_once() -> None:
    store = MemoryStore()
    writer = store.new_blob()
    await writer.write(b"x" * 1000)
    blob = await writer.commit()
    accounts = [await store.open_account(name, create=True) for name in ("a", "b")]
    for account in accounts:
        await account.apply([Add((await inbox(account)).id, blob, 1)])
        assert await read(account, blob) == b"x" * 1000
    assert accounts[0].blobs[blob] is accounts[1].blobs[blob]
