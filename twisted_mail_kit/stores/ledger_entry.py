"""What each operation does to an account's facts, in the words of a `Ledger`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from twisted_mail_kit.errors import BadSyntax, BlobNotFound, Forbidden, MailboxExists
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
    from twisted_mail_kit.stores.ledger import Ledger

Fact = Mailbox | Message | Removal


class Entry:
    """One `apply` at work: what each operation puts into the ledger, all of it with one modseq."""

    def __init__(self, ledger: Ledger, modseq: int) -> None:
        self.ledger = ledger
        self.modseq = modseq
        self.is_changed = False
        self.number = 0
        """Of the operation."""
        self.made: dict[str, str] = {}
        """``#0`` -> mailbox id."""
        self.counts: dict[str, Mailbox] = {}
        """Mailboxes whose counts have changed. They are put at the end, not with each of a thousand messages."""

    def write(self, ops: Sequence[Operation]) -> tuple[Result, ...]:
        """Do them in order."""
        results = []
        for self.number, op in enumerate(ops):
            results.append(self.do(op))
        for box in self.counts.values():
            self.put(box)
        return tuple(results)

    def do(self, op: Operation) -> Result:
        """Do one."""
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
        # Greater than that of any mailbox before, and than the time: so also when an account is removed and made again.
        last = max((box.uidvalidity for box in self.ledger.mailboxes_kept()), default=0)
        box = Mailbox(
            id=self.new_id("M"),
            name=tuple(op.name),
            role=op.role,
            uidvalidity=max(last + 1, self.ledger.now),
            uidnext=1,
            modseq=self.modseq,
            total=0,
            unseen=0,
            size=0,
            subscribed=op.subscribed,
        )
        self.made[f"#{self.number}"] = box.id
        return self.put_named(box)

    def update_mailbox(self, op: UpdateMailbox) -> Mailbox:
        old = self.mailbox(op.mailbox_id)
        new = old._replace(
            name=old.name if op.name is UNSET else tuple(op.name),
            role=old.role if op.role is UNSET else op.role,
            subscribed=old.subscribed if op.subscribed is UNSET else op.subscribed,
        )
        return old if new == old else self.put_named(new._replace(modseq=self.modseq))

    def delete_mailbox(self, op: DeleteMailbox) -> None:
        box = self.mailbox(op.mailbox_id)
        if box.role == "inbox":
            raise Forbidden("the inbox stays")
        self.counts.pop(box.id, None)
        self.ledger.drop_messages(box.id)
        self.put(box._replace(name=(), role=None, modseq=self.modseq, total=0, unseen=0, size=0))

    def add(self, op: Add) -> Added:
        box = self.mailbox(op.mailbox_id)
        size = self.ledger.blob_size(op.blob_id)
        if size is None:
            raise BlobNotFound(op.blob_id)
        row = Message(
            mailbox_id=box.id,
            uid=box.uidnext,
            email_id=self.new_id("E"),
            thread_id=self.new_id("T") if op.thread_id is None else op.thread_id,
            blob_id=op.blob_id,
            size=size,
            internal_date=op.internal_date,
            saved_date=self.ledger.now,
            flags=frozenset(op.flags),
            modseq=self.modseq,
            created=self.modseq,
            summary=op.summary,
        )
        self.put(row)
        self.count(row, +1)
        return Added(box.id, box.uidvalidity, row.uid, row.email_id)

    def copy(self, op: Copy | Move) -> Copied:
        here, there = self.mailbox(op.mailbox_id), self.mailbox(op.to_mailbox_id)
        pairs = []
        for row in self.present(here, op.uids):
            new = row._replace(
                mailbox_id=there.id,
                uid=self.mailbox(there.id).uidnext,
                saved_date=self.ledger.now,
                modseq=self.modseq,
                created=self.modseq,
            )
            self.put(new)
            self.count(new, +1)
            pairs.append((row.uid, new.uid))
            if isinstance(op, Move):
                self.take_out(row)
        return Copied(there.id, there.uidvalidity, tuple(pairs))

    def set_flags(self, op: SetFlags) -> FlagsSet:
        changed, refused = [], []
        for row in self.present(self.mailbox(op.mailbox_id), op.uids):
            flags = (row.flags | op.add) - op.remove if op.replace is None else op.replace
            if op.unchanged_since is not None and row.modseq > op.unchanged_since:
                refused.append(row.uid)
            elif flags != row.flags:
                new = row._replace(flags=frozenset(flags), modseq=self.modseq)
                self.put(new)
                self.count(row, -1)
                self.count(new, +1)
                changed.append(row.uid)
        return FlagsSet(tuple(changed), tuple(refused))

    def remove(self, op: Remove) -> Removed:
        rows = self.present(self.mailbox(op.mailbox_id), op.uids)
        for row in rows:
            self.take_out(row)
        return Removed(tuple(row.uid for row in rows))

    # --- facts -------------------------------------------------------------------------------------------------------

    def mailbox(self, mailbox_id: str) -> Mailbox:
        """The mailbox as it is at this point. Raises MailboxNotFound."""
        mailbox_id = self.made.get(mailbox_id, mailbox_id)
        return self.counts.get(mailbox_id) or self.ledger.mailbox(mailbox_id)

    def present(self, box: Mailbox, uids: Iterable[int]) -> list[Message]:
        """Those that are there, each once. All are read before the first is changed."""
        asked = sorted({uid for uid in uids if 0 < uid < box.uidnext})
        return list(self.ledger.messages_of(box.id, asked))

    def put(self, fact: Fact) -> None:
        self.ledger.put(fact)
        self.is_changed = True

    def put_named(self, new: Mailbox) -> Mailbox:
        if not new.name:
            raise BadSyntax("a mailbox has a name")  # those without are the deleted ones
        for box in self.ledger.mailboxes():
            if box.id != new.id and (box.name == new.name or (box.role and box.role == new.role)):
                raise MailboxExists(f"{new.name} as {new.role}: {box.name} is {box.role}")
        self.counts.pop(new.id, None)
        self.put(new)
        return new

    def take_out(self, row: Message) -> None:
        self.put(Removal(row.mailbox_id, row.uid, row.email_id, self.modseq))
        self.count(row, -1)

    def count(self, row: Message, sign: int) -> None:
        box = self.mailbox(row.mailbox_id)
        self.counts[box.id] = box._replace(
            uidnext=max(box.uidnext, row.uid + 1),
            modseq=self.modseq,
            total=box.total + sign,
            unseen=box.unseen + (0 if "\\Seen" in row.flags else sign),
            size=box.size + sign * row.size,
        )

    def new_id(self, letter: str) -> str:
        """Never used before: a modseq is one `apply`, and an operation makes at most one of a letter."""
        return f"{letter}{self.ledger.now:x}-{self.modseq}-{self.number}"
