"""What an account does, for a store whose database has transactions: its author writes the primitives.

An account is a set of *facts*: a `Mailbox`, a `Message`, or the `Removal` that a message became. `Ledger` answers what
IAccount asks, in plain synchronous code: states, tokens, pages that end between two modseqs. What each operation does
to the facts is in `ledger_entry.py`, and `ledger_account.py` is the door. `docs/writing-a-store.md` leads through it;
`plugins/mailkit_example_store/` is a whole store made so. For a database without transactions, see `memory.py`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import islice

from twisted_mail_kit.errors import AccountNotFound, BadSyntax, MailboxNotFound, StateMismatch, StateTooOld
from twisted_mail_kit.interfaces import Applied, Changes, CreateMailbox, Mailbox, Message, Operation, Removal
from twisted_mail_kit.stores.ledger_entry import Entry, Fact

__all__ = ["Fact", "Ledger"]


class Ledger(ABC):
    """One account within one open transaction: make one, ask it one thing, commit, and throw it away.

    The transaction is the author's. For `open` and `apply` nobody else may write to this account from before the first
    read until the commit (SQLite's ``BEGIN IMMEDIATE``, PostgreSQL's ``SELECT … FOR UPDATE`` on a row an account): that
    is what makes modseqs and UIDs visible in order. The other methods only read, and want one unchanging view. An
    exception means: roll back. Nothing here waits, so the whole of it goes into one thread call.
    """

    def __init__(self, name: str, now: float) -> None:
        """`name` is the account's; `now` is in seconds since 1970 UTC."""
        self.name = name
        self.now = int(now)

    # --- the primitives: what a subclass gives ------------------------------------------------------------------------

    @abstractmethod
    def mailboxes_kept(self) -> Iterable[Mailbox]:
        """Every mailbox that was ever put, in no order. One that was deleted stays, with ``()`` for its name."""

    @abstractmethod
    def messages_after(self, mailbox_id: str, uid: int, limit: int) -> Iterable[Message]:
        """At most `limit` messages of the mailbox with a greater UID than that, ascending by UID. No removals."""

    @abstractmethod
    def messages_of(self, mailbox_id: str, uids: Sequence[int]) -> Iterable[Message]:
        """Those of these UIDs that are messages of the mailbox, ascending. `uids` ascends too; there may be thousands.

        Where it is lazy, no more is read from it than was asked for.
        """

    @abstractmethod
    def facts_between(self, since: int, until: int, limit: int, mailbox_id: str | None) -> Iterable[Fact]:
        """At most `limit` facts of which ``since < modseq <= until``, ascending by modseq; of equals in any order.

        With `mailbox_id`: that mailbox itself, its messages and its removals. This wants an index on the modseq.
        """

    @abstractmethod
    def put(self, fact: Fact) -> None:
        """Keep a fact in place of the one with the same mailbox id and UID; a mailbox: with the same id.

        What was put is seen by all primitives at once, and by others after the commit. A mailbox is put before its
        messages. A `Removal` comes in place of its message, whose octets may no longer be needed: see `blob_size`.
        """

    @abstractmethod
    def drop_messages(self, mailbox_id: str) -> None:
        """Forget all messages and removals of a mailbox. The mailbox itself stays: it is put, without a name, next."""

    @abstractmethod
    def answer(self, token: str) -> Applied | None:
        """What was kept for this token of this account: for seven days at least, and compared octet by octet."""

    @abstractmethod
    def keep_answer(self, token: str, applied: Applied) -> None:
        """Keep it, in this transaction. The token was not known before."""

    @abstractmethod
    def blob_size(self, blob_id: str) -> int | None:
        """Octets of a committed blob of this account, None where there is none. A message of it is put right after.

        So the octets are to stay from here until ten minutes after the last message with this `blob_id` is gone.
        """

    # --- what a subclass may give too, or do better -------------------------------------------------------------------

    def state(self) -> int:
        """The account's modseq; 0: there is no such account. Asked for once a second where nobody gives hints.

        That is the greatest modseq of `mailboxes_kept`: whatever changes in a mailbox, the mailbox is put too.
        """
        return max((box.modseq for box in self.mailboxes_kept()), default=0)

    def mailbox_kept(self, mailbox_id: str) -> Mailbox | None:
        """The mailbox of that id, also one without a name. Every call that names a mailbox asks for it."""
        return next((box for box in self.mailboxes_kept() if box.id == mailbox_id), None)

    def write_piece(self, blob_id: str, start: int, octets: bytes) -> None:
        """Keep the next octets of a blob in the making: those from `start`, where the piece before it ended.

        Blob ids are new at ``start == 0``, and never used twice. A blob of no octets is one empty piece. One that no
        message comes to have should go, but not within the hour. This and `read_blob` are for octets in the database
        itself; where they are elsewhere, override `new_blob` and `read_blob` of the `LedgerAccount`.
        """
        raise NotImplementedError

    def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """As `IAccount.read_blob`; to give no more than what there is in one piece will do."""
        raise NotImplementedError

    def forgotten(self) -> int:
        """The modseq up to which removals may be missing, in a store that forgets those older than the last thousand,
        and than a week. Mailboxes without a name are never forgotten."""
        return 0

    # --- what an account does: as IAccount has it ---------------------------------------------------------------------

    def open(self, create: bool = False) -> None:
        """As `IMailStore.open_account`: make the account with its inbox, or raise AccountNotFound.

        Raises BadSyntax for a name with half a character in it, which no database takes.
        """
        if _is_cut(self.name):
            raise BadSyntax("an account's name has to be text") if create else AccountNotFound(self.name)
        if not self.state():
            if not create:
                raise AccountNotFound(self.name)
            Entry(self, 1).write([CreateMailbox(("INBOX",), "inbox")])

    def mailboxes(self) -> list[Mailbox]:
        """See IAccount."""
        return [box for box in self.mailboxes_kept() if box.name]

    def messages(
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> list[Message]:
        """See IAccount."""
        box = self.mailbox(mailbox_id)
        if uids is None:
            return list(self.messages_after(box.id, after, limit))
        asked = [uid for uid in uids if after < uid < box.uidnext]
        return list(islice(self.messages_of(box.id, asked), limit))

    def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """See IAccount."""
        if mailbox_id is not None:
            self.mailbox(mailbox_id)
        state = until = self.state()
        if not self.forgotten() <= since <= state:
            raise StateTooOld(f"{since} is not within {self.forgotten()}-{state}")
        told, more = list(self.facts_between(since, until, max(limit, 1), mailbox_id)), False
        if len(told) >= max(limit, 1):
            # The page ends with the modseq of the fact that fills it, and has all the facts of that one.
            until = told[-1].modseq
            told = [fact for fact in told if fact.modseq < until]
            told.extend(self.facts_between(until - 1, until, sys.maxsize, mailbox_id))
            more = any(True for _ in self.facts_between(until, state, 1, mailbox_id))
        boxes = [fact for fact in told if isinstance(fact, Mailbox)]
        return Changes(
            since=since,
            until=until if more else state,
            more=more,
            mailboxes=tuple(box for box in boxes if box.name),
            removed_mailboxes=tuple(box.id for box in boxes if not box.name),
            messages=tuple(sorted((fact for fact in told if isinstance(fact, Message)), key=_in_order)),
            removed=tuple(sorted((fact for fact in told if isinstance(fact, Removal)), key=_in_order)),
        )

    def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        """See IAccount. It is durable, and seen, when the transaction is committed."""
        known = None if token is None else self.answer(token)
        if known is not None:
            return known._replace(replayed=True)
        state = self.state()
        if not state:
            raise AccountNotFound(self.name)  # it was removed since it was opened
        if if_state is not None and if_state != state:
            raise StateMismatch(f"{if_state} was asked for, {state} it is")
        entry = Entry(self, state + 1)
        results = entry.write(ops)
        applied = Applied(entry.modseq if entry.is_changed else state, results)
        if token is not None:
            self.keep_answer(token, applied)
        return applied

    def mailbox(self, mailbox_id: str) -> Mailbox:
        """The mailbox of that id. Raises MailboxNotFound, for one that was deleted too."""
        box = self.mailbox_kept(mailbox_id)
        if box is None or not box.name:
            raise MailboxNotFound(mailbox_id)
        return box


def _in_order(row: Message | Removal) -> tuple[int, str, int]:
    return row.modseq, row.mailbox_id, row.uid


def _is_cut(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False
