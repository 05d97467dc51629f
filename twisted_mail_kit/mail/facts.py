"""What a store says: mailboxes, messages, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# Rows are NamedTuples, not attrs classes: a FETCH of 10,000 makes 10,000 of them, and tuples are made fastest.


class Mailbox(NamedTuple):
    """One mailbox (folder) of an account, as it stood at the account's modseq when it was asked for."""

    id: str
    """Opaque, 1-64 characters of ``A-Za-z0-9_-``; never used twice in an account, kept over a rename."""
    name: tuple[str, ...]
    """The path: one string a level. ``("INBOX",)`` is spelled so. Parents need not exist as mailboxes."""
    role: str | None
    """RFC 8621 role: ``inbox drafts sent trash junk archive all flagged important``, or None. One mailbox a role."""
    uidvalidity: int
    """RFC 3501 2.3.1.1, 1..2**32-1; a name that is deleted and made again gets another one."""
    uidnext: int
    """Greater than every UID ever given out in this mailbox."""
    modseq: int
    """The account's modseq of the last change in here: messages, flags, removals, the name."""
    total: int
    """Messages."""
    unseen: int
    r"""Messages without ``\Seen``."""
    size: int
    """Octets of all messages together."""
    subscribed: bool


class Message(NamedTuple):
    """One message in one mailbox. Octets and summary never change; only flags and modseq do."""

    mailbox_id: str
    uid: int
    email_id: str
    """RFC 8474 EMAILID: the same for copies of the same message, never used for another."""
    thread_id: str
    blob_id: str
    """Give it to `IAccount.read_blob`."""
    size: int
    """Octets of the blob."""
    internal_date: int
    """Seconds since 1970 UTC: IMAP's INTERNALDATE, JMAP's receivedAt."""
    saved_date: int
    """Seconds since 1970 UTC: when it came into *this* mailbox (RFC 8514)."""
    flags: frozenset[str]
    r"""``\Seen \Answered \Flagged \Deleted \Draft`` in just this spelling, and keywords. Never ``\Recent``."""
    modseq: int
    """The account's modseq of the last change of this row."""
    created: int
    """The account's modseq at which it came into this mailbox."""
    summary: bytes
    """What came with `Add`, octet for octet. See `twisted_mail_kit.mail.summary`."""


class Listing(NamedTuple):
    """What lists of messages are made of, a column each, in step with each other; ascending by UID."""

    uids: Sequence[int]
    flags: Sequence[frozenset[str]]
    modseqs: Sequence[int]
    sizes: Sequence[int]
    internal_dates: Sequence[int]


class ListingSince(NamedTuple):
    """What has become of one mailbox, of one moment."""

    until: int
    """The account's modseq at that moment: ask for what came after this one next."""
    mailbox: Mailbox
    """As it is now."""
    changed: Listing
    """Messages that came, or have other flags, as they are now."""
    removed: Sequence[int]
    """UIDs, ascending."""


class Removal(NamedTuple):
    """The tombstone of a message that is no longer in a mailbox (RFC 7162 VANISHED)."""

    mailbox_id: str
    uid: int
    email_id: str
    modseq: int


class Changes(NamedTuple):
    """One page of what changed after `since`, up to and including `until`."""

    since: int
    until: int
    """Ask for the changes since this one next. Equals `since` only when nothing changed."""
    more: bool
    """There is more after `until` already."""
    mailboxes: tuple[Mailbox, ...]
    """Made or changed, as they are now."""
    removed_mailboxes: tuple[str, ...]
    """Ids. Their messages are not listed as removed."""
    messages: tuple[Message, ...]
    """Added or with other flags, as they are now, ascending by (modseq, mailbox id, uid)."""
    removed: tuple[Removal, ...]
    """Ascending by (modseq, mailbox id, uid)."""


# --- what each operation answers -----------------------------------------------------------------------------------


class Added(NamedTuple):
    """Answer to `Add`."""

    mailbox_id: str
    uidvalidity: int
    uid: int
    email_id: str


class Copied(NamedTuple):
    """Answer to `Copy` and `Move`: what RFC 4315's COPYUID needs. UIDs that were not there are left out."""

    mailbox_id: str
    """The destination."""
    uidvalidity: int
    """The destination's."""
    pairs: tuple[tuple[int, int], ...]
    """(UID there, UID here), ascending on both sides."""


class FlagsSet(NamedTuple):
    """Answer to `SetFlags`."""

    changed: tuple[int, ...]
    """UIDs whose flags are other than before, ascending."""
    refused: tuple[int, ...]
    """UIDs left alone because their modseq is greater than `unchanged_since` (RFC 7162 MODIFIED), ascending."""


class Removed(NamedTuple):
    """Answer to `Remove`: the UIDs that are gone, ascending. UIDs that were not there are left out."""

    uids: tuple[int, ...]


Result = Mailbox | Added | Copied | FlagsSet | Removed | None


class Applied(NamedTuple):
    """What `IAccount.apply` did."""

    modseq: int
    """The modseq of the transaction; where nothing changed, the account's modseq as it was."""
    results: tuple[Result, ...]
    """One for each operation: Mailbox for Create- and UpdateMailbox, None for DeleteMailbox."""
    replayed: bool = False
    """The token was known: nothing was done now, and this is the first answer again."""


class Findings(NamedTuple):
    """What looking after a store found and did."""

    counts: Mapping[str, int]
    """What was done or seen, by a short name with its unit: ``{"messages": 12, "octets freed": 4096}``."""
    problems: Sequence[str] = ()
    """What is wrong, one line each: which file, what, and what to do about it. Empty: all is well."""
