"""Promises of the optional abilities: kept where they are provided, skipped aloud where not."""

from __future__ import annotations

from typing import Any, cast

import pytest
from twisted.python.threadable import isInIOThread
from zope.interface import Interface
from zope.interface.verify import verifyObject

from twisted_mail_kit.errors import AccountNotFound, BlobNotFound, MailboxNotFound, StateTooOld
from twisted_mail_kit.interfaces import (
    Add,
    DeleteMailbox,
    IAccount,
    IAccountList,
    IChangeHints,
    IListing,
    IMailStore,
    IMaintenance,
    IReadMany,
    ISharedBlobs,
    Remove,
    SetFlags,
)
from twisted_mail_kit.testing.contracts.crowds import at_once, pause
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, promise
from twisted_mail_kit.testing.contracts.steps import (
    LETTER,
    add,
    create,
    inbox,
    messages,
    read,
    same_octets,
    snapshot,
    write_blob,
)


def able(store: IMailStore, ability: type[Interface]) -> Any:
    """The store, if it is."""
    if not ability.providedBy(store):
        pytest.skip(f"the store does not provide {ability.__name__}: the framework does without")
    verifyObject(ability, store)
    return store


class AbilityPromises(StoreBench):
    """IChangeHints, ISharedBlobs, IAccountList; and of accounts, IListing and IReadMany."""

    level = "abilities"

    @promise
    async def test_hints_tell_of_commits_in_order(self, store: IMailStore) -> None:
        able(store, IChangeHints)
        heard: list[tuple[str, int]] = []
        unwatch = able(store, IChangeHints).watch_changes(lambda name, modseq: heard.append((name, modseq)))
        accounts = [await store.open_account(name, create=True) for name in ("alice", "bob")]
        for _ in range(5):
            for account in accounts:
                await add(account, (await inbox(account)).id)
        states = {account.name: await account.state() for account in accounts}
        for _ in range(400):
            if all((name, state) in heard for name, state in states.items()):
                break
            await pause(0.005)
        for name, state in states.items():
            modseqs = [modseq for told, modseq in heard if told == name]
            assert modseqs == sorted(modseqs) and modseqs[-1] == state
        unwatch()
        heard.clear()
        await add(accounts[0], (await inbox(accounts[0])).id)
        await pause(0.05)
        assert not heard
        unwatch()

    @promise
    async def test_hints_come_in_the_reactor_thread(self, store: IMailStore, account: IAccount) -> None:
        threads: list[bool] = []
        unwatch = able(store, IChangeHints).watch_changes(lambda name, modseq: threads.append(isInIOThread()))
        await add(account, (await inbox(account)).id)
        for _ in range(400):
            if threads:
                break
            await pause(0.005)
        unwatch()
        assert threads and all(threads)

    @promise
    async def test_a_listener_that_fails_harms_nobody(self, store: IMailStore, account: IAccount) -> None:
        heard: list[int] = []

        def fail(name: str, modseq: int) -> None:
            heard.append(modseq)
            raise RuntimeError("a listener of the contract suite that fails")

        able(store, IChangeHints).watch_changes(fail)
        able(store, IChangeHints).watch_changes(lambda name, modseq: heard.append(-modseq))
        for _ in range(2):
            await add(account, (await inbox(account)).id)
            await pause()
        assert (await inbox(account)).total == 2

    @promise
    async def test_a_listing_is_what_the_messages_say(self, account: IAccount) -> None:
        if not IListing.providedBy(account):
            pytest.skip("the account does not provide IListing: the framework does without")
        listing = cast(Any, account).listing
        box = await create(account, "Box")
        other = await create(account, "Other")
        assert [list(column) for column in await listing(box.id)] == [[], [], [], [], []]
        for _ in range(5):
            await add(account, box.id)
            await add(account, other.id)
        marked = frozenset({r"\Seen", "$Kept"})
        await account.apply([SetFlags(box.id, [1, 4], add=marked), Remove(box.id, [2])])
        rows = await account.messages(box.id)
        expected = [(row.uid, row.flags, row.modseq, row.size, row.internal_date) for row in rows]
        assert list(zip(*await listing(box.id), strict=True)) == expected
        assert list(zip(*await listing(box.id, 1, 2), strict=True)) == expected[1:3]
        assert not (await listing(box.id, 5)).uids and not (await listing(box.id, 2**32)).uids
        with pytest.raises(MailboxNotFound):
            await listing("nowhere")

    @promise
    async def test_what_is_read_of_many_is_what_is_read_of_each(self, store: IMailStore, account: IAccount) -> None:
        if not IReadMany.providedBy(account):
            pytest.skip("the account does not provide IReadMany: the framework does without")
        verifyObject(IReadMany, account)
        many = cast(Any, account)
        bob = await store.open_account("bob", create=True)
        box, other = await create(account, "Box"), await create(account, "Other")
        for number in range(40):
            octets = LETTER + b"x" * (number * number * 50)
            for there, mailbox in ((account, box), (account, other), (bob, await inbox(bob))):
                blob = await write_blob(there.new_blob(), octets + mailbox.id.encode())
                await there.apply([Add(mailbox.id, blob, 1, summary=b"%d" % number)])
        await account.apply([Remove(box.id, [2, 30])])
        for asked in ([], [1], [2], [1, 2, 3], list(range(20, 42)), range(1, 41), [1, 40, 2**32 - 1]):
            rows = await account.messages(box.id, asked)
            assert [tuple(one) for one in await many.summaries(box.id, asked)] == [
                (row.uid, row.summary) for row in rows
            ]
            bodies = [tuple(one) for one in await many.bodies(box.id, asked)]
            assert [uid for uid, _ in bodies] == [row.uid for row in rows]
            for row, (uid, octets) in zip(rows, bodies, strict=True):
                same_octets(octets, await read(account, row.blob_id), f"the body of {uid}")
        for ask in (many.summaries, many.bodies):
            with pytest.raises(MailboxNotFound):
                await ask("nowhere", [1])

    @promise
    async def test_a_listing_since_is_what_the_changes_say(self, account: IAccount) -> None:
        if not IListing.providedBy(account):
            pytest.skip("the account does not provide IListing: the framework does without")
        since_of = cast(Any, account).listing_since
        box, other = await create(account, "Box"), await create(account, "Other")
        states = [await account.state()]
        for _ in range(6):
            await add(account, box.id)
            await add(account, other.id)
            states.append(await account.state())
        await account.apply([SetFlags(box.id, [2, 5], add=frozenset({r"\Seen", "$Kept"})), Remove(box.id, [1, 4])])
        await account.apply([Remove(other.id, [3])])
        states.append(await account.state())
        for since in states:
            news = await since_of(box.id, since)
            changes = await account.changes(since, box.id)
            rows = sorted(changes.messages, key=lambda row: row.uid)
            expected = [(row.uid, row.flags, row.modseq, row.size, row.internal_date) for row in rows]
            assert list(zip(*news.changed, strict=True)) == expected
            assert list(news.removed) == sorted(row.uid for row in changes.removed)
            assert news.until == await account.state()
            assert [news.mailbox] == [one for one in await account.mailboxes() if one.id == box.id]
        with pytest.raises(StateTooOld):
            await since_of(box.id, states[-1] + 1)
        await account.apply([DeleteMailbox(box.id)])
        with pytest.raises(MailboxNotFound):
            await since_of(box.id, states[0])

    @promise
    async def test_a_shared_blob_goes_into_every_account(self, store: IMailStore) -> None:
        blob = await write_blob(able(store, ISharedBlobs).new_blob(len(LETTER)), LETTER)
        accounts = [await store.open_account(name, create=True) for name in ("a", "b", "c")]
        for account in accounts:
            await account.apply([Add((await inbox(account)).id, blob, 1)])
        first = accounts[0]
        await first.apply([Remove((await inbox(first)).id, range(1, 10))])
        for account in accounts[1:]:
            (row,) = await messages(account, (await inbox(account)).id)
            assert (row.size, await read(account, row.blob_id)) == (len(LETTER), LETTER)

    @promise
    async def test_a_shared_blob_is_read_only_where_it_was_added(self, store: IMailStore, account: IAccount) -> None:
        blob = await write_blob(able(store, ISharedBlobs).new_blob(), LETTER)
        other = await store.open_account("bob", create=True)
        await account.apply([Add((await inbox(account)).id, blob, 1)])
        (row,) = await messages(account, (await inbox(account)).id)
        for blob_id in (blob, row.blob_id):
            with pytest.raises(BlobNotFound):
                await other.read_blob(blob_id, 0, 10)

    @promise
    async def test_a_shared_blob_waits_an_hour_for_its_messages(self, store: IMailStore, account: IAccount) -> None:
        blob = await write_blob(able(store, ISharedBlobs).new_blob(), LETTER)
        await account.apply([Add((await inbox(account)).id, blob, 1)])
        await finished(self.pass_time(store, 3500))
        other = await store.open_account("bob", create=True)
        for one in (account, other):
            await one.apply([Add((await inbox(one)).id, blob, 1)])
            rows = await messages(one, (await inbox(one)).id)
            assert await read(one, rows[-1].blob_id) == LETTER

    @promise
    async def test_accounts_are_listed_in_order_and_in_pages(self, store: IMailStore) -> None:
        able(store, IAccountList)
        names = ["b", "a", "\u00e9", "B", "a b", "../x"]
        for name in names:
            await store.open_account(name, create=True)
        listed: list[str] = []
        while True:
            page = await able(store, IAccountList).account_names(listed[-1] if listed else "", limit=2)
            assert len(page) <= 2
            if not page:
                break
            listed.extend(page)
        assert listed == sorted(names)
        assert list(await able(store, IAccountList).account_names(limit=100)) == sorted(names)

    @promise
    async def test_a_removed_account_is_gone_and_the_others_stay(self, store: IMailStore, account: IAccount) -> None:
        able(store, IAccountList)
        other = await store.open_account("bob", create=True)
        for one in (account, other):
            await add(one, (await inbox(one)).id)
            await create(one, "Box")
        old = await inbox(account)
        (row,) = await messages(account, old.id)
        await able(store, IAccountList).remove_account("alice")
        for ask in (store.open_account, able(store, IAccountList).remove_account):
            with pytest.raises(AccountNotFound):
                await ask("alice")
        assert list(await able(store, IAccountList).account_names()) == ["bob"]
        assert (await inbox(other)).total == 1
        new = await store.open_account("alice", create=True)
        (box,) = await new.mailboxes()
        assert (box.name, box.total) == (("INBOX",), 0)
        # RFC 3501 2.3.1.1: a client that has cached the old inbox must not take its UIDs for those of this one.
        assert box.uidvalidity != old.uidvalidity or box.uidnext >= old.uidnext
        with pytest.raises(BlobNotFound):
            await new.read_blob(row.blob_id, 0, 10)

    @promise
    async def test_a_removed_account_does_not_come_back(self, store: IMailStore, account: IAccount) -> None:
        able(store, IAccountList)
        await store.open_account("bob", create=True)
        await add(account, (await inbox(account)).id)
        await able(store, IAccountList).remove_account("alice")
        store = await self.opened_again(store)
        assert list(await able(store, IAccountList).account_names()) == ["bob"]
        with pytest.raises(AccountNotFound):
            await store.open_account("alice")

    @promise
    async def test_compacting_takes_nothing_that_is_needed(self, store: IMailStore, account: IAccount) -> None:
        box, octets = await inbox(account), [bytes([number]) * 5000 for number in range(40)]
        for piece in octets:
            await add(account, box.id, piece)
        rows = await messages(account, box.id)
        await account.apply([Remove(box.id, [row.uid for row in rows[::2]])])
        before = await snapshot(account)
        for turn in range(2):
            findings = await able(store, IMaintenance).compact()
            assert all(isinstance(number, int) for number in findings.counts.values())
            # Those that went are within their grace time.
            for row, piece in zip(rows, octets, strict=True):
                same_octets(await read(account, row.blob_id, 1000 + turn), piece)
        assert await snapshot(account) == before

    @promise
    async def test_compacting_is_never_in_the_way_of_a_reader(self, store: IMailStore, account: IAccount) -> None:
        able(store, IMaintenance)
        box, octets = await inbox(account), bytes(range(256)) * 2000
        kept, gone = await add(account, box.id, octets, times=2)
        rows = {row.uid: row for row in await messages(account, box.id)}
        await account.apply([Remove(box.id, [gone.uid])])

        async def look() -> list[bytes]:
            return [await read(account, rows[added.uid].blob_id, 7000) for added in (kept, gone)]

        _, *looks = await at_once([able(store, IMaintenance).compact(), look(), look()])
        for found in [one for looked in looks for one in looked]:
            same_octets(found, octets)

    @promise
    async def test_a_store_in_use_has_no_problems(self, store: IMailStore, account: IAccount) -> None:
        box, there = await inbox(account), await create(account, "There")
        for octets in (b"", LETTER, b"x" * 300_000):
            await add(account, box.id, octets)
        await account.apply([Remove(box.id, [1])])
        await add(account, there.id)
        before = await snapshot(account)
        findings = await able(store, IMaintenance).check()
        assert not findings.problems
        assert await snapshot(account) == before

    @promise
    async def test_a_backup_has_what_there_was(self, store: IMailStore, account: IAccount) -> None:
        able(store, IMaintenance)
        box, directory = await inbox(account), self.tmp_path.parent / f"{self.tmp_path.name} backup"
        for octets in (LETTER, b"", b"x" * 300_000):
            await add(account, box.id, octets, flags=frozenset({"kept"}))
        await able(store, IMaintenance).backup(directory)
        await add(account, box.id, b"later")
        await account.apply([Remove(box.id, [1])])
        await able(store, IMaintenance).backup(directory)  # brought up to date
        await add(account, box.id, b"too late")
        was = [(row, await read(account, row.blob_id)) for row in await messages(account, box.id)]
        copy = await self.opened(finished(self.restore(directory)))
        restored = await copy.open_account("alice")
        rows = await messages(restored, (await inbox(restored)).id)
        assert [(row.uid, row.flags) for row in rows] == [(row.uid, row.flags) for row, _ in was[:-1]]
        for row, (_, octets) in zip(rows, was[:-1], strict=True):
            same_octets(await read(restored, row.blob_id), octets)
        assert (await inbox(account)).total == len(was)
