"""Stores that are broken in their messages: added, copied, moved, flagged, removed, listed."""

from __future__ import annotations

from typing import Any

from broken_stores import SoundAccount, breaks
from twisted_mail_kit.errors import BlobNotFound, MailboxNotFound, MessageNotFound
from twisted_mail_kit.interfaces import Add, Added, Copied, Copy, FlagsSet, Message, Move, Remove, Removed, SetFlags
from twisted_mail_kit.stores.memory_draft import Draft


@breaks("test_an_added_message_is_told_as_it_was_given")
class KeywordsLost(Draft):
    """A new message has no keywords."""

    def add(self, op: Add) -> Added:
        flags = frozenset(flag for flag in op.flags if flag.startswith("\\"))
        return super().add(Add(op.mailbox_id, op.blob_id, op.internal_date, op.summary, flags, op.thread_id))


@breaks("test_dates_and_summaries_of_any_size_are_kept")
class SummariesCut(Draft):
    """A summary is cut after 1,000 octets."""

    def _put(self, row: Message) -> None:
        super()._put(row._replace(summary=row.summary[:1000]))


@breaks("test_dates_and_summaries_of_any_size_are_kept")
class DatesOf32Bits(Draft):
    """Dates end in 2038."""

    def _put(self, row: Message) -> None:
        super()._put(row._replace(internal_date=row.internal_date % 2**31))


@breaks("test_a_message_without_a_thread_begins_one_of_its_own")
class OneThreadForAll(Draft):
    """Messages without a thread share one."""

    def _put(self, row: Message) -> None:
        super()._put(row._replace(thread_id=row.thread_id if row.thread_id[0] != "T" else "T"))


@breaks("test_one_blob_can_be_added_twice_as_two_messages")
class BlobUsedUp(Draft):
    """A blob is gone when it has become a message."""

    def add(self, op: Add) -> Added:
        if self.account.references[op.blob_id] + self.references[op.blob_id]:
            raise BlobNotFound(op.blob_id)
        return super().add(op)


@breaks("test_a_uid_is_never_used_twice")
class UidOfTheLastUsedAgain(Draft):
    """UIDNEXT is counted from what is there."""

    def _drop(self, row: Message) -> None:
        super()._drop(row)
        box = self.mailboxes[row.mailbox_id]
        self.mailboxes[box.id] = box._replace(uidnext=max(self._rows(box.id), default=0) + 1)


@breaks("test_an_email_id_is_never_used_for_another_message")
class EmailIdsCounted(Draft):
    """A message's id is how many there are."""

    def add(self, op: Add) -> Added:
        added = super().add(op)
        email_id = f"E{sum(box.total for box in self.mailboxes.values())}"
        rows = self._rows(added.mailbox_id)
        rows[added.uid] = rows[added.uid]._replace(email_id=email_id)
        return added._replace(email_id=email_id)


# --- listed ----------------------------------------------------------------------------------------------------------


@breaks("test_messages_come_in_pages_ascending_by_uid")
class InTheOrderOfChanges(Draft):
    """A message that was flagged goes to the end."""

    def _put(self, row: Message) -> None:
        self._rows(row.mailbox_id).pop(row.uid, None)
        super()._put(row)


@breaks("test_messages_are_found_by_their_uids")
class LimitComesFirst(SoundAccount):
    """Of the first UIDs that were asked for, those that are there."""

    async def messages(self, mailbox_id: str, uids: Any = None, after: int = 0, limit: int = 1000) -> Any:
        uids = uids if uids is None else [uid for uid in uids if uid > after][:limit]
        return await super().messages(mailbox_id, uids, after, limit)


@breaks("test_thousands_of_uids_can_be_asked_for_at_once")
class AThousandVariables(SoundAccount):
    """No more UIDs than a statement has room for."""

    async def messages(self, mailbox_id: str, uids: Any = None, after: int = 0, limit: int = 1000) -> Any:
        return await super().messages(mailbox_id, uids if uids is None else list(uids)[:999], after, limit)


