"""Stores that are broken in their mailboxes: names, roles, counts, numbers."""

from __future__ import annotations

import unicodedata
from typing import Any

from broken_stores import SoundAccount, SoundStore, breaks
from twisted_mail_kit.errors import MailboxExists, MailboxNotFound
from twisted_mail_kit.interfaces import (
    UNSET,
    CreateMailbox,
    DeleteMailbox,
    Mailbox,
    Message,
    Operation,
    Remove,
    Removed,
    UpdateMailbox,
)
from twisted_mail_kit.stores.memory_draft import Draft


@breaks("test_create_answers_the_new_mailbox")
class AlwaysSubscribed(Draft):
    """A new mailbox is subscribed, whatever was said."""

    def create_mailbox(self, op: CreateMailbox) -> Mailbox:
        return super().create_mailbox(CreateMailbox(op.name, op.role))


@breaks("test_every_role_can_be_given")
class RolesOfIMAP(Draft):
    """Only the roles of RFC 6154 are kept."""

    def create_mailbox(self, op: CreateMailbox) -> Mailbox:
        role = None if op.role == "important" else op.role
        return super().create_mailbox(CreateMailbox(op.name, role, op.subscribed))


@breaks("test_parents_need_not_exist")
class ParentsAreMade(Draft):
    """With a/b/c come a and a/b."""

    def create_mailbox(self, op: CreateMailbox) -> Mailbox:
        if len(op.name) > 1 and op.name[:-1] not in {box.name for box in self.mailboxes.values()}:
            self.create_mailbox(CreateMailbox(op.name[:-1]))
        return super().create_mailbox(op)


@breaks("test_a_name_or_role_that_is_taken_is_refused_and_changes_nothing")
class TwoOfARole(Draft):
    """Nobody looks whether a role is taken."""

    def _put_mailbox(self, new: Mailbox) -> Mailbox:
        super()._put_mailbox(new._replace(role=None))
        self.mailboxes[new.id] = new
        return new


@breaks("test_mailbox_names_are_kept_as_they_are")
class NamesAreNormalized(Draft):
    """Names that look alike are one."""

    def _put_mailbox(self, new: Mailbox) -> Mailbox:
        return super()._put_mailbox(new._replace(name=tuple(unicodedata.normalize("NFC", one) for one in new.name)))


@breaks("test_mailbox_names_are_kept_as_they_are")
class SlashesDivide(Draft):
    """A name is kept as a path with slashes."""

    def _put_mailbox(self, new: Mailbox) -> Mailbox:
        return super()._put_mailbox(new._replace(name=tuple("/".join(new.name).split("/"))))


@breaks("test_a_renamed_mailbox_keeps_its_id_uidvalidity_and_messages")
class RenamingBeginsAnew(Draft):
    """A renamed mailbox gets another UIDVALIDITY."""

    def update_mailbox(self, op: UpdateMailbox) -> Mailbox:
        old, new = self._mailbox(op.mailbox_id), super().update_mailbox(op)
        if old.name != new.name:
            new = self.mailboxes[new.id] = new._replace(uidvalidity=self.account.store.new_uidvalidity())
        return new


@breaks("test_a_renamed_mailbox_keeps_its_id_uidvalidity_and_messages")
class RenamesWhatIsBelow(Draft):
    """Inferiors are renamed with their superior, as IMAP wants it; which is the framework's work."""

    def update_mailbox(self, op: UpdateMailbox) -> Mailbox:
        old, new = self._mailbox(op.mailbox_id), super().update_mailbox(op)
        for box in list(self.mailboxes.values()):
            if old.name != new.name and len(box.name) > 1 and box.name[: len(old.name)] == old.name:
                self.mailboxes[box.id] = box._replace(name=new.name + box.name[len(old.name) :])
        return new


@breaks("test_update_leaves_alone_what_is_unset")
class UnsetIsNone(Draft):
    """A role that is not mentioned is taken away."""

    def update_mailbox(self, op: UpdateMailbox) -> Mailbox:
        role = None if op.role is UNSET else op.role
        return super().update_mailbox(UpdateMailbox(op.mailbox_id, op.name, role, op.subscribed))


