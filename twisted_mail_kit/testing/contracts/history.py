"""Promises about `changes`: everything is told, in pages that never split a modseq, tombstones too."""

from __future__ import annotations

import pytest

from twisted_mail_kit.errors import MailboxNotFound, StateTooOld
from twisted_mail_kit.interfaces import (
    Add,
    Copied,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    IAccount,
    IMailStore,
    Move,
    Removal,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, promise
from twisted_mail_kit.testing.contracts.steps import (
    NOBODYS_MAILBOX,
    add,
    create,
    history,
    inbox,
    mailbox,
    message,
    messages,
    put_blob,
    snapshot,
    uids_of,
)

SEEN = frozenset({"\\Seen"})
DAY = 24 * 3600


class HistoryPromises(StoreBench):
    """IAccount.changes."""

    @promise
    async def test_where_nothing_changed_nothing_is_told(self, account: IAccount) -> None:
        await add(account, (await inbox(account)).id)
        state = await account.state()
        changes = await account.changes(state)
        assert (changes.since, changes.until, changes.more) == (state, state, False)
        assert not (changes.mailboxes or changes.removed_mailboxes or changes.messages or changes.removed)

    @promise
    async def test_since_the_beginning_everything_is_told(self, account: IAccount) -> None:
        for name in ("a", "b"):
            await add(account, (await create(account, name)).id, times=3)
        now = await snapshot(account)
        told = await history(account, 0)
        assert {box.id: box for box in told.mailboxes} == now.mailboxes
        assert sorted(told.messages) == sorted(row for rows in now.messages.values() for row in rows)
        assert told.until == now.state

    @promise
    async def test_what_came_changed_and_went_is_told(self, account: IAccount) -> None:
        here = await inbox(account)
        quiet = await create(account, "Quiet")
        flagged, removed, moved, still = await add(account, here.id, times=4)
        since = await account.state()
        await account.apply([SetFlags(here.id, [flagged.uid], add=SEEN)])
        removing = await account.apply([Remove(here.id, [removed.uid])])
        new = await create(account, "New")
        moving = await account.apply([Move(here.id, [moved.uid], new.id)])
        (added,) = await add(account, here.id)
        told = await history(account, since)
        assert {box.id: box for box in told.mailboxes} == {
            box.id: box for box in await account.mailboxes() if box.id != quiet.id
        }
        expected = [row for box in (here, new) for row in await messages(account, box.id) if row.uid != still.uid]
        expected = [row for row in expected if row.modseq > since]
        assert sorted(told.messages) == sorted(expected) and len(expected) == 3
        assert {flagged.uid, added.uid} <= {row.uid for row in told.messages if row.mailbox_id == here.id}
        assert told.removed == [
            Removal(here.id, removed.uid, removed.email_id, removing.modseq),
            Removal(here.id, moved.uid, moved.email_id, moving.modseq),
        ]
        assert not told.removed_mailboxes
        assert told.until == await account.state()

    @promise
    async def test_rows_are_told_once_as_they_are_now(self, account: IAccount) -> None:
        box = await inbox(account)
        (added,) = await add(account, box.id)
        for flag in ("a", "b", "c"):
            await account.apply([SetFlags(box.id, [added.uid], add=frozenset({flag}))])
            await account.apply([UpdateMailbox(box.id, subscribed=flag == "b")])
        told = await history(account, 0, limit=1)
        assert told.messages == [await message(account, box.id, added.uid)]
        assert told.mailboxes == [await mailbox(account, box.id)]

    @promise
    async def test_one_that_came_and_went_is_told_as_removed_only(self, account: IAccount) -> None:
        box, since = await inbox(account), await account.state()
        (added,) = await add(account, box.id)
        await account.apply([Remove(box.id, [added.uid])])
        (moved,) = await add(account, box.id)
        await account.apply([Move(box.id, [moved.uid], box.id)])
        told = await history(account, since)
        assert uids_of(told.messages) == uids_of(await messages(account, box.id))
        assert set(uids_of(told.removed)) <= {added.uid, moved.uid}

    @promise
    async def test_a_mailbox_that_went_is_told_by_its_id_alone(self, account: IAccount) -> None:
        box = await create(account, "Going")
        first, _ = await add(account, box.id, times=2)
        since = await account.state()
        await account.apply([SetFlags(box.id, [first.uid], add=SEEN)])
        await account.apply([DeleteMailbox(box.id)])
        told = await history(account, since)
        assert told.removed_mailboxes == [box.id]
        assert not told.messages and not told.removed
        assert box.id not in {one.id for one in told.mailboxes}

    @promise
    async def test_the_changes_of_one_mailbox_are_of_it_alone(self, account: IAccount) -> None:
        here, there, gone = await inbox(account), await create(account, "There"), await create(account, "Gone")
        for box in (here, there):
            await add(account, box.id, times=3)
        since = await account.state()
        for box in (here, there, here, there):
            (added,) = await add(account, box.id)
            first = (await messages(account, box.id))[0]
            await account.apply([SetFlags(box.id, [added.uid], add=SEEN), Remove(box.id, [first.uid])])
        await account.apply([DeleteMailbox(gone.id)])
        everything = await history(account, since)
        for box in (here, there):
            for limit in (1, 2, 1000):
                told = await history(account, since, box.id, limit)
                assert told.mailboxes == [await mailbox(account, box.id)]
                assert told.messages == [row for row in everything.messages if row.mailbox_id == box.id]
                assert told.removed == [row for row in everything.removed if row.mailbox_id == box.id]
                assert len(told.messages) == 2 and len(told.removed) == 2
                assert not told.removed_mailboxes
                again = await account.changes(told.until, box.id)
                assert not (again.mailboxes or again.messages or again.removed or again.more)

    @promise
    async def test_pages_never_split_a_modseq_and_leave_nothing_out(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        blob = await put_blob(account)
        since = await account.state()
        for size in (1, 5, 2, 1, 4):
            await account.apply([Add(box.id, blob, 1) for box in (here, there) for _ in range(size)])
        rows = await messages(account, here.id)
        await account.apply([Remove(here.id, uids_of(rows[1:4]))])
        await account.apply([SetFlags(here.id, uids_of(rows[4:8]), add=SEEN)])
        await account.apply([CreateMailbox((name,)) for name in ("a", "b", "c")])
        await account.apply([Move(here.id, uids_of(rows[9:11]), there.id), Copy(here.id, uids_of(rows[4:6]), there.id)])
        whole = await history(account, since, limit=100_000)
        assert len(whole.pages) == 1
        for limit in (1, 2, 3, 5, 8):
            told = await history(account, since, limit=limit)
            assert told._replace(pages=[], mailboxes=sorted(told.mailboxes)) == whole._replace(
                pages=[], mailboxes=sorted(whole.mailboxes)
            )
            for page in told.pages:
                modseqs = [*(row.modseq for row in page.messages), *(row.modseq for row in page.removed)]
                modseqs += [box.modseq for box in page.mailboxes]
                assert all(page.since < modseq <= page.until for modseq in modseqs)
                before_the_last = [modseq for modseq in modseqs if modseq < page.until]
                assert len(before_the_last) < limit or not page.more, "a page ends as soon as it is full"
            assert len(told.pages) > 2

    @promise
    async def test_more_says_whether_there_is_more(self, account: IAccount) -> None:
        box, since = await inbox(account), await account.state()
        for _ in range(4):
            await add(account, box.id, times=2)
        page = await account.changes(since, limit=1)
        assert page.more and since < page.until < await account.state()
        told = await history(account, since, limit=1)
        assert [one.more for one in told.pages] == [True] * (len(told.pages) - 1) + [False]
        last = await account.changes(told.until)
        assert (last.until, last.more, last.messages) == (told.until, False, ())

    @promise
    async def test_messages_and_removals_are_in_order(self, account: IAccount) -> None:
        boxes = [await inbox(account), await create(account, "b"), await create(account, "a")]
        blob = await put_blob(account)
        since = await account.state()
        await account.apply([Add(box.id, blob, 1) for box in reversed(boxes) for _ in range(3)])
        await account.apply([Add(box.id, blob, 1) for box in boxes for _ in range(3)])
        for box in boxes:
            rows = await messages(account, box.id)
            await account.apply([SetFlags(box.id, uids_of(rows[:2]), add=SEEN)])
        removing = [Remove(box.id, uids_of((await messages(account, box.id))[2:4])) for box in boxes]
        await account.apply(removing)
        told = await account.changes(since)
        for rows_told in (told.messages, told.removed):
            keys = [(row.modseq, row.mailbox_id, row.uid) for row in rows_told]
            assert keys == sorted(keys) and keys

    @promise
    async def test_a_thousand_removals_are_remembered(self, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        await account.apply([Add(box.id, blob, 1) for _ in range(1000)])
        uids = uids_of(await messages(account, box.id))
        since = await account.state()
        for start in range(0, 1000, 250):
            await account.apply([Remove(box.id, uids[start : start + 250])])
        for mailbox_id in (None, box.id):
            told = await history(account, since, mailbox_id, limit=300)
            assert uids_of(told.removed) == uids

    @promise
    async def test_removals_are_remembered_for_a_week(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        added, _ = await add(account, box.id, times=2)
        gone, since = await create(account, "Gone"), await account.state()
        await account.apply([Remove(box.id, [added.uid]), DeleteMailbox(gone.id)])
        for _ in range(6):
            await finished(self.pass_time(store, DAY))
            await add(account, box.id)
        told = await history(account, since)
        assert uids_of(told.removed) == [added.uid] and told.removed_mailboxes == [gone.id]

    @promise
    async def test_what_was_forgotten_is_not_passed_over(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        uids = uids_of(await add(account, box.id, times=100))
        since, gone = await account.state(), list(uids)
        for _ in range(12):  # each leaves 100 removals
            (moved,) = (await account.apply([Move(box.id, uids, box.id)])).results
            assert isinstance(moved, Copied)
            uids = [here for _, here in moved.pairs]
        for _ in range(3):
            await finished(self.pass_time(store, 60 * DAY))
            await add(account, box.id)
        try:
            told = await history(account, since)
        except StateTooOld:
            return
        assert set(gone) <= set(uids_of(told.removed)), "some removals are forgotten, and nobody says so"

    @promise
    async def test_a_state_that_never_was_is_too_old(self, account: IAccount) -> None:
        await add(account, (await inbox(account)).id)
        for since in (await account.state() + 1, 2**62, -1):
            with pytest.raises(StateTooOld):
                await account.changes(since)

    @promise
    async def test_the_changes_of_no_mailbox_are_not_found(self, account: IAccount) -> None:
        with pytest.raises(MailboxNotFound):
            await account.changes(0, NOBODYS_MAILBOX)
