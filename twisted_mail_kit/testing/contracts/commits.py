"""Promises about `apply`: all or nothing, one modseq, `if_state`, tokens."""

from __future__ import annotations

import pytest

from twisted_mail_kit.errors import BlobNotFound, Forbidden, MailboxExists, MailboxNotFound, StateMismatch
from twisted_mail_kit.interfaces import (
    Add,
    Added,
    Applied,
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
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, promise
from twisted_mail_kit.testing.contracts.steps import (
    NOBODYS_BLOB,
    NOBODYS_MAILBOX,
    add,
    create,
    history,
    inbox,
    messages,
    put_blob,
    snapshot,
)

DAY = 24 * 3600


class CommitPromises(StoreBench):
    """IAccount.apply and IAccount.state."""

    @promise
    async def test_the_state_grows_with_each_commit_and_is_its_modseq(self, account: IAccount) -> None:
        box = await inbox(account)
        states = [await account.state()]
        assert states[0] >= 0
        for op in (
            CreateMailbox(("New",)),
            Add(box.id, await put_blob(account), 1),
            UpdateMailbox(box.id, subscribed=not box.subscribed),
        ):
            applied = await account.apply([op])
            assert applied.modseq == await account.state() > states[-1]
            assert applied.replayed is False
            states.append(applied.modseq)

    @promise
    async def test_one_apply_is_one_modseq(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        old, gone = await add(account, here.id, times=2)
        before = await account.state()
        applied = await account.apply(
            [
                Add(here.id, await put_blob(account), 1),
                SetFlags(here.id, [old.uid], add=frozenset({"x"})),
                Move(here.id, [gone.uid], there.id),
                CreateMailbox(("New",)),
            ]
        )
        told = await history(account, before)
        assert len(told.messages) == 3 and len(told.removed) == 1 and len(told.mailboxes) == 3
        assert {row.modseq for row in told.messages} == {applied.modseq}
        assert {row.modseq for row in told.removed} == {box.modseq for box in told.mailboxes} == {applied.modseq}

    @promise
    async def test_no_operations_are_no_change(self, account: IAccount) -> None:
        before = await snapshot(account)
        assert await account.apply([]) == Applied(before.state, ())
        assert await snapshot(account) == before

    @promise
    async def test_an_apply_that_fails_leaves_nothing_behind(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There", role="archive")
        gone = await create(account, "Gone")
        uids = [added.uid for added in await add(account, here.id, times=4)]
        await add(account, gone.id)
        blob = await put_blob(account)
        before = await snapshot(account)
        good: list[Operation] = [
            CreateMailbox(("New",), "sent"),
            UpdateMailbox(there.id, name=("Elsewhere",), role=None, subscribed=False),
            DeleteMailbox(gone.id),
            Add(here.id, blob, 1),
            Add("#0", blob, 1),
            Copy(here.id, uids[:1], there.id),
            Move(here.id, uids[1:2], there.id),
            Move(here.id, uids[1:2], "#0"),
            SetFlags(here.id, uids[2:3], add=frozenset({"x"})),
            Remove(here.id, uids[3:4]),
        ]
        bad: list[tuple[Operation, type[Exception]]] = [
            (Add(here.id, NOBODYS_BLOB, 1), BlobNotFound),
            (Remove(NOBODYS_MAILBOX, [1]), MailboxNotFound),
            (Remove(gone.id, [1]), MailboxNotFound),
            (CreateMailbox(("New",)), MailboxExists),
            (DeleteMailbox(here.id), Forbidden),
        ]
        for op, error in bad:
            with pytest.raises(error):
                await account.apply([*good, op])
            assert await snapshot(account) == before
            changes = await account.changes(before.state)
            assert changes.until == before.state
            assert not (changes.mailboxes or changes.messages or changes.removed or changes.removed_mailboxes)
        applied = await account.apply(good)
        assert applied.modseq > before.state and len(applied.results) == len(good)

    @promise
    async def test_one_that_comes_too_late_for_its_state_does_nothing(self, account: IAccount) -> None:
        box, state = await inbox(account), await account.state()
        op = Add(box.id, await put_blob(account), 1)
        applied = await account.apply([op], if_state=state)
        before = await snapshot(account)
        for wrong in (state, applied.modseq + 1, 0):
            with pytest.raises(StateMismatch):
                await account.apply([op], if_state=wrong)
            with pytest.raises(StateMismatch):
                await account.apply([], if_state=wrong)
        assert await snapshot(account) == before
        await account.apply([op], if_state=applied.modseq)

    @promise
    async def test_a_token_does_its_work_once_and_answers_the_same_again(self, account: IAccount) -> None:
        box, there = await inbox(account), await create(account, "There")
        (old,) = await add(account, box.id)
        ops: list[Operation] = [
            Add(box.id, await put_blob(account), 1),
            CreateMailbox(("New",)),
            Copy(box.id, [old.uid], there.id),
            SetFlags(box.id, [old.uid], add=frozenset({"x"})),
            Remove(box.id, [old.uid]),
            DeleteMailbox(there.id),
        ]
        first = await account.apply(ops, token="delivery 1")
        assert not first.replayed
        before = await snapshot(account)
        for again in (ops, [], [CreateMailbox(("Other",))], [Remove(NOBODYS_MAILBOX, [1])]):
            assert await account.apply(again, token="delivery 1") == first._replace(replayed=True)
        assert await snapshot(account) == before
        await add(account, box.id)
        assert await account.apply(ops, token="delivery 1") == first._replace(replayed=True)
        assert await account.apply(ops, if_state=0, token="delivery 1") == first._replace(replayed=True)

    @promise
    async def test_other_tokens_are_other_work(self, account: IAccount) -> None:
        box = await inbox(account)
        tokens = ["a", "A", "", "a ", "\u00e9", "x" * 300, "a'b", "../a", None, None]
        for token in tokens:
            applied = await account.apply([Add(box.id, await put_blob(account), 1)], token=token)
            assert not applied.replayed
        assert (await inbox(account)).total == len(tokens)

    @promise
    async def test_a_token_of_one_account_means_nothing_in_another(self, store: IMailStore, account: IAccount) -> None:
        other = await store.open_account("bob", create=True)
        for one in (account, other):
            box = await inbox(one)
            applied = await one.apply([Add(box.id, await put_blob(one), 1)], token="delivery 1")
            assert not applied.replayed
            assert (await inbox(one)).total == 1

    @promise
    async def test_a_token_of_an_apply_that_failed_is_not_used_up(self, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        with pytest.raises(MailboxNotFound):
            await account.apply([Add(box.id, blob, 1), Remove(NOBODYS_MAILBOX, [1])], token="t")
        with pytest.raises(StateMismatch):
            await account.apply([Add(box.id, blob, 1)], if_state=await account.state() + 1, token="t")
        assert not (await account.apply([Add(box.id, blob, 1)], token="t")).replayed
        assert (await inbox(account)).total == 1

    @promise
    async def test_a_token_of_an_apply_that_changed_nothing_is_known_too(self, account: IAccount) -> None:
        box = await inbox(account)
        first = await account.apply([Remove(box.id, [1])], token="t")
        (added,) = await add(account, box.id)
        assert await account.apply([Remove(box.id, [added.uid])], token="t") == first._replace(replayed=True)
        assert (await inbox(account)).total == 1

    @promise
    async def test_a_token_is_known_for_seven_days(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        blob = await put_blob(account)
        first = await account.apply([Add(box.id, blob, 1)], token="t")
        for _ in range(6):
            await finished(self.pass_time(store, DAY))
            await add(account, box.id)
        await finished(self.pass_time(store, DAY - 3600))
        assert await account.apply([Add(box.id, blob, 1)], token="t") == first._replace(replayed=True)

    @promise
    async def test_a_big_apply_is_one_apply_too(self, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        applied = await account.apply([Add(box.id, blob, 1, b"%d" % number) for number in range(1500)])
        assert all(isinstance(added, Added) for added in applied.results)
        rows = await messages(account, box.id)
        assert [row.summary for row in rows] == [b"%d" % number for number in range(1500)]
        assert {row.modseq for row in rows} == {applied.modseq}
