"""What each operation does in the memory store: on copies, so that to throw the draft away is to undo it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted_mail_kit.errors import BlobNotFound, Forbidden, MailboxExists, MailboxNotFound
from twisted_mail_kit.interfaces import (
    UNSET,
    Add,
    Added,
    Copied,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    FlagsSet,
    Mailbox,
    Message,
    Move,
    Operation,
    Removal,
    Remove,
    Removed,
    SetFlags,
    UpdateMailbox,
)

if TYPE_CHECKING:
    from twisted_mail_kit.mail.facts import Result
    from twisted_mail_kit.stores.memory import MemoryAccount


class Draft:
    """One `apply` at work on copies: to throw it away is to undo it."""

    def __init__(self, account: MemoryAccount, now: float) -> None:
        self.account = account
        self.now = now
        self.modseq = account.modseq + 1
        self.is_changed = False
        self.mailboxes = dict(account.mailboxes_by_id)
        self.rows: dict[str, dict[int, Message]] = {}
        """Of the mailboxes whose messages were looked at."""
        self.blobs: dict[str, bytes] = {}
        self.references: Counter[str] = Counter()
        """How many more, or fewer, than before."""
        self.tombstones: list[Removal | str] = []
        self._created: dict[str, str] = {}
        """``#0`` -> mailbox id."""
        self._number = -1

    def do(self, op: Operation) -> Result:
        """Do the next operation."""
        self._number += 1
        match op:
            case CreateMailbox():
                return self.create_mailbox(op)
            case UpdateMailbox():
                return self.update_mailbox(op)
            case DeleteMailbox():
                self.delete_mailbox(op)
                return None
            case Add():
                return self.add(op)
            case Copy() | Move():
                return self.copy(op)
            case SetFlags():
                return self.set_flags(op)
            case Remove():
                return self.remove(op)

    def create_mailbox(self, op: CreateMailbox) -> Mailbox:
        box = Mailbox(
            id=self.account.store.new_id("M"),
            name=tuple(op.name),
            role=op.role,
            uidvalidity=self.account.store.new_uidvalidity(),
            uidnext=1,
            modseq=self.modseq,
            total=0,
            unseen=0,
            size=0,
            subscribed=op.subscribed,
        )
        self._created[f"#{self._number}"] = box.id
        self.rows[box.id] = {}
        return self._put_mailbox(box)

    def update_mailbox(self, op: UpdateMailbox) -> Mailbox:
        old = self._mailbox(op.mailbox_id)
        new = old._replace(
            name=old.name if op.name is UNSET else tuple(op.name),
            role=old.role if op.role is UNSET else op.role,
            subscribed=old.subscribed if op.subscribed is UNSET else op.subscribed,
        )
        return old if new == old else self._put_mailbox(new._replace(modseq=self.modseq))

    def delete_mailbox(self, op: DeleteMailbox) -> None:
        box = self._mailbox(op.mailbox_id)
        if box.role == "inbox":
            raise Forbidden("the inbox stays")
        for row in list(self._rows(box.id).values()):
            self._count(row, -1)
        del self.rows[box.id], self.mailboxes[box.id]
        self.tombstones.append(box.id)
        self.is_changed = True

    def add(self, op: Add) -> Added:
        box = self._mailbox(op.mailbox_id)
        store = self.account.store
        octets = self.account.blobs.get(op.blob_id)
        if octets is None:
            if op.blob_id not in store.shared_blobs:
                raise BlobNotFound(op.blob_id)
            _, octets = store.shared_blobs[op.blob_id]
            self.blobs[op.blob_id] = octets
        row = Message(
            mailbox_id=box.id,
            uid=box.uidnext,
            email_id=store.new_id("E"),
            thread_id=store.new_id("T") if op.thread_id is None else op.thread_id,
            blob_id=op.blob_id,
            size=len(octets),
            internal_date=op.internal_date,
            saved_date=int(self.now),
            flags=frozenset(op.flags),
            modseq=self.modseq,
            created=self.modseq,
            summary=op.summary,
        )
        self._put(row)
        return Added(box.id, box.uidvalidity, row.uid, row.email_id)

    def copy(self, op: Copy | Move) -> Copied:
        there, here = self._mailbox(op.mailbox_id), self._mailbox(op.to_mailbox_id)
        pairs = []
        for row in self._present(there.id, op.uids):
            uid = self.mailboxes[here.id].uidnext
            self._put(
                row._replace(
                    mailbox_id=here.id, uid=uid, saved_date=int(self.now), modseq=self.modseq, created=self.modseq
                )
            )
            pairs.append((row.uid, uid))
            if isinstance(op, Move):
                self._drop(row)
        return Copied(here.id, here.uidvalidity, tuple(pairs))

    def set_flags(self, op: SetFlags) -> FlagsSet:
        changed, refused = [], []
        for row in self._present(self._mailbox(op.mailbox_id).id, op.uids):
            flags = (row.flags | op.add) - op.remove if op.replace is None else op.replace
            if op.unchanged_since is not None and row.modseq > op.unchanged_since:
                refused.append(row.uid)
            elif flags != row.flags:
                self._count(row, -1)
                self._put(row._replace(flags=frozenset(flags), modseq=self.modseq))
                changed.append(row.uid)
        return FlagsSet(tuple(changed), tuple(refused))

    def remove(self, op: Remove) -> Removed:
        rows = self._present(self._mailbox(op.mailbox_id).id, op.uids)
        for row in rows:
            self._drop(row)
        return Removed(tuple(row.uid for row in rows))

    def put_in_place(self) -> None:
        """Make it true, all at once."""
        account = self.account
        account.modseq = self.modseq
        account.mailboxes_by_id = self.mailboxes
        account.rows = {
            box_id: self.rows[box_id] if box_id in self.rows else account.rows[box_id] for box_id in self.mailboxes
        }
        account.blobs.update(self.blobs)
        account.tombstones.extend((self.now, self.modseq, tomb) for tomb in self.tombstones)
        for blob_id, more in self.references.items():
            account.references[blob_id] += more
            account.loose.pop(blob_id, None)
            if not account.references[blob_id]:
                del account.references[blob_id]
                account.loose[blob_id] = self.now

    # --- rows --------------------------------------------------------------------------------------------------------

    def _mailbox(self, mailbox_id: str) -> Mailbox:
        box = self.mailboxes.get(self._created.get(mailbox_id, mailbox_id))
        if box is None:
            raise MailboxNotFound(mailbox_id)
        return box

    def _put_mailbox(self, new: Mailbox) -> Mailbox:
        for box in self.mailboxes.values():
            if box.id != new.id and (box.name == new.name or (box.role and box.role == new.role)):
                raise MailboxExists(f"{new.name} as {new.role}: {box.name} is {box.role}")
        self.mailboxes[new.id] = new
        self.is_changed = True
        return new

    def _rows(self, mailbox_id: str) -> dict[int, Message]:
        if mailbox_id not in self.rows:
            self.rows[mailbox_id] = dict(self.account.rows[mailbox_id])
        return self.rows[mailbox_id]

    def _present(self, mailbox_id: str, uids: Iterable[int]) -> list[Message]:
        rows = self._rows(mailbox_id)
        return [rows[uid] for uid in dict.fromkeys(uids) if uid in rows]

    def _put(self, row: Message) -> None:
        self._rows(row.mailbox_id)[row.uid] = row
        self._count(row, +1)

    def _drop(self, row: Message) -> None:
        del self._rows(row.mailbox_id)[row.uid]
        self._count(row, -1)
        self.tombstones.append(Removal(row.mailbox_id, row.uid, row.email_id, self.modseq))

    def _count(self, row: Message, sign: int) -> None:
        box = self.mailboxes[row.mailbox_id]
        self.mailboxes[box.id] = box._replace(
            uidnext=max(box.uidnext, row.uid + 1),
            modseq=self.modseq,
            total=box.total + sign,
            unseen=box.unseen + (0 if "\\Seen" in row.flags else sign),
            size=box.size + sign * row.size,
        )
        self.references[row.blob_id] += sign
        self.is_changed = True
