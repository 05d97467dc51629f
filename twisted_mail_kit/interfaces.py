"""Every door on one page. A plugin provides one of them; `twisted_mail_kit.testing.contracts` checks what it promises.

Plain values go in and out (they are in `twisted_mail_kit.mail`, and importable from here); whatever may wait is an
`async def` or returns an awaitable, a Deferred too. Raise `twisted_mail_kit.errors` where they say what happened. An
unknown exception out of a plugin is taken for a temporary failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from zope.interface import Attribute, Interface

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.destination import Alias, Destination, Local
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.facts import (
    Added,
    Applied,
    Changes,
    Copied,
    Findings,
    FlagsSet,
    Listing,
    ListingSince,
    Mailbox,
    Message,
    Removal,
    Removed,
)
from twisted_mail_kit.mail.operations import (
    UNSET,
    Add,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    Move,
    Operation,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, Settled, SpoolCounts, TraceEvent
from twisted_mail_kit.mail.records import Answer

# --- storage: where mailboxes live ---------------------------------------------------------------------------------


class IMailStore(Interface):
    """Accounts with mailboxes in them. Read `stores/memory.py` next, and `docs/writing-a-store.md`."""

    async def open_account(name: str, create: bool = False) -> IAccount:
        """Give the account of that name.

        With `create`, make it where it is missing, with one mailbox in it: ``INBOX``, role ``inbox``, durable when
        this returns. Without it, raise AccountNotFound; an account never appears by being asked for. Opening is
        cheap, may be done often, and never reads other accounts. Names are compared as they are; they are no paths.
        Raises BadSyntax for a name that cannot be kept: an empty one, or what is no text.
        """

    async def close() -> None:
        """Finish what was begun, let go of files and threads. Nothing may be called afterwards."""


class IAccount(Interface):
    """One account's mailboxes. Any number of IAccount objects may stand for the same account, in several processes."""

    name: str = Attribute("The account's name.")

    async def state() -> int:
        """The account's modseq: grows with each commit that changed something; starts at 0 before anything was done.

        Modseqs and UIDs become visible in commit order: whoever has seen modseq n will never see a lower one appear.
        """

    async def mailboxes() -> Sequence[Mailbox]:
        """All of them, in no order."""

    async def messages(
        mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """At most `limit` messages with a UID greater than `after`, ascending by UID.

        With `uids` (ascending), only those of them that are there. A page shorter than `limit` is the last. Raises
        MailboxNotFound.
        """

    async def changes(since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """What came, changed and went after modseq `since`; of one mailbox only, where `mailbox_id` is given.

        A page ends between two modseqs, never within one, so it may hold more than `limit` rows. A message that came
        and went since may be told as removed only. Raises StateTooOld where the store has forgotten tombstones after
        `since`, or was never there; it remembers them for at least a week and 1,000 removals. Raises MailboxNotFound.
        """

    async def apply(ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        """Do all `ops` in order or none, as one modseq, and return when they would survive a power cut.

        Nobody sees half of them. Where nothing changes there is no new modseq. With `if_state`, raise StateMismatch
        unless it is the account's modseq. A `token` seen in this account within the last seven days does nothing and
        returns the first answer again, marked as replayed. Raises what the operations say, and Unavailable.
        """

    def new_blob(size_hint: int | None = None) -> IBlobWriter:
        """Begin to store a message's octets; `size_hint` is a guess at how many."""

    async def read_blob(blob_id: str, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`; b"" at and after the end, and never before it.

        The octets are those that were written. They can be read for at least ten minutes after the last message that
        refers to them is gone. Raises BlobNotFound, for another account's blob too.
        """


class IBlobWriter(Interface):
    """A blob in the making. Losing it is aborting it."""

    async def write(octets: bytes) -> None:
        """Append; returns when it can take more. Raises OverQuota, Unavailable."""

    async def commit() -> str:
        """Give the blob's id, for `Add`. Durable at the latest when the `apply` that refers to it returns.

        A blob that no `apply` refers to within an hour may be forgotten.
        """

    async def abort() -> None:
        """Forget it. May be said at any time, more than once, also after commit (then it does nothing)."""


# Optional abilities. A store that lacks one still serves every client: the framework does it slower, or polls.


class IChangeHints(Interface):
    """An IMailStore that tells when an account has changed, so that nobody has to poll it."""

    def watch_changes(heard: Callable[[str, int], None]) -> Callable[[], None]:
        """Call ``heard(account_name, modseq)`` in the reactor thread soon after each commit, in modseq order an
        account, also for commits of other processes. It is a hint: it may be late or left out. Returns a function
        that ends the watch."""


class ISharedBlobs(Interface):
    """An IMailStore in which one blob can be put into several accounts: a message for fifty is written once."""

    def new_blob(size_hint: int | None = None) -> IBlobWriter:
        """As IAccount's; `Add` takes the blob's id in every account of this store, within an hour of its commit."""


class IAccountList(Interface):
    """An IMailStore that can say which accounts it has, and remove one."""

    async def account_names(after: str = "", limit: int = 1000) -> Sequence[str]:
        """At most `limit` names greater than `after`, ascending."""

    async def remove_account(name: str) -> None:
        """The account and all its mail are gone, durably. Raises AccountNotFound."""


class IListing(Interface):
    """An IAccount that gives what lists of messages are made of without the rest of them: a mailbox of a million opens
    sooner, and in less memory."""

    async def listing(mailbox_id: str, after: int = 0, limit: int = 10_000) -> Listing:
        """Of at most `limit` messages with a UID greater than `after`, ascending by UID: what `messages` would say of
        them at this moment. A shorter one is the last. Raises MailboxNotFound."""

    async def listing_since(mailbox_id: str, since: int) -> ListingSince:
        """What came, changed and went in that mailbox after modseq `since`: all of it, as it is at one moment, where
        `changes` gives pages. It may be the whole mailbox: make it of packed columns. Raises MailboxNotFound,
        StateTooOld."""


class IReadMany(Interface):
    """An IAccount that reads of many messages at once what would be read one by one: FETCH and RETR of a whole mailbox,
    and SEARCH in it, are several times as fast. Messages that are not there, or cannot be read this way now, are left
    out: who misses one asks `messages` and `read_blob`, which say why. What is answered is held in memory: ask for
    little."""

    async def summaries(mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        """(UID, summary) of those of the `uids` (ascending) that are there, ascending. Raises MailboxNotFound."""

    async def bodies(mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        """(UID, all octets of the message) of those of the `uids` (ascending) that are there, ascending. Raises
        MailboxNotFound."""


class IReadElsewhere(Interface):
    """An IMailStore that other processes on this machine can read for themselves: a worker asks its owner for less."""

    def read_elsewhere() -> tuple[str, Mapping[str, object]]:
        """(the dotted name of a factory, its keyword arguments, which have to be picklable).

        ``factory(reactor, **arguments)``, called in another process, gives an object with `open_account(name)`, which
        raises AccountNotFound, and `close()`. Of its accounts only what reads is called. What was committed through
        this store, and acknowledged, is seen there. Blobs that no message refers to need not be found there."""


class IMaintenance(Interface):
    """An IMailStore that can be looked after while it is in use: what `mailkit store`, `fsck` and `backup` ask for."""

    async def compact() -> Findings:
        """Give back now the room of what nobody refers to any more and whose grace time is over. Never in the way of
        a reader. Raises Unavailable."""

    async def backup(directory: Path) -> Findings:
        """Make `directory` a copy of the store as it is at one moment, while mail goes in and out; durable when this
        returns. A directory that holds an earlier backup of this store is brought up to date, and only what is new is
        copied. `problems`: messages that are damaged, one line each; all else is in the copy. Raises Unavailable,
        OverQuota (the disk is full), ConfigurationError (the directory is something else).
        """

    async def check() -> Findings:
        """Read everything, and hold it against its checksums and against itself; change nothing."""


# --- maildrops that are no accounts: POP3 only ----------------------------------------------------------------------


class IMaildropStore(IMailStore):
    """An IMailStore that has maildrops and nothing else: POP3 is served from it, IMAP is not, and mail is not delivered
    into it. What its `open_account` gives is an IMaildropAccount; none is ever made by us."""


class IMaildropAccount(Interface):
    """What an IMaildropStore has of one owner."""

    name: str = Attribute("The account's name.")

    async def open_maildrop() -> IMaildrop:
        """The maildrop as it is now. Raises AccountNotFound, AuthenticationFailed, Unavailable."""


class IMaildrop(Interface):
    """A mailbox as one POP3 session sees it (RFC 1939 3-6): a snapshot, whose messages have the numbers 1, 2, 3 …; and
    marks of what is to be deleted. Losing it deletes nothing."""

    count: int = Attribute("Messages that are not marked.")
    total: int = Attribute("Octets of all messages that are not marked.")
    removes_all_or_nothing: bool = Attribute("Where `update` raises, all messages are still there.")

    def has(number: int) -> bool:
        """There is such a message, and it is not marked."""

    def numbers() -> Iterator[int]:
        """Of all messages that are not marked, ascending."""

    def size(number: int) -> int:
        """Octets, as LIST tells them."""

    async def know_unique_ids(numbers: Iterable[int]) -> None:
        """Asked before `unique_id` is, for these numbers."""

    def unique_id(number: int) -> str:
        """RFC 1939 7: 1-70 characters from ``!`` to ``~``, the same in every session, never another message's."""

    async def open_message(number: int) -> IMaildropMessage:
        """Begin to read a message. Raises MessageNotFound where somebody else has removed it."""

    def was_retrieved(number: int) -> None:
        """The client has the whole message."""

    def mark(number: int) -> None:
        """Delete it in `update`."""

    def unmark_all() -> None:
        """Delete nothing, after all."""

    async def update() -> int:
        """Remove what is marked, durably. Gives how many were marked."""

    async def mark_seen() -> int:
        """Note which messages were retrieved and stay, for those who see them otherwise. Gives how many."""

    def close() -> None:
        """The session is over, with or without `update`. Never raises."""


class IMaildropMessage(Interface):
    """One message of a maildrop, being read."""

    async def read(size: int) -> bytes:
        """The next octets, `size` or some more or fewer; b"" at the end. Lines end in CR LF."""

    def close() -> None:
        """It is not read any further."""


# --- accounts and authentication -----------------------------------------------------------------------------------


class IAccounts(Interface):
    """Who has which address. Asked at RCPT TO for every address in one of our own domains."""

    async def lookup(address: Address) -> Destination | None:
        """Local (an account), Alias (other addresses), or None: nobody has it, which is told to senders for good. An
        alias of an account that gets a copy too says so by `keep`, not among its targets. Raises Unavailable."""

    async def may_send_as(account: str, sender: Address) -> bool:
        """Whether mail of that account may carry this address as its return path, or in From."""


class IPasswords(Interface):
    """Where `mailkit user` keeps who may log in: what the bundled `passwords` plugin provides."""

    async def set_password(user: str, password: str) -> None:
        """Make the user, or change the password. Raises BadSyntax for a name or password that cannot be."""

    async def remove_user(user: str) -> None:
        """Raises AccountNotFound."""

    async def user_names() -> Sequence[str]:
        """All of them, ascending."""


class IAuthenticator(Interface):
    """The doorkeeper that SMTP, IMAP and POP3 sessions ask; made by us around twisted.cred. Plugins provide cred's
    `ICredentialsChecker`."""

    def mechanisms(peer: Peer) -> Sequence[str]:
        """SASL mechanisms for this connection, strongest first; empty where a password would go in clear text."""

    def begin(mechanism: str, peer: Peer) -> ISASLExchange:
        """Raises MechanismNotSupported."""

    async def login(user: str, password: str, peer: Peer) -> IAccount:
        """POP3's USER and PASS, IMAP's LOGIN. Raises AuthenticationFailed (later, the more often it failed),
        TooManyLogins, Unavailable."""


class ISASLExchange(Interface):
    """One SASL exchange, server side (RFC 4422)."""

    async def respond(response: bytes | None) -> bytes | IAccount:
        """Take the client's next response, decoded from base64; None: it sent no initial response.

        Answers a challenge (octets, to be base64-encoded), or the account: done, and the client has been told all it
        has to be told. Raises AuthenticationFailed, BadSyntax, TooManyLogins, Unavailable; the exchange is over then.
        """


# --- delivery: where messages go -----------------------------------------------------------------------------------


class IDeliveryTarget(Interface):
    """Something that takes messages: the pipeline, the local store, the queue, a relay, a Python function."""

    async def begin(envelope: Envelope) -> IDelivery:
        """Open a transaction for one message. Raises Refused or TryLater: the sender is not welcome."""


class IDelivery(Interface):
    """One message on its way into a target. Recipients first, then the octets, then commit or abort."""

    async def add_recipient(recipient: Recipient) -> None:
        """Raises Refused or TryLater: not this recipient; the others stay."""

    async def write(octets: bytes) -> None:
        """The message's next octets: header section and body, lines ended by CR LF (any octets with BINARYMIME),
        without dot-stuffing. Returns when it can take more. Raises Refused or TryLater: not this message."""

    async def commit() -> Sequence[Outcome]:
        """The message is whole: one outcome for each recipient that was added, in that order.

        Delivered means durable. Raises Refused or TryLater: the message, for all of them."""

    async def abort() -> None:
        """Forget it; nothing was delivered. May be said at any time, more than once; after `commit` it does nothing.

        Said after a call that was cancelled, too: a `commit` in whose middle that was has delivered the message whole,
        or not at all. A delivery that is lost without a word is in nobody's way."""


class IReception(IDeliveryTarget):
    """A delivery target that also wants to know of connections: what an SMTP listener is given."""

    async def connected(peer: Peer) -> None:
        """Before the greeting. Raises Refused (554) or TryLater (421)."""

    async def greeted(peer: Peer) -> None:
        """After HELO or EHLO, with `peer.name`. Raises Refused or TryLater."""


class ICheck(Interface):
    """One question asked of mail on its way in. Every method raises Refused or TryLater, or returns; a check has only
    to provide those that it cares about when it inherits `twisted_mail_kit.checks.Check`."""

    name: str = Attribute("What the log calls it.")

    async def connected(peer: Peer) -> None:
        """A connection, before the greeting."""

    async def greeted(peer: Peer) -> None:
        """After HELO or EHLO."""

    async def sender(envelope: Envelope) -> None:
        """After MAIL FROM."""

    async def recipient(envelope: Envelope, recipient: Recipient, destination: Destination | None) -> None:
        """After RCPT TO; `destination` is None for an address that is not ours."""

    async def message(envelope: Envelope, recipients: Sequence[Recipient], message: IReceivedMessage) -> bytes | None:
        """At the end of data. Answers header fields to put on top, whole lines ended by CR LF, 64 KB at most; or
        nothing. Steps before it may be missing: those of a session that began before a reload."""


class IReceivedMessage(Interface):
    """A message that is being received, as checks see it."""

    size: int = Attribute("Octets.")
    headers: object = Attribute("The header section, a `twisted_mail_kit.mail.headers.Headers`.")

    async def read(offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`, without the trace fields that we put on top."""


# --- the way out: what the queue stands on --------------------------------------------------------------------------


class ISpool(Interface):
    """What the queue keeps between attempts, durably. Several processes, or hosts, may share one: leases see to it that
    each recipient is tried by one of them at a time."""

    def new_blob(size_hint: int | None = None) -> IBlobWriter:
        """Begin to keep a message's octets; as IAccount's."""

    async def read_blob(blob_id: str, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`; b"" at the end. Raises BlobNotFound."""

    async def add(
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        owner: str = "",
        until: float = 0.0,
        events: Sequence[TraceEvent] = (),
    ) -> None:
        """Take a message over: durable, octets too, when this returns. With `owner` it is leased at once until then,
        for a first attempt straight from memory. `events` go to the timeline. Adding a message id that is there
        already does nothing."""

    async def lease(
        owner: str, now: float, until: float, limit: int = 100, busy: Sequence[str] = ()
    ) -> Sequence[Lease]:
        """Take at most `limit` pieces of work that are due at `now`, not held, and not leased by somebody else whose
        time is not over; none for the destinations in `busy`. In turn between destinations, oldest first in each, so
        that ten thousand for one do not hold up another."""

    async def renew(owner: str, until: float) -> None:
        """All leases of that owner hold until then."""

    async def settle(settled: Sequence[Settled], events: Sequence[TraceEvent] = ()) -> None:
        """Write down what became of leased recipients, durably, and end their leases. A message whose last recipient
        leaves goes, with its octets."""

    async def next_due() -> float | None:
        """When the next unleased, unheld recipient is due, or the next lease runs out; None: nothing waits."""

    async def messages(after: str = "", limit: int = 100) -> Sequence[tuple[QueuedMessage, Sequence[QueuedRecipient]]]:
        """What is queued, ascending by message id, from after that id."""

    async def change(
        message_id: str,
        next_try: float | None = None,
        is_held: bool | None = None,
        numbers: Sequence[int] | None = None,
    ) -> int:
        """Change when recipients of a message (those numbers, or all) are tried, or hold and release them. Answers how
        many were changed."""

    async def remove(message_id: str, numbers: Sequence[int] | None = None) -> int:
        """Take recipients (or the whole message) out of the queue, without a bounce. Answers how many there were."""

    async def trace(trace_id: str) -> Sequence[TraceEvent]:
        """The timeline of a message, also when it is no longer queued: kept for a week at least."""

    async def record(events: Sequence[TraceEvent]) -> None:
        """Add to timelines. Durable with the next `settle` at the latest."""

    async def close() -> None:
        """Finish what was begun. Leases of this process end by time, or by `lease` under the same owner."""


class ISpoolCounts(Interface):
    """An ISpool that can count what is in it without going through all of it: its numbers are asked for by monitors,
    every few seconds."""

    async def counts(now: float) -> SpoolCounts:
        """How much is queued at `now`, seconds since 1970 UTC."""


class IOutgoing(IDeliveryTarget):
    """A delivery target with a life of its own: what `MailKit` starts after its ports are open, and stops before its
    store is closed."""

    def start(bounces: IDeliveryTarget) -> None:
        """Begin to make attempts; reports to senders go to `bounces`."""

    async def stop(seconds: float) -> None:
        """Begin nothing new; come to an end within so many seconds."""


class IDestinations(Interface):
    """A delivery target that knows better than "the domain" where recipients go: a smarthost is one destination."""

    def destination_of(recipient: Recipient) -> str:
        """What attempts for this recipient are grouped, and limited, by."""


class IResolver(Interface):
    """DNS, as the relay asks it."""

    async def lookup(name: str, kind: str) -> Answer:
        """The records of that name (A-labels, no dot at the end) and kind (``MX A AAAA TXT TLSA CNAME …``), CNAMEs
        followed. A name that is not there, or has none of the kind, is an Answer without records. Raises
        ResolutionFailed: no answer, or none that can be trusted; try later."""


# --- plugins -------------------------------------------------------------------------------------------------------


class IMailPlugin(Interface):
    """What a dropin in ``twisted/plugins`` announces. Make one with `twisted_mail_kit.plugin.Plugin`."""

    kind: str = Attribute("store, auth, accounts, check, delivery or spool.")
    name: str = Attribute("What the configuration calls it.")
    description: str = Attribute("One line for `mailkit plugin list`.")

    def load() -> Callable[..., object]:
        """Import and return the factory; called as ``factory(options, context)``. See `twisted_mail_kit.plugin`."""


__all__ = [
    "UNSET",
    "Add",
    "Added",
    "Address",
    "Alias",
    "Answer",
    "Applied",
    "Changes",
    "Copied",
    "Copy",
    "CreateMailbox",
    "Delayed",
    "DeleteMailbox",
    "Delivered",
    "Destination",
    "Envelope",
    "Failed",
    "Findings",
    "FlagsSet",
    "IAccount",
    "IAccountList",
    "IAccounts",
    "IAuthenticator",
    "IBlobWriter",
    "IChangeHints",
    "ICheck",
    "IDelivery",
    "IDeliveryTarget",
    "IDestinations",
    "IListing",
    "IMailPlugin",
    "IMailStore",
    "IMaildrop",
    "IMaildropAccount",
    "IMaildropMessage",
    "IMaildropStore",
    "IMaintenance",
    "IOutgoing",
    "IPasswords",
    "IReadElsewhere",
    "IReadMany",
    "IReceivedMessage",
    "IReception",
    "IResolver",
    "ISASLExchange",
    "ISharedBlobs",
    "ISpool",
    "ISpoolCounts",
    "Lease",
    "Listing",
    "ListingSince",
    "Local",
    "Mailbox",
    "Message",
    "Move",
    "Operation",
    "Outcome",
    "Peer",
    "QueuedMessage",
    "QueuedRecipient",
    "Recipient",
    "Removal",
    "Remove",
    "Removed",
    "SetFlags",
    "Settled",
    "SpoolCounts",
    "Status",
    "TraceEvent",
    "UpdateMailbox",
]
