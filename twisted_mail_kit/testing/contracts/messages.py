"""Promises about messages: added, copied, moved, flagged, removed, and told in pages."""

from __future__ import annotations

import re

import pytest

from twisted_mail_kit.errors import MailboxNotFound
from twisted_mail_kit.interfaces import (
    Add,
    Added,
    Copied,
    Copy,
    DeleteMailbox,
    FlagsSet,
    IAccount,
    IMailStore,
    Message,
    Move,
    Remove,
    Removed,
    SetFlags,
)
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, promise
from twisted_mail_kit.testing.contracts.steps import (
    LETTER,
    NOBODYS_MAILBOX,
    add,
    create,
    inbox,
    mailbox,
    message,
    messages,
    put_blob,
    read,
    snapshot,
    uids_of,
)

EVERY_OCTET = bytes(range(256))
SEEN = frozenset({"\\Seen"})


class MessagePromises(StoreBench):
    """Add, Copy, Move, SetFlags, Remove, and IAccount.messages."""

    @promise
    async def test_an_added_message_is_told_as_it_was_given(self, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        flags = frozenset({"\\Answered", "\\Draft", "$Forwarded", "NonJunk"})
        applied = await account.apply([Add(box.id, blob, 1234567890, EVERY_OCTET * 4, flags, "thread-1")])
        (added,) = applied.results
        assert isinstance(added, Added)
        assert (added.mailbox_id, added.uidvalidity) == (box.id, box.uidvalidity)
        (row,) = await messages(account, box.id)
        assert isinstance(row, Message)
        assert row == Message(
            box.id, added.uid, added.email_id, "thread-1", row.blob_id, len(LETTER), 1234567890, row.saved_date, flags,
            applied.modseq, applied.modseq, EVERY_OCTET * 4,
        )  # fmt: skip
        assert await read(account, row.blob_id) == LETTER
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", row.email_id)

    @promise
    async def test_dates_and_summaries_of_any_size_are_kept(self, account: IAccount) -> None:
        box = await inbox(account)
        for internal_date, summary in ((0, b""), (1, b"\0"), (2**31, b"x" * 4096), (2**33, EVERY_OCTET)):
            (added,) = await add(account, box.id, internal_date=internal_date, summary=summary)
            row = await message(account, box.id, added.uid)
            assert (row.internal_date, row.summary, row.flags) == (internal_date, summary, frozenset())

    @promise
    async def test_a_message_without_a_thread_begins_one_of_its_own(self, account: IAccount) -> None:
        box = await inbox(account)
        await add(account, box.id, times=3)
        threads = {row.thread_id for row in await messages(account, box.id)}
        assert len(threads) == 3 and all(threads)

    @promise
    async def test_one_blob_can_be_added_twice_as_two_messages(self, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        await account.apply([Add(box.id, blob, 1), Add(box.id, blob, 2)])
        one, two = await messages(account, box.id)
        assert one.email_id != two.email_id
        await account.apply([Remove(box.id, [one.uid])])
        assert await read(account, two.blob_id) == LETTER

    @promise
    async def test_uids_ascend_and_stay_below_uidnext(self, account: IAccount) -> None:
        box = await inbox(account)
        given = uids_of(await add(account, box.id, times=3) + await add(account, box.id, times=2))
        assert given == sorted(set(given))
        assert given[0] >= 1 and given[-1] < (await mailbox(account, box.id)).uidnext
        assert uids_of(await messages(account, box.id)) == given

    @promise
    async def test_a_uid_is_never_used_twice(self, account: IAccount) -> None:
        box, there = await inbox(account), await create(account, "There")
        given: list[int] = []
        for take_away in (
            lambda uid: Remove(box.id, [uid]),
            lambda uid: Move(box.id, [uid], there.id),
            lambda uid: Move(box.id, [uid], box.id),
            lambda uid: Remove(box.id, range(1, uid + 100)),
            lambda uid: Remove(box.id, range(1, uid + 100)),
        ):
            (added,) = await add(account, box.id)
            given.append(added.uid)
            before = (await mailbox(account, box.id)).uidnext
            await account.apply([take_away(added.uid)])
            assert (await mailbox(account, box.id)).uidnext >= before
        (added,) = await add(account, box.id)
        blob = await put_blob(account)
        uidnext = (await mailbox(account, box.id)).uidnext
        await account.apply([Add(box.id, blob, 1), Remove(box.id, range(uidnext, uidnext + 100))])
        (last,) = await add(account, box.id)
        given += [added.uid, last.uid]
        assert given == sorted(set(given))
        assert last.uid > uidnext, "the one that came and went within one apply was given out too"

    @promise
    async def test_an_email_id_is_never_used_for_another_message(self, account: IAccount) -> None:
        box = await create(account, "Box")
        first = {added.email_id for added in await add(account, box.id, times=2)}
        await account.apply([Remove(box.id, range(1, 100))])
        second = {added.email_id for added in await add(account, box.id, times=2)}
        await account.apply([DeleteMailbox(box.id)])
        third = {added.email_id for added in await add(account, (await inbox(account)).id, times=2)}
        assert len(first | second | third) == 6

    # --- messages() --------------------------------------------------------------------------------------------------

    @promise
    async def test_messages_come_in_pages_ascending_by_uid(self, account: IAccount) -> None:
        box = await inbox(account)
        given = uids_of(await add(account, box.id, times=7))
        await account.apply([SetFlags(box.id, given[::2], add=SEEN), Remove(box.id, [given[3]])])
        del given[3]
        for page in (1, 2, 3, 6, 7):
            assert uids_of(await messages(account, box.id, page)) == given
        assert uids_of(await account.messages(box.id, after=given[2])) == given[3:]
        assert uids_of(await account.messages(box.id, after=given[2] - 1, limit=2)) == given[2:4]
        assert not await account.messages(box.id, after=given[-1])
        assert not await account.messages(box.id, after=2**32)

    @promise
    async def test_messages_are_found_by_their_uids(self, account: IAccount) -> None:
        box = await inbox(account)
        given = uids_of(await add(account, box.id, times=6))
        await account.apply([Remove(box.id, [given[1]])])
        there = [given[0], *given[2:]]
        for asked in ([*given, given[-1] + 1, 4_000_000_000], tuple(given), range(1, given[-1] + 1)):
            assert uids_of(await account.messages(box.id, asked)) == there
        assert uids_of(await account.messages(box.id, [given[1], given[4]])) == [given[4]]
        assert uids_of(await account.messages(box.id, given, limit=2)) == there[:2]
        assert uids_of(await account.messages(box.id, given, after=there[1], limit=2)) == there[2:4]
        assert not await account.messages(box.id, [])
        assert not await account.messages(box.id, [given[1]])
        assert not await account.messages(box.id, given, after=given[-1])

    @promise
    async def test_thousands_of_uids_can_be_asked_for_at_once(self, account: IAccount) -> None:
        box = await inbox(account)
        blob = await put_blob(account)
        applied = await account.apply([Add(box.id, blob, 1)] * 2500)
        given = [added.uid for added in applied.results if isinstance(added, Added)]
        assert uids_of(await account.messages(box.id, given, limit=5000)) == given
        assert uids_of(await messages(account, box.id)) == given
        flagged = (await account.apply([SetFlags(box.id, given, add=SEEN)])).results
        assert flagged == (FlagsSet(tuple(given), ()),)
        assert (await account.apply([Remove(box.id, given)])).results == (Removed(tuple(given)),)
        assert (await inbox(account)).total == 0

    @promise
    async def test_messages_of_no_mailbox_are_not_found(self, account: IAccount) -> None:
        for uids in (None, [], [1]):
            with pytest.raises(MailboxNotFound):
                await account.messages(NOBODYS_MAILBOX, uids)

    # --- flags -------------------------------------------------------------------------------------------------------

    @promise
    async def test_flags_are_added_removed_and_replaced(self, account: IAccount) -> None:
        box = await inbox(account)
        (added,) = await add(account, box.id, flags=frozenset({"\\Flagged", "a"}))
        for op, expected in (
            ({"add": frozenset({"\\Seen", "a"})}, {"\\Flagged", "a", "\\Seen"}),
            ({"remove": frozenset({"a", "b"})}, {"\\Flagged", "\\Seen"}),
            ({"add": frozenset({"b"}), "remove": frozenset({"\\Seen"})}, {"\\Flagged", "b"}),
            ({"replace": frozenset({"\\Deleted", "$c"})}, {"\\Deleted", "$c"}),
            ({"add": frozenset({"x"}), "replace": frozenset({"y"})}, {"y"}),
            ({"replace": frozenset()}, set()),
        ):
            applied = await account.apply([SetFlags(box.id, [added.uid], **op)])
            assert applied.results == (FlagsSet((added.uid,), ()),)
            row = await message(account, box.id, added.uid)
            assert set(row.flags) == expected and row.modseq == applied.modseq
            assert isinstance(row.flags, frozenset)

    @promise
    async def test_a_message_whose_flags_are_already_so_keeps_its_modseq(self, account: IAccount) -> None:
        box = await inbox(account)
        plain, flagged = uids_of(await add(account, box.id) + await add(account, box.id, flags=SEEN))
        before = await message(account, box.id, flagged)
        applied = await account.apply([SetFlags(box.id, [plain, flagged], add=SEEN)])
        assert applied.results == (FlagsSet((plain,), ()),)
        assert await message(account, box.id, flagged) == before
        state = await snapshot(account)
        for more in ({"add": SEEN}, {"remove": frozenset({"x"})}, {"replace": SEEN}, {}):
            applied = await account.apply([SetFlags(box.id, [plain, flagged], **more)])  # type: ignore[arg-type]
            assert (applied.modseq, applied.results) == (state.state, (FlagsSet((), ()),))
        assert await snapshot(account) == state

    @promise
    async def test_flags_of_messages_changed_since_are_left_alone_and_answered(self, account: IAccount) -> None:
        box = await inbox(account)
        one, two, three, four = uids_of(await add(account, box.id, times=4))
        since = await account.state()
        await account.apply([SetFlags(box.id, [two, four], add=frozenset({"x"}))])
        op = SetFlags(box.id, [one, two, three, four, four + 1], add=SEEN, unchanged_since=since)
        applied = await account.apply([op])
        assert applied.results == (FlagsSet((one, three), (two, four)),)
        flags = [row.flags for row in await messages(account, box.id)]
        assert flags == [SEEN, {"x"}, SEEN, {"x"}]
        state = await account.state()
        assert (await account.apply([op])).results == (FlagsSet((), (one, two, three, four)),)
        assert await account.state() == state
        now = SetFlags(box.id, [one], remove=SEEN, unchanged_since=state)
        assert (await account.apply([now])).results == (FlagsSet((one,), ()),)

    @promise
    async def test_setting_flags_touches_nothing_else(self, account: IAccount) -> None:
        box = await inbox(account)
        await add(account, box.id, times=3, summary=b"summary", internal_date=5, thread_id="t")
        before = await messages(account, box.id)
        applied = await account.apply([SetFlags(box.id, [before[1].uid], add=SEEN)])
        changed = before[1]._replace(flags=SEEN, modseq=applied.modseq)
        assert await messages(account, box.id) == [before[0], changed, before[2]]

    # --- copies ------------------------------------------------------------------------------------------------------

    @promise
    async def test_copies_are_as_their_originals_but_for_the_place(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        await add(account, there.id)
        await add(account, here.id, flags=frozenset({"\\Seen", "a"}), internal_date=77, summary=b"s", thread_id="t")
        await add(account, here.id, b"another", times=2)
        originals = await messages(account, here.id)
        uids = uids_of(originals)
        applied = await account.apply([Copy(here.id, [uids[0], uids[2], uids[2] + 5], there.id)])
        (copied,) = applied.results
        assert isinstance(copied, Copied)
        assert (copied.mailbox_id, copied.uidvalidity) == (there.id, there.uidvalidity)
        assert [pair[0] for pair in copied.pairs] == [uids[0], uids[2]]
        _, *copies = await messages(account, there.id)
        assert uids_of(copies) == [pair[1] for pair in copied.pairs] == sorted(uids_of(copies))
        for original, copy in zip((originals[0], originals[2]), copies, strict=True):
            assert copy == original._replace(
                mailbox_id=there.id, uid=copy.uid, blob_id=copy.blob_id, saved_date=copy.saved_date,
                modseq=applied.modseq, created=applied.modseq,
            )  # fmt: skip
            assert await read(account, copy.blob_id) == await read(account, original.blob_id)
        assert await messages(account, here.id) == originals

    @promise
    async def test_when_a_message_came_into_its_mailbox_is_told(self, store: IMailStore, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        (added,) = await add(account, here.id)
        await finished(self.pass_time(store, 1000))
        await account.apply([SetFlags(here.id, [added.uid], add=SEEN)])
        await account.apply([Copy(here.id, [added.uid], there.id)])
        (original,), (copy,) = await messages(account, here.id), await messages(account, there.id)
        assert 900 <= copy.saved_date - original.saved_date <= 1100
        assert copy.internal_date == original.internal_date == 1

    @promise
    async def test_moved_messages_are_there_and_no_longer_here(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        await add(account, here.id, flags=frozenset({"a"}), internal_date=77, summary=b"s", thread_id="t")
        await add(account, here.id, b"another", times=2)
        one, two, three = await messages(account, here.id)
        applied = await account.apply([Move(here.id, [one.uid, three.uid, three.uid + 1], there.id)])
        (moved,) = applied.results
        assert isinstance(moved, Copied)
        assert [pair[0] for pair in moved.pairs] == [one.uid, three.uid]
        assert await messages(account, here.id) == [two]
        rows = await messages(account, there.id)
        assert uids_of(rows) == [pair[1] for pair in moved.pairs]
        for original, row in zip((one, three), rows, strict=True):
            assert row == original._replace(
                mailbox_id=there.id, uid=row.uid, blob_id=row.blob_id, saved_date=row.saved_date,
                modseq=applied.modseq, created=applied.modseq,
            )  # fmt: skip
            assert len(await read(account, row.blob_id)) == row.size

    @promise
    async def test_copying_within_one_mailbox_doubles_and_moving_renumbers(self, account: IAccount) -> None:
        box = await inbox(account)
        one, two = await add(account, box.id, times=2)
        (copied,) = (await account.apply([Copy(box.id, [one.uid, two.uid], box.id)])).results
        assert isinstance(copied, Copied)
        assert uids_of(await messages(account, box.id)) == [one.uid, two.uid, *(uid for _, uid in copied.pairs)]
        (moved,) = (await account.apply([Move(box.id, [one.uid, two.uid], box.id)])).results
        assert isinstance(moved, Copied)
        rows = await messages(account, box.id)
        assert uids_of(rows) == [uid for _, uid in copied.pairs + moved.pairs]
        assert [row.email_id for row in rows] == [one.email_id, two.email_id] * 2
        assert (await inbox(account)).total == 4

    @promise
    async def test_what_is_not_there_is_passed_over_and_is_no_change(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        (added,) = await add(account, here.id)
        await account.apply([Remove(here.id, [added.uid])])
        before = await snapshot(account)
        for uids in ([], [added.uid], [added.uid, 10**9], range(1, 50)):
            applied = await account.apply(
                [
                    Copy(here.id, uids, there.id),
                    Move(here.id, uids, there.id),
                    Move(here.id, uids, here.id),
                    SetFlags(here.id, uids, add=SEEN),
                    SetFlags(here.id, uids, replace=SEEN, unchanged_since=0),
                    Remove(here.id, uids),
                ]
            )
            assert applied.modseq == before.state
            assert applied.results == (
                Copied(there.id, there.uidvalidity, ()),
                Copied(there.id, there.uidvalidity, ()),
                Copied(here.id, here.uidvalidity, ()),
                FlagsSet((), ()),
                FlagsSet((), ()),
                Removed(()),
            )
        assert await snapshot(account) == before

    @promise
    async def test_removed_messages_are_answered_once(self, account: IAccount) -> None:
        box = await inbox(account)
        one, two, three = uids_of(await add(account, box.id, times=3))
        assert (await account.apply([Remove(box.id, [one, three, three + 1])])).results == (Removed((one, three)),)
        assert (await account.apply([Remove(box.id, range(1, three + 1))])).results == (Removed((two,)),)
        assert not await messages(account, box.id)
