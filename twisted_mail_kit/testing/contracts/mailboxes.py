"""Promises about mailboxes: made, renamed, deleted, counted."""

from __future__ import annotations

import re

import pytest

from twisted_mail_kit.errors import Forbidden, MailboxExists, MailboxNotFound
from twisted_mail_kit.interfaces import (
    Add,
    Copied,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    FlagsSet,
    IAccount,
    Mailbox,
    Move,
    Operation,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.testing.contracts.accounts import HOSTILE_NAMES
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise
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
    snapshot,
)

ROLES = ("drafts", "sent", "trash", "junk", "archive", "all", "flagged", "important")
"""RFC 8621 section 2, without the inbox's."""


class MailboxPromises(StoreBench):
    """CreateMailbox, UpdateMailbox, DeleteMailbox, and the counts in a Mailbox."""

    @promise
    async def test_create_answers_the_new_mailbox(self, account: IAccount) -> None:
        applied = await account.apply([CreateMailbox(("Archive", "2026"), "archive", subscribed=False)])
        (box,) = applied.results
        assert isinstance(box, Mailbox)
        assert box == await mailbox(account, box.id)
        assert (box.name, box.role, box.subscribed) == (("Archive", "2026"), "archive", False)
        assert (box.total, box.unseen, box.size, box.modseq) == (0, 0, 0, applied.modseq)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", box.id)
        assert 1 <= box.uidvalidity < 2**32
        assert (await create(account, "Plain")).subscribed

    @promise
    async def test_every_role_can_be_given(self, account: IAccount) -> None:
        for role in ROLES:
            assert (await create(account, f"My {role}", role=role)).role == role
        assert {box.role for box in await account.mailboxes()} == {"inbox", *ROLES}

    @promise
    async def test_parents_need_not_exist(self, account: IAccount) -> None:
        await create(account, "a", "b", "c")
        assert {box.name for box in await account.mailboxes()} == {("INBOX",), ("a", "b", "c")}

    @promise
    async def test_a_name_or_role_that_is_taken_is_refused_and_changes_nothing(self, account: IAccount) -> None:
        sent = await create(account, "Sent", role="sent")
        other = await create(account, "Other")
        before = await snapshot(account)
        for op in (
            CreateMailbox(("Sent",)),
            CreateMailbox(("INBOX",)),
            CreateMailbox(("Sent 2",), "sent"),
            CreateMailbox(("Inbox 2",), "inbox"),
            UpdateMailbox(other.id, name=("Sent",)),
            UpdateMailbox(other.id, role="sent"),
            UpdateMailbox(sent.id, name=("Other",), role=None),
        ):
            with pytest.raises(MailboxExists):
                await account.apply([op])
            assert await snapshot(account) == before

    @promise
    async def test_mailbox_names_are_kept_as_they_are(self, account: IAccount) -> None:
        names = [(name,) for name in HOSTILE_NAMES] + [("a", "b"), ("a", "b/c"), ("", "x"), ("inbox", "INBOX")]
        for name in names:
            await create(account, *name)
        assert sorted(box.name for box in await account.mailboxes()) == sorted([*names, ("INBOX",)])

    @promise
    async def test_a_renamed_mailbox_keeps_its_id_uidvalidity_and_messages(self, account: IAccount) -> None:
        box = await create(account, "Old")
        below = await create(account, "Old", "below")
        await add(account, box.id, times=2)
        rows = await messages(account, box.id)
        before = await mailbox(account, box.id)
        applied = await account.apply([UpdateMailbox(box.id, name=("New",))])
        assert applied.results == (before._replace(name=("New",), modseq=applied.modseq),)
        assert await mailbox(account, box.id) == applied.results[0]
        assert await messages(account, box.id) == rows
        assert await mailbox(account, below.id) == below, "what is below keeps its own name"

    @promise
    async def test_update_leaves_alone_what_is_unset(self, account: IAccount) -> None:
        box = await create(account, "Junk", role="junk")
        (now,) = (await account.apply([UpdateMailbox(box.id, subscribed=False)])).results
        assert isinstance(now, Mailbox)
        assert (now.name, now.role, now.subscribed) == (("Junk",), "junk", False)
        (now,) = (await account.apply([UpdateMailbox(box.id, role=None)])).results
        assert isinstance(now, Mailbox)
        assert (now.name, now.role, now.subscribed) == (("Junk",), None, False)

    @promise
    async def test_an_update_that_changes_nothing_has_no_modseq(self, account: IAccount) -> None:
        box = await create(account, "Junk", role="junk")
        before = await snapshot(account)
        for op in (UpdateMailbox(box.id), UpdateMailbox(box.id, ("Junk",), "junk", True)):
            applied = await account.apply([op])
            assert (applied.modseq, applied.results) == (before.state, (box,))
        assert await snapshot(account) == before

    @promise
    async def test_a_name_and_role_that_were_given_up_can_be_taken(self, account: IAccount) -> None:
        box = await create(account, "Sent", role="sent")
        new = CreateMailbox(("Sent",), "sent")
        await account.apply([UpdateMailbox(box.id, name=("Sent (old)",), role=None), new])
        assert {(box.name, box.role) for box in await account.mailboxes()} == {
            (("INBOX",), "inbox"),
            (("Sent (old)",), None),
            (("Sent",), "sent"),
        }

    @promise
    async def test_a_deleted_mailbox_and_its_messages_are_gone_and_those_below_stay(self, account: IAccount) -> None:
        box, below = await create(account, "a"), await create(account, "a", "b")
        await add(account, box.id, times=2)
        await add(account, below.id)
        assert (await account.apply([DeleteMailbox(box.id)])).results == (None,)
        assert {box.name for box in await account.mailboxes()} == {("INBOX",), ("a", "b")}
        assert len(await messages(account, below.id)) == 1
        with pytest.raises(MailboxNotFound):
            await account.messages(box.id)
        with pytest.raises(MailboxNotFound):
            await account.messages(box.id, [1])
        with pytest.raises(MailboxNotFound):
            await account.changes(0, box.id)

    @promise
    async def test_the_inbox_cannot_be_deleted(self, account: IAccount) -> None:
        await add(account, (await inbox(account)).id)
        before = await snapshot(account)
        with pytest.raises(Forbidden):
            await account.apply([DeleteMailbox((await inbox(account)).id)])
        assert await snapshot(account) == before

    @promise
    async def test_a_name_made_again_gets_another_id_and_uidvalidity_each_time(self, account: IAccount) -> None:
        made: list[Mailbox] = []
        for _ in range(4):
            made.append(await create(account, "Again"))
            await account.apply([DeleteMailbox(made[-1].id)])
        applied = await account.apply([CreateMailbox(("Again",)), DeleteMailbox("#0"), CreateMailbox(("Again",))])
        made.extend(box for box in applied.results if isinstance(box, Mailbox))
        assert len({box.id for box in made}) == 6
        assert len({box.uidvalidity for box in made}) == 6

    @promise
    async def test_no_operation_finds_a_mailbox_that_is_not_there(self, account: IAccount) -> None:
        here, blob = (await inbox(account)).id, await put_blob(account)
        await add(account, here)
        deleted = await create(account, "Deleted")
        await account.apply([DeleteMailbox(deleted.id)])
        before = await snapshot(account)
        for box_id in (NOBODYS_MAILBOX, deleted.id, "", "#0", "#1", "#-1", "#x", "../x"):
            for op in (
                UpdateMailbox(box_id, subscribed=False),
                DeleteMailbox(box_id),
                Add(box_id, blob, 1),
                Copy(box_id, [1], here),
                Copy(here, [1], box_id),
                Move(box_id, [1], here),
                Move(here, [1], box_id),
                SetFlags(box_id, [1], add=frozenset({"\\Seen"})),
                Remove(box_id, [1]),
            ):
                with pytest.raises(MailboxNotFound):
                    await account.apply([op])
            with pytest.raises(MailboxNotFound):
                await account.messages(box_id)
            with pytest.raises(MailboxNotFound):
                await account.changes(0, box_id)
        assert await snapshot(account) == before

    @promise
    async def test_a_number_names_the_mailbox_that_an_operation_of_the_same_apply_makes(
        self, account: IAccount
    ) -> None:
        here, blob = await inbox(account), await put_blob(account)
        (first,) = await add(account, here.id)
        applied = await account.apply(
            [
                SetFlags(here.id, [first.uid], add=frozenset({"\\Flagged"})),
                CreateMailbox(("New",)),
                Move(here.id, [first.uid], "#1"),
                CreateMailbox(("Newer",)),
                Add("#3", blob, 7),
                UpdateMailbox("#3", name=("Newest",)),
            ]
        )
        _, new, moved, newer, added, newest = applied.results
        assert isinstance(new, Mailbox) and isinstance(newer, Mailbox) and isinstance(newest, Mailbox)
        assert isinstance(moved, Copied) and moved.mailbox_id == new.id
        assert added is not None and added[0] == newer.id
        assert (newest.id, newest.name) == (newer.id, ("Newest",))
        assert [len(await messages(account, box_id)) for box_id in (here.id, new.id, newer.id)] == [0, 1, 1]

    @promise
    async def test_only_the_number_of_a_create_names_a_mailbox(self, account: IAccount) -> None:
        before = await snapshot(account)
        here = (await inbox(account)).id
        wrong: list[list[Operation]] = [
            [Add("#1", await put_blob(account), 1), CreateMailbox(("Later",))],
            [UpdateMailbox(here, subscribed=False), DeleteMailbox("#0")],
            [CreateMailbox(("One",)), Remove("#1", [1])],
        ]
        for ops in wrong:
            with pytest.raises(MailboxNotFound):
                await account.apply(ops)
        assert await snapshot(account) == before

    @promise
    async def test_a_mailbox_counts_its_messages_octets_and_what_is_unseen(self, account: IAccount) -> None:
        here, there = (await inbox(account)).id, (await create(account, "There")).id
        size = len(LETTER)

        async def counts(box_id: str) -> tuple[int, int, int]:
            box = await mailbox(account, box_id)
            rows = await messages(account, box_id)
            assert all(row.uid < box.uidnext for row in rows)
            return box.total, box.unseen, box.size

        first = await add(account, here, times=3)
        (seen,) = await add(account, here, flags=frozenset({"\\Seen", "\\Flagged"}))
        assert await counts(here) == (4, 3, 4 * size)
        await account.apply([SetFlags(here, [first[0].uid], add=frozenset({"\\Seen"}))])
        await account.apply([SetFlags(here, [seen.uid], remove=frozenset({"\\Seen"}))])
        await account.apply([SetFlags(here, [first[0].uid], add=frozenset({"\\Flagged"}))])
        assert await counts(here) == (4, 3, 4 * size)
        await account.apply([SetFlags(here, [first[1].uid], replace=frozenset({"\\Seen"}))])
        assert await counts(here) == (4, 2, 4 * size)
        await account.apply([Copy(here, [first[0].uid, first[2].uid], there)])
        assert (await counts(here), await counts(there)) == ((4, 2, 4 * size), (2, 1, 2 * size))
        await account.apply([Move(here, [first[1].uid, first[2].uid], there)])
        assert (await counts(here), await counts(there)) == ((2, 1, 2 * size), (4, 2, 4 * size))
        await account.apply([Remove(here, [first[0].uid, seen.uid])])
        assert (await counts(here), await counts(there)) == ((0, 0, 0), (4, 2, 4 * size))

    @promise
    async def test_a_mailboxs_modseq_is_that_of_the_last_change_in_it_removals_too(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        (added,) = await add(account, here.id)
        ops: list[Operation] = [
            SetFlags(here.id, [added.uid], add=frozenset({"x"})),
            UpdateMailbox(here.id, subscribed=not here.subscribed),
            Copy(here.id, [added.uid], here.id),
            Remove(here.id, [added.uid]),
        ]
        for op in ops:
            applied = await account.apply([op])
            assert (await mailbox(account, here.id)).modseq == applied.modseq == await account.state()
        assert await mailbox(account, there.id) == there
        (copy,) = await messages(account, here.id)
        applied = await account.apply([Copy(here.id, [copy.uid], there.id)])
        assert (await mailbox(account, here.id)).modseq < applied.modseq == (await mailbox(account, there.id)).modseq
        applied = await account.apply([Move(here.id, [copy.uid], there.id)])
        assert {box.modseq for box in await account.mailboxes()} == {applied.modseq}

    @promise
    async def test_messages_follow_operations_on_what_was_made_before_in_the_same_apply(
        self, account: IAccount
    ) -> None:
        here = await inbox(account)
        (old,) = await add(account, here.id)
        applied = await account.apply(
            [
                Copy(here.id, [old.uid], here.id),
                SetFlags(here.id, [old.uid], add=frozenset({"old"})),
                Remove(here.id, [old.uid]),
                SetFlags(here.id, [old.uid], add=frozenset({"older"})),
            ]
        )
        copied, flagged, _, missed = applied.results
        assert isinstance(copied, Copied) and isinstance(flagged, FlagsSet)
        assert flagged.changed == (old.uid,)
        assert missed == FlagsSet((), ())
        (row,) = await messages(account, here.id)
        assert (row.uid, row.flags) == (copied.pairs[0][1], frozenset())
        assert (await message(account, here.id, row.uid)).created == applied.modseq