@breaks("test_messages_of_no_mailbox_are_not_found")
class NoMailboxNoMessages(SoundAccount):
    """A mailbox that is not there is empty."""

    async def messages(self, *said: Any, **more: Any) -> Any:
        try:
            return await super().messages(*said, **more)
        except MailboxNotFound:
            return []


# --- flags -----------------------------------------------------------------------------------------------------------


@breaks("test_flags_are_added_removed_and_replaced")
class ReplacingAdds(Draft):
    """`replace` leaves what is there."""

    def set_flags(self, op: SetFlags) -> FlagsSet:
        return super().set_flags(op if op.replace is None else SetFlags(op.mailbox_id, op.uids, op.replace))


@breaks("test_a_message_whose_flags_are_already_so_keeps_its_modseq")
class ModseqForNothing(Draft):
    """To set flags is a change, whatever they were."""

    def set_flags(self, op: SetFlags) -> FlagsSet:
        self.is_changed = True
        return super().set_flags(op)


@breaks("test_flags_of_messages_changed_since_are_left_alone_and_answered")
class UnchangedSinceIgnored(Draft):
    """`unchanged_since` is not looked at."""

    def set_flags(self, op: SetFlags) -> FlagsSet:
        return super().set_flags(SetFlags(op.mailbox_id, op.uids, op.add, op.remove, op.replace))


@breaks("test_setting_flags_touches_nothing_else")
class FlagsTakeTheSummary(Draft):
    """A row that is written anew has no summary."""

    def _put(self, row: Message) -> None:
        super()._put(row._replace(summary=b"") if row.uid in self._rows(row.mailbox_id) else row)


# --- copied, moved, removed ------------------------------------------------------------------------------------------


@breaks("test_moved_messages_are_there_and_no_longer_here", "test_copies_are_as_their_originals_but_for_the_place")
class CopiesAreStrangers(Draft):
    """A copy has an id of its own."""

    def _put(self, row: Message) -> None:
        super()._put(row._replace(email_id=self.account.store.new_id("E")))


@breaks("test_when_a_message_came_into_its_mailbox_is_told")
class SavedWithTheOriginal(Draft):
    """A copy was saved when its original was."""

    def _put(self, row: Message) -> None:
        for rows in self.account.rows.values():
            for other in rows.values():
                if other.email_id == row.email_id:
                    row = row._replace(saved_date=other.saved_date)
        super()._put(row)


@breaks("test_moved_messages_are_there_and_no_longer_here")
class MovingCopies(Draft):
    """What was moved is still here."""

    def copy(self, op: Copy | Move) -> Copied:
        return super().copy(Copy(op.mailbox_id, op.uids, op.to_mailbox_id))


@breaks("test_copying_within_one_mailbox_doubles_and_moving_renumbers")
class MoveWithinIsNothing(Draft):
    """What is here already is not moved."""

    def copy(self, op: Copy | Move) -> Copied:
        if isinstance(op, Move) and op.mailbox_id == op.to_mailbox_id:
            return Copied(op.mailbox_id, self.mailboxes[op.mailbox_id].uidvalidity, ())
        return super().copy(op)


@breaks("test_what_is_not_there_is_passed_over_and_is_no_change")
class AllOrNoneOfThem(Draft):
    """One that is not there is an error."""

    def copy(self, op: Copy | Move) -> Copied:
        rows = self._rows(self._mailbox(op.mailbox_id).id)
        if not set(op.uids) <= rows.keys():
            raise MessageNotFound(str(op.uids))
        return super().copy(op)


@breaks("test_removed_messages_are_answered_once")
class RemovedAsAsked(Draft):
    """All that was asked for is answered as removed."""

    def remove(self, op: Remove) -> Removed:
        super().remove(op)
        return Removed(tuple(op.uids))
