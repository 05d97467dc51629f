"""Promises of a persistent store: closed and opened again, it is as it was."""

from __future__ import annotations

import threading

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import AccountNotFound
from twisted_mail_kit.interfaces import (
    Add,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    IAccount,
    IMailStore,
    Move,
    Operation,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.testing.contracts.blobs import SAMPLES
from twisted_mail_kit.testing.contracts.crowds import at_once
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise
from twisted_mail_kit.testing.contracts.steps import (
    add,
    create,
    history,
    inbox,
    mailbox,
    message,
    messages,
    open_files,
    put_blob,
    read,
    same_octets,
    snapshot,
)


class KeptPromises(StoreBench):
    """All of it skips aloud where the store is not persistent."""

    @promise
    async def test_everything_is_there_when_it_is_opened_again(self, store: IMailStore, account: IAccount) -> None:
        box, there = await inbox(account), await create(account, "\u00dcber", "../x", role="archive")
        await add(account, box.id, summary=bytes(range(256)), flags=frozenset({"\\Seen", "$x"}), thread_id="t")
        one, two = await add(account, box.id, times=2)
        gone = await create(account, "Gone")
        await account.apply([Move(box.id, [one.uid], there.id), Copy(box.id, [two.uid], there.id)])
        await account.apply([SetFlags(box.id, [two.uid], add=frozenset({"y"})), Remove(there.id, [1])])
        await account.apply([DeleteMailbox(gone.id), UpdateMailbox(there.id, subscribed=False)])
        before, told = await snapshot(account), await history(account, 0)
        account = await (await self.opened_again(store)).open_account("alice")
        assert await snapshot(account) == before
        after = await history(account, 0)
        assert after._replace(pages=[]) == told._replace(pages=[])

    @promise
    async def test_octets_are_there_when_it_is_opened_again(self, store: IMailStore, account: IAccount) -> None:
        for octets in SAMPLES.values():
            await add(account, (await inbox(account)).id, octets)
        account = await (await self.opened_again(store)).open_account("alice")
        rows = await messages(account, (await inbox(account)).id)
        assert len(rows) == len(SAMPLES)
        for row, (what, octets) in zip(rows, SAMPLES.items(), strict=True):
            same_octets(await read(account, row.blob_id), octets, what)

    @promise
    async def test_a_token_is_known_when_it_is_opened_again(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        (old,) = await add(account, box.id)
        ops: list[Operation] = [
            Add(box.id, await put_blob(account), 1),
            CreateMailbox(("New",)),
            Copy(box.id, [old.uid], "#1"),
            SetFlags(box.id, [old.uid], add=frozenset({"x"})),
            Remove(box.id, [old.uid]),
            DeleteMailbox("#1"),
        ]
        first = await account.apply(ops, token="delivery 1")
        account = await (await self.opened_again(store)).open_account("alice")
        before = await snapshot(account)
        assert await account.apply(ops, token="delivery 1") == first._replace(replayed=True)
        assert await snapshot(account) == before

    @promise
    async def test_nothing_is_used_twice_when_it_is_opened_again(self, store: IMailStore, account: IAccount) -> None:
        box, again = await inbox(account), await create(account, "Again")
        (added,) = await add(account, box.id)
        (other,) = await add(account, again.id)
        await account.apply([Remove(box.id, [added.uid]), DeleteMailbox(again.id)])
        uidnext, state = (await mailbox(account, box.id)).uidnext, await account.state()
        account = await (await self.opened_again(store)).open_account("alice")
        assert (await mailbox(account, box.id)).uidnext >= uidnext
        (next_one,) = await add(account, box.id)
        assert next_one.uid >= uidnext > added.uid
        assert next_one.email_id not in (added.email_id, other.email_id)
        assert await account.state() > state
        made = [again]
        for _ in range(3):
            made.append(await create(account, "Again"))
            await account.apply([DeleteMailbox(made[-1].id)])
        assert len({one.id for one in made}) == len({one.uidvalidity for one in made}) == 4

    @promise
    async def test_an_account_with_nothing_in_it_is_there_when_it_is_opened_again(self, store: IMailStore) -> None:
        box = await inbox(await store.open_account("bob", create=True))
        store = await self.opened_again(store)
        assert await inbox(await store.open_account("bob")) == box
        with pytest.raises(AccountNotFound):
            await store.open_account("alice")

    @promise
    async def test_what_was_never_committed_is_no_hindrance(self, store: IMailStore, account: IAccount) -> None:
        await account.new_blob().write(b"a message that was cut off")
        left = account.new_blob()
        await left.write(b"x" * 200_000)
        blob = await put_blob(account, b"committed, and never added")
        assert blob
        await add(account, (await inbox(account)).id)
        account = await (await self.opened_again(store)).open_account("alice")
        await add(account, (await inbox(account)).id)
        assert (await inbox(account)).total == 2

    @promise
    async def test_closing_finishes_what_was_begun(self, store: IMailStore, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        begun = [Deferred.fromCoroutine(_add(account, box.id, blob)) for _ in range(10)]
        store = await self.opened_again(store)
        await at_once(begun)
        assert (await inbox(await store.open_account("alice"))).total == 10

    @promise
    async def test_closing_lets_go_of_files_and_threads(self, store: IMailStore, account: IAccount) -> None:
        async def use(store: IMailStore) -> tuple[int, int]:
            account = await store.open_account("alice")
            await add(account, (await inbox(account)).id, b"x" * 400_000)
            (row, *_) = await messages(account, (await inbox(account)).id)
            assert len(await read(account, row.blob_id)) == row.size
            return open_files(), threads()

        store = await self.opened_again(store)
        once = await use(store)
        for _ in range(4):
            store = await self.opened_again(store)
            files, running = await use(store)
        assert files <= once[0] + 2, "files stay open when a store is closed"
        assert running <= once[1] + 2, "threads go on when a store is closed"

    @promise
    async def test_two_stores_in_the_same_place_are_one(self, store: IMailStore, account: IAccount) -> None:
        if not self.persistent:
            pytest.skip("not a persistent store: each is for itself")
        other = await (await self.opened(self.make_store(self.tmp_path))).open_account("alice")
        box, blob = await inbox(account), await put_blob(account)
        (added,) = await add(other, box.id, b"by the other")
        row = await message(account, box.id, added.uid)
        assert await read(account, row.blob_id) == b"by the other"
        await account.apply([SetFlags(box.id, [added.uid], add=frozenset({"x"})), Add(box.id, blob, 1)], token="t")
        assert (await other.apply([Add(box.id, blob, 1)], token="t")).replayed
        await at_once(_add(one, box.id, blob) for _ in range(5) for one in (account, other))
        assert await snapshot(account) == await snapshot(other)
        assert (await inbox(other)).total == 12
        told = await history(other, 0, limit=3)
        assert sorted(told.messages) == await messages(account, box.id)


async def _add(account: IAccount, mailbox_id: str, blob_id: str) -> None:
    await account.apply([Add(mailbox_id, blob_id, 1)])


def threads() -> int:
    """How many there are, but for the reactor's own."""
    return sum("twisted.internet.reactor" not in one.name for one in threading.enumerate())
