"""The eight operations: the only way to change anything in a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

# Wherever an operation takes a mailbox id, "#0" names the mailbox that operation 0 of the same `apply` makes, "#1"
# that of operation 1, and so on: so RENAME INBOX is CreateMailbox + Move("#0") in one transaction.


class _Unset(Enum):
    UNSET = "left as it is"


UNSET: Final = _Unset.UNSET
"""Leave this as it is."""


@dataclass(frozen=True, slots=True)
class CreateMailbox:
    """Answers the new Mailbox. Raises MailboxExists (name, or role, taken), LimitReached."""

    name: tuple[str, ...]
    role: str | None = None
    subscribed: bool = True


@dataclass(frozen=True, slots=True)
class UpdateMailbox:
    """Answers the Mailbox as it is now. Raises MailboxNotFound, MailboxExists (name, or role, taken).

    A new name renames this mailbox alone; its inferiors are mailboxes with names of their own.
    """

    mailbox_id: str
    name: tuple[str, ...] | _Unset = UNSET
    role: str | _Unset | None = UNSET
    subscribed: bool | _Unset = UNSET


@dataclass(frozen=True, slots=True)
class DeleteMailbox:
    """The mailbox and its messages go; mailboxes below it stay. Raises MailboxNotFound; the inbox: Forbidden."""

    mailbox_id: str


@dataclass(frozen=True, slots=True)
class Add:
    """Put a committed blob into a mailbox. Answers Added. Raises MailboxNotFound, BlobNotFound, OverQuota."""

    mailbox_id: str
    blob_id: str
    internal_date: int
    """Seconds since 1970 UTC."""
    summary: bytes = b""
    flags: frozenset[str] = frozenset()
    thread_id: str | None = None
    """None: the message begins a thread of its own."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Answers Copied. UIDs that are not there are passed over. Raises MailboxNotFound, OverQuota."""

    mailbox_id: str
    uids: Sequence[int]
    """Ascending. The copies get UIDs in this order, flags and internal date as the originals have them."""
    to_mailbox_id: str


@dataclass(frozen=True, slots=True)
class Move:
    """As Copy, and the originals are gone in the same transaction. Answers Copied.

    Moving within one mailbox gives the messages new UIDs.
    """

    mailbox_id: str
    uids: Sequence[int]
    to_mailbox_id: str


@dataclass(frozen=True, slots=True)
class SetFlags:
    """Answers FlagsSet. UIDs that are not there are passed over. Raises MailboxNotFound.

    A message whose flags are already so is not changed and keeps its modseq. With `replace`, `add` and `remove` are
    not looked at. With `unchanged_since`, messages of a greater modseq are left alone and answered as refused.
    """

    mailbox_id: str
    uids: Sequence[int]
    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()
    replace: frozenset[str] | None = None
    unchanged_since: int | None = None


def flags_after(op: SetFlags, flags: frozenset[str]) -> frozenset[str]:
    """What flags become of these."""
    return (flags | op.add) - op.remove if op.replace is None else op.replace


@dataclass(frozen=True, slots=True)
class Remove:
    """Answers Removed. UIDs that are not there are passed over. Raises MailboxNotFound."""

    mailbox_id: str
    uids: Sequence[int]


Operation = CreateMailbox | UpdateMailbox | DeleteMailbox | Add | Copy | Move | SetFlags | Remove
