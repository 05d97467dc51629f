"""Promises about accounts: who is there, and that nobody sees what is another's."""

from __future__ import annotations

import re

import pytest
from zope.interface.verify import verifyObject

from twisted_mail_kit.errors import AccountNotFound, BadSyntax, MailboxNotFound
from twisted_mail_kit.interfaces import Add, CreateMailbox, IAccount, IBlobWriter, IMailStore, Remove
from twisted_mail_kit.testing.contracts.crowds import at_once
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise
from twisted_mail_kit.testing.contracts.steps import (
    add,
    create,
    inbox,
    messages,
    open_files,
    put_blob,
    read,
    snapshot,
)

HOSTILE_NAMES = [
    "../x",
    "..",
    ".",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "alice",
    "Alice",
    "ALICE",
    "alice ",
    " alice",
    "alice.",
    "caf\u00e9",
    "cafe\u0301",
    "\u65e5\u672c\u8a9e@\u4f8b\u3048.jp",
    "\U0001f4ee",
    "a'; DROP TABLE accounts; --",
    "100%",
    "a_b",
    "*",
    "a\nb",
    "CON",
    "x" * 500,
    "x" * 499 + "y",
]
"""All different, and none of them a path."""
UNLIKELY_NAMES = ["a\0b", "\0", "\udc80", "a\ud800b"]
"""No text that anybody could type; a database need not take them."""


class AccountPromises(StoreBench):
    """IMailStore, and what it says of accounts."""

    @promise
    async def test_the_doors_are_provided(self, store: IMailStore, account: IAccount) -> None:
        verifyObject(IMailStore, store)
        verifyObject(IAccount, account)
        verifyObject(IBlobWriter, account.new_blob())

    @promise
    async def test_an_account_that_nobody_made_is_not_found_however_often_it_is_asked_for(
        self, store: IMailStore
    ) -> None:
        for name in ("nobody", "nobody", *HOSTILE_NAMES[:5], ""):
            with pytest.raises(AccountNotFound):
                await store.open_account(name)

    @promise
    async def test_a_new_account_has_an_inbox_and_nothing_else(self, store: IMailStore) -> None:
        account = await store.open_account("bob", create=True)
        assert account.name == "bob"
        (box,) = await account.mailboxes()
        assert (box.name, box.role, box.total, box.unseen, box.size) == (("INBOX",), "inbox", 0, 0, 0)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", box.id)
        assert 1 <= box.uidvalidity < 2**32
        assert box.uidnext >= 1
        assert 0 <= box.modseq <= await account.state()
        assert not await account.messages(box.id)

    @promise
    async def test_an_account_that_is_there_is_opened_and_not_made_again(
        self, store: IMailStore, account: IAccount
    ) -> None:
        await add(account, (await inbox(account)).id)
        before = await snapshot(account)
        for create_it in (False, True):
            assert await snapshot(await store.open_account("alice", create=create_it)) == before

    @promise
    async def test_several_openings_stand_for_the_same_account(self, store: IMailStore, account: IAccount) -> None:
        other = await store.open_account("alice")
        await add(other, (await inbox(account)).id)
        await create(account, "Lists")
        assert await snapshot(account) == await snapshot(other)

    @promise
    async def test_an_account_may_be_opened_often(self, store: IMailStore, account: IAccount) -> None:
        await add(account, (await inbox(account)).id)
        before = await snapshot(await store.open_account("alice"))
        files, opened = open_files(), [await store.open_account("alice") for _ in range(200)]
        assert await snapshot(opened[0]) == await snapshot(opened[-1]) == before
        assert open_files() <= files + 20, "each opening takes a file"

    @promise
    async def test_a_name_that_cannot_be_kept_is_bad_syntax(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        for name in UNLIKELY_NAMES:
            try:
                other = await store.open_account(name, create=True)
            except BadSyntax:
                with pytest.raises((AccountNotFound, BadSyntax)):
                    await store.open_account(name)
            else:
                assert other.name == name and (await inbox(other)).total == 0
                await add(other, (await inbox(other)).id)
                assert (await inbox(await store.open_account(name))).total == 1
            before = await snapshot(account)
            try:
                made = await create(account, name)
            except BadSyntax:
                assert await snapshot(account) == before
            else:
                assert made.name == (name,) and made.id != box.id
                assert (name,) in {one.name for one in await account.mailboxes()}

    @promise
    async def test_an_account_that_many_make_at_once_is_made_once(self, store: IMailStore) -> None:
        accounts = await at_once(store.open_account("crowded", create=True) for _ in range(8))
        boxes = [await account.mailboxes() for account in accounts]
        assert len({box.id for (box,) in boxes}) == 1

    @promise
    async def test_account_names_are_compared_as_they_are_and_are_no_paths(self, store: IMailStore) -> None:
        outside = sorted(path.name for path in self.tmp_path.parent.iterdir())
        names = [*HOSTILE_NAMES, str(self.tmp_path.parent / "outside")]
        for name in names:
            account = await store.open_account(name, create=True)
            assert account.name == name
            assert (await inbox(account)).total == 0, f"{name!r} is taken for another account"
            await add(account, (await inbox(account)).id, name.encode())
        for name in names:
            account = await store.open_account(name)
            (row,) = await messages(account, (await inbox(account)).id)
            assert await read(account, row.blob_id) == name.encode()
        assert sorted(path.name for path in self.tmp_path.parent.iterdir()) == outside

    @promise
    async def test_an_empty_account_name_is_a_name_or_bad_syntax(self, store: IMailStore) -> None:
        try:
            account = await store.open_account("", create=True)
        except BadSyntax:
            with pytest.raises((AccountNotFound, BadSyntax)):
                await store.open_account("")
        else:
            assert account.name == ""
            await add(account, (await inbox(account)).id)
            assert (await inbox(await store.open_account(""))).total == 1

    @promise
    async def test_accounts_do_not_see_each_other(self, store: IMailStore, account: IAccount) -> None:
        other = await store.open_account("bob", create=True)
        before = await snapshot(other)
        theirs = before.mailboxes
        for number in range(3):
            await create(account, f"Box {number}")
        for box in await account.mailboxes():
            await add(account, box.id, times=3)
        assert await snapshot(other) == before
        changes = await other.changes(before.state)
        assert not changes.mailboxes and not changes.messages and changes.until == before.state
        # Ids are unique within an account only: those that both have are no secret.
        for box_id in {box.id for box in await account.mailboxes()} - set(theirs):
            with pytest.raises(MailboxNotFound):
                await other.messages(box_id)
            with pytest.raises(MailboxNotFound):
                await other.changes(0, box_id)
            with pytest.raises(MailboxNotFound):
                await other.apply([Remove(box_id, [1, 2, 3])])
        assert all(box.total == 3 for box in await account.mailboxes())

    @promise
    async def test_each_account_has_its_own_names_roles_and_counters(
        self, store: IMailStore, account: IAccount
    ) -> None:
        other = await store.open_account("bob", create=True)
        for one in (account, other):
            await one.apply([CreateMailbox(("Sent",), "sent")])
            box = await inbox(one)
            await one.apply([Add(box.id, await put_blob(one), 1)])
            assert (await inbox(one)).total == 1
