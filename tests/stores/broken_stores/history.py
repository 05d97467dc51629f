"""Stores that are broken in `changes`: what is told, what is not, and in what pages."""

from __future__ import annotations

from typing import Any

from broken_stores import SoundAccount, breaks
from twisted_mail_kit.errors import MailboxNotFound
from twisted_mail_kit.interfaces import Changes, Copied, Copy, Message, Move, Removal
from twisted_mail_kit.stores.memory_draft import Draft

DAY = 24 * 3600


@breaks("test_where_nothing_changed_nothing_is_told")
class ToldOnceMore(SoundAccount):
    """The modseq that was asked from is told again."""

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        page = await super().changes(max(since - 1, 0), mailbox_id, limit)
        return page._replace(since=since)


@breaks("test_since_the_beginning_everything_is_told")
class QuietMailboxesLeftOut(SoundAccount):
    """A mailbox in which nothing has ever happened is not told."""

    async def changes(self, *said: Any, **more: Any) -> Changes:
        page = await super().changes(*said, **more)
        return page._replace(mailboxes=tuple(box for box in page.mailboxes if box.uidnext > 1))


@breaks("test_what_came_changed_and_went_is_told", "test_a_thousand_removals_are_remembered")
class TombstoneLost(Draft):
    """A removal is not written down."""

    def _drop(self, row: Message) -> None:
        super()._drop(row)
        self.tombstones.pop()


@breaks("test_what_came_changed_and_went_is_told", "test_the_changes_of_one_mailbox_are_of_it_alone")
class TombstoneLostOverTwoPages(SoundAccount):
    """Only the first removal of a page is told."""

    async def changes(self, *said: Any, **more: Any) -> Changes:
        page = await super().changes(*said, **more)
        return page._replace(removed=page.removed[:1])


@breaks("test_the_changes_of_one_mailbox_are_of_it_alone")
class MailboxIgnored(SoundAccount):
    """Who asks for one mailbox is told of all."""

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        await super().changes(since, mailbox_id, limit)
        return await super().changes(since, None, limit)


@breaks("test_rows_are_told_once_as_they_are_now")
class ToldTwice(SoundAccount):
    """A row is told with each of its changes."""

    async def changes(self, *said: Any, **more: Any) -> Changes:
        page = await super().changes(*said, **more)
        return page._replace(messages=page.messages * 2)


@breaks("test_one_that_came_and_went_is_told_as_removed_only")
class TombstoneOfTheNewUid(Draft):
    """A move within a mailbox is told as the removal of what is there now."""

    def copy(self, op: Copy | Move) -> Copied:
        copied = super().copy(op)
        if op.mailbox_id == op.to_mailbox_id:
            news = dict(copied.pairs)
            for number, tomb in enumerate(self.tombstones):
                if isinstance(tomb, Removal):
                    self.tombstones[number] = tomb._replace(uid=news.get(tomb.uid, tomb.uid))
        return copied


@breaks("test_a_mailbox_that_went_is_told_by_its_id_alone")
class DeletedMailboxNotTold(SoundAccount):
    """A mailbox that was deleted is not told."""

    async def changes(self, *said: Any, **more: Any) -> Changes:
        return (await super().changes(*said, **more))._replace(removed_mailboxes=())


@breaks("test_pages_never_split_a_modseq_and_leave_nothing_out")
class PageSplitsAModseq(SoundAccount):
    """A page has no more rows than were asked for, and the next one begins behind them."""

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        page = await super().changes(since, mailbox_id, limit)
        return page._replace(messages=page.messages[:limit])


@breaks("test_pages_never_split_a_modseq_and_leave_nothing_out")
class NoPages(SoundAccount):
    """Everything comes at once, however little was asked for."""

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        return await super().changes(since, mailbox_id, 10**9)


@breaks("test_more_says_whether_there_is_more")
class NeverMore(SoundAccount):
    """The first page is said to be the last."""

    async def changes(self, *said: Any, **more: Any) -> Changes:
        return (await super().changes(*said, **more))._replace(more=False)


@breaks("test_messages_and_removals_are_in_order")
class ByMailbox(SoundAccount):
    """Changes come mailbox by mailbox, not in the order of commits."""

    async def changes(self, *said: Any, **more: Any) -> Changes:
        page = await super().changes(*said, **more)
        return page._replace(messages=tuple(sorted(page.messages)), removed=tuple(sorted(page.removed)))


@breaks("test_removals_are_remembered_for_a_week")
class RemovalsForThreeDays(SoundAccount):
    """Tombstones are forgotten too soon."""

    def _forget(self, now: float) -> None:
        super()._forget(now)
        while self.tombstones and self.tombstones[0][0] < now - 3 * DAY:
            _, self.forgotten, _ = self.tombstones.popleft()


@breaks("test_what_was_forgotten_is_not_passed_over")
class ForgetsInSilence(SoundAccount):
    """Who asks for removals that were forgotten is told of none."""

    def _forget(self, now: float) -> None:
        super()._forget(now)
        self.forgotten = 0


@breaks("test_a_state_that_never_was_is_too_old")
class TheFutureIsNow(SoundAccount):
    """Since a state that is still to come nothing has changed."""

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        return await super().changes(min(since, self.modseq), mailbox_id, limit)


@breaks("test_the_changes_of_no_mailbox_are_not_found")
class NoMailboxNoChanges(SoundAccount):
    """In a mailbox that is not there nothing has changed."""

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        try:
            return await super().changes(since, mailbox_id, limit)
        except MailboxNotFound:
            return Changes(since, self.modseq, False, (), (), (), ())
