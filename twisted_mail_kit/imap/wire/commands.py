"""What an IMAP client can say, as values: the parser makes them, `imap/commands/` does them.

Text that IMAP leaves to the charset of the client (mailbox names, search strings) is decoded already: mailbox names
are paths of levels with ``/`` as the separator (modified UTF-7 or UTF-8 undone), ``INBOX`` in any case is spelled so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

STAR = 0
"""``*`` in a sequence set: the greatest number in use."""

Ranges = tuple[tuple[int, int], ...]
"""A sequence set as it was given: inclusive, `STAR` for ``*``, not ordered. ``3,5:*`` is ((3, 3), (5, STAR))."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """Every command has a tag; the octets of it are echoed as they are."""

    tag: bytes


# --- any state -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capability(Command):
    """RFC 3501 6.1.1."""


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """RFC 3501 6.1.2."""


@dataclass(frozen=True, slots=True)
class Logout(Command):
    """RFC 3501 6.1.3."""


@dataclass(frozen=True, slots=True)
class Id(Command):
    """RFC 2971. None for NIL, of the list or of a value."""

    fields: tuple[tuple[bytes, bytes | None], ...] | None


# --- not authenticated ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartTls(Command):
    """RFC 3501 6.2.1."""


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """RFC 3501 6.2.2; `initial` decoded from base64 (RFC 4959), None where there is none."""

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Login(Command):
    """RFC 3501 6.2.3."""

    user: bytes
    password: bytes


# --- authenticated -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """RFC 5161; upper case."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Select(Command):
    """SELECT, and EXAMINE with `read_only`. RFC 3501 6.3.1, 6.3.2; RFC 7162 3.1.8."""

    mailbox: Path
    read_only: bool
    condstore: bool = False


@dataclass(frozen=True, slots=True)
class Create(Command):
    """RFC 3501 6.3.3; RFC 6154 USE: special uses as ``\\Sent``. A trailing separator is left out of the path.

    Known uses are spelled as in RFC 6154, others as given.
    """

    mailbox: Path
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """RFC 3501 6.3.4."""

    mailbox: Path


@dataclass(frozen=True, slots=True)
class Rename(Command):
    """RFC 3501 6.3.5."""

    mailbox: Path
    new_name: Path


@dataclass(frozen=True, slots=True)
class Subscribe(Command):
    """SUBSCRIBE, or UNSUBSCRIBE where not `on`. RFC 3501 6.3.6, 6.3.7."""

    mailbox: Path
    on: bool


@dataclass(frozen=True, slots=True)
class List(Command):
    """LIST, and LSUB with `lsub`. RFC 3501 6.3.8; RFC 5258's options; RFC 6154."""

    reference: str
    patterns: tuple[str, ...]
    """Decoded, with ``*`` and ``%`` as wildcards."""
    lsub: bool = False
    select_options: tuple[str, ...] = ()
    return_options: tuple[str, ...] = ()
    return_status: tuple[str, ...] = ()
    is_extended: bool = False


@dataclass(frozen=True, slots=True)
class Namespace(Command):
    """RFC 2342."""


@dataclass(frozen=True, slots=True)
class Status(Command):
    """RFC 3501 6.3.10; items upper case: MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE …"""

    mailbox: Path
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Append(Command):
    """RFC 3501 6.3.11. The message's octets come after this value, as `Literal` events: see `wire/events.py`."""

    mailbox: Path
    flags: tuple[bytes, ...]
    internal_date: int | None
    """Seconds since 1970 UTC."""
    size: int
    """Octets that follow."""


@dataclass(frozen=True, slots=True)
class Idle(Command):
    """RFC 2177. The wire then gives `Done` when the client ends it."""


# --- selected ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check(Command):
    """RFC 3501 6.4.1."""


@dataclass(frozen=True, slots=True)
class Close(Command):
    """CLOSE, or UNSELECT (RFC 3691) where not `expunge`."""

    expunge: bool


@dataclass(frozen=True, slots=True)
class Expunge(Command):
    """EXPUNGE; UID EXPUNGE (RFC 4315) with `uids`."""

    uids: Ranges | None = None


@dataclass(frozen=True, slots=True)
class Search(Command):
    """RFC 3501 6.4.4; `program` is the implicit AND of its keys."""

    by_uid: bool
    program: SearchKey


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """RFC 3501 6.4.5; RFC 7162's CHANGEDSINCE. Macros are written out, no item is there twice.

    UID is in the items where `by_uid`, MODSEQ where `changed_since` (RFC 7162 3.1.4.1).
    """

    by_uid: bool
    messages: Ranges
    items: tuple[FetchItem, ...]
    changed_since: int | None = None


@dataclass(frozen=True, slots=True)
class Store(Command):
    """RFC 3501 6.4.6; RFC 7162's UNCHANGEDSINCE."""

    by_uid: bool
    messages: Ranges
    how: Literal["add", "remove", "replace"]
    flags: tuple[bytes, ...]
    silent: bool
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Copy(Command):
    """COPY; MOVE (RFC 6851) with `move`."""

    by_uid: bool
    messages: Ranges
    mailbox: Path
    move: bool = False


# --- parts of commands ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attribute:
    """A FETCH item without a section: FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE MODSEQ …"""

    name: str


@dataclass(frozen=True, slots=True)
class Section:
    """``BODY.PEEK[1.2.HEADER.FIELDS (SUBJECT)]<0.100>``. RFC822, RFC822.HEADER and RFC822.TEXT are sections too."""

    part: tuple[int, ...]
    """``1.2``; empty for the message itself."""
    text: str
    """``""``, ``HEADER``, ``HEADER.FIELDS``, ``HEADER.FIELDS.NOT``, ``TEXT`` or ``MIME``."""
    fields: tuple[bytes, ...] = ()
    """Header field names, as given."""
    peek: bool = False
    partial: tuple[int, int] | None = None
    """(offset, most octets)."""
    label: bytes = b""
    """What the response calls it: ``BODY[1.2.HEADER.FIELDS (SUBJECT)]<0>``, ``RFC822.TEXT``."""


FetchItem = Attribute | Section


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of two."""

    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class Not:
    """Not this one."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class HasFlag:
    r"""SEEN is ``\Seen``; KEYWORD too. UNSEEN is Not(HasFlag). RECENT is ``\Recent``, NEW is And(RECENT, UNSEEN)."""

    flag: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """A sequence set as a search key."""

    by_uid: bool
    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Header:
    """HEADER; BCC CC FROM SUBJECT TO too, with `name` lower-cased. Case-insensitive substring; "" asks for presence."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """TEXT; BODY where not `headers`. Case-insensitive substring, in decoded text."""

    text: str
    headers: bool


@dataclass(frozen=True, slots=True)
class Size:
    """LARGER and SMALLER: strictly."""

    octets: int
    larger: bool


@dataclass(frozen=True, slots=True)
class Date:
    """BEFORE ON SINCE SENTBEFORE SENTON SENTSINCE (and SAVED…), by calendar day without the time zone."""

    which: Literal["internal", "sent", "saved"]
    relation: Literal["before", "on", "since"]
    day: int
    """Days since 1970-01-01."""


@dataclass(frozen=True, slots=True)
class ModSeq:
    """RFC 7162: modseq at least this."""

    modseq: int


SearchKey = And | Or | Not | All | HasFlag | Numbers | Header | Text | Size | Date | ModSeq