@breaks("test_an_update_that_changes_nothing_has_no_modseq")
class UpdatesInAnyCase(Draft):
    """An update is a change, whatever it changes."""

    def update_mailbox(self, op: UpdateMailbox) -> Mailbox:
        return self._put_mailbox(super().update_mailbox(op)._replace(modseq=self.modseq))


@breaks("test_a_name_and_role_that_were_given_up_can_be_taken")
class NamesStayTaken(Draft):
    """The name that a mailbox had stays its own."""

    def _put_mailbox(self, new: Mailbox) -> Mailbox:
        if self.account.__dict__.setdefault("names", {}).setdefault(new.name, new.id) != new.id:
            raise MailboxExists("/".join(new.name))
        return super()._put_mailbox(new)


@breaks("test_a_deleted_mailbox_and_its_messages_are_gone_and_those_below_stay")
class DeletesWhatIsBelow(Draft):
    """With a goes a/b."""

    def delete_mailbox(self, op: DeleteMailbox) -> None:
        name = self._mailbox(op.mailbox_id).name
        super().delete_mailbox(op)
        for box in list(self.mailboxes.values()):
            if box.name[: len(name)] == name:
                super().delete_mailbox(DeleteMailbox(box.id))


@breaks("test_the_inbox_cannot_be_deleted")
class TheInboxGoes(Draft):
    """The inbox is a mailbox like any other."""

    def delete_mailbox(self, op: DeleteMailbox) -> None:
        box = self._mailbox(op.mailbox_id)
        self.mailboxes[box.id] = box._replace(role=None)
        super().delete_mailbox(op)


@breaks("test_a_name_made_again_gets_another_id_and_uidvalidity_each_time")
class UidvalidityOfTheName(SoundStore):
    """A mailbox that is made again has the UIDVALIDITY of the one that had its name."""

    def new_uidvalidity(self) -> int:
        return 1


@breaks("test_no_operation_finds_a_mailbox_that_is_not_there")
class NothingToRemove(Draft):
    """Who removes from a mailbox that is not there has removed nothing."""

    def remove(self, op: Remove) -> Removed:
        try:
            return super().remove(op)
        except MailboxNotFound:
            return Removed(())


@breaks("test_a_number_names_the_mailbox_that_an_operation_of_the_same_apply_makes")
class NumbersUnknown(Draft):
    """`#0` is no mailbox."""

    def _mailbox(self, mailbox_id: str) -> Mailbox:
        self._created.clear()
        return super()._mailbox(mailbox_id)


@breaks("test_only_the_number_of_a_create_names_a_mailbox")
class AnyNumberNames(Draft):
    """`#0` is whatever mailbox operation 0 has to do with."""

    def do(self, op: Operation) -> Any:
        self._created[f"#{self._number + 1}"] = getattr(op, "mailbox_id", "")
        return super().do(op)


@breaks("test_a_mailbox_counts_its_messages_octets_and_what_is_unseen")
class UnseenMiscounted(Draft):
    """Every message is counted as unseen."""

    def _count(self, row: Message, sign: int) -> None:
        super()._count(row._replace(flags=row.flags - {"\\Seen"}), sign)


@breaks("test_a_mailboxs_modseq_is_that_of_the_last_change_in_it_removals_too")
class RemovalsDoNotCount(Draft):
    """A removal leaves the mailbox's modseq as it was."""

    def _drop(self, row: Message) -> None:
        before = self.mailboxes[row.mailbox_id].modseq
        super()._drop(row)
        self.mailboxes[row.mailbox_id] = self.mailboxes[row.mailbox_id]._replace(modseq=before)


@breaks("test_messages_follow_operations_on_what_was_made_before_in_the_same_apply")
class LooksAtWhatWasBefore(Draft):
    """An operation finds messages as they were before the whole `apply`."""

    def _present(self, mailbox_id: str, uids: Any) -> list[Message]:
        rows = self.account.rows.get(mailbox_id, {})
        return [rows[uid] for uid in uids if uid in rows]


@breaks("test_uids_ascend_and_stay_below_uidnext")
class UidnextIsTheLast(SoundAccount):
    """UIDNEXT is the last UID that was given out."""

    async def mailboxes(self) -> Any:
        return [box._replace(uidnext=box.uidnext - 1) for box in await super().mailboxes()]
