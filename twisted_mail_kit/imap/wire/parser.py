"""One whole command's octets to its value: every command that there is."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

from twisted_mail_kit.imap.wire.changes import read_change, read_modifier
from twisted_mail_kit.imap.wire.commands import (
    Attribute,
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    Copy,
    Create,
    Delete,
    Enable,
    Expunge,
    Fetch,
    Id,
    Idle,
    Login,
    Logout,
    Namespace,
    Noop,
    Path,
    Rename,
    Search,
    Select,
    StartTls,
    Status,
    Store,
    Subscribe,
)
from twisted_mail_kit.imap.wire.fetchitems import read_fetch_items
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.listing import read_list, read_status_items
from twisted_mail_kit.imap.wire.reader import Bad, Reader
from twisted_mail_kit.imap.wire.searchkeys import read_search_program
from twisted_mail_kit.imap.wire.usual import read_usual, with_uid
from twisted_mail_kit.mail.dates import parse_internal_date
from twisted_mail_kit.mail.flags import role_of_use, use_of_role

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

Grammar = Callable[[Reader, bytes], Command]
"""Reads what follows a command's name, not to the end of the line yet; is given the tag."""


def parse_command(octets: bytes, limits: WireLimits, utf8: bool = False) -> Command:
    """The command in `octets`: lines and literals, without the last CR LF. Raises Bad."""
    usual = read_usual(octets, limits, utf8)
    if usual is not None:
        return usual
    reader = Reader(octets, limits, utf8)
    tag = reader.tag()
    grammar = read_name(reader)
    if grammar is None:
        raise Bad("The message's literal is missing")
    command = grammar(reader, tag)
    reader.end()
    return command


def read_name(reader: Reader) -> Grammar | None:
    """What reads the rest of the command whose name stands here; None for APPEND. Raises Bad for unknown ones."""
    reader.expect(b" ", "A command has a tag, then a name")
    name = reader.keyword()
    if name == "APPEND":
        return None
    if name == "UID":
        reader.space()
        grammar = _UID_COMMANDS.get(reader.keyword())
    else:
        grammar = _COMMANDS.get(name)
    if grammar is None:
        raise Bad("Unknown command")
    return grammar


@dataclass(frozen=True, slots=True)
class AppendHead:
    """What stands before APPEND's message."""

    mailbox: Path
    flags: tuple[bytes, ...]
    internal_date: int | None


def parse_append_head(octets: bytes, limits: WireLimits, utf8: bool = False) -> AppendHead | None:
    """What stands before an announced literal of APPEND; None: that literal is the mailbox's name. Raises Bad."""
    reader = Reader(octets, limits, utf8)
    reader.tag()
    read_name(reader)
    reader.space()
    if reader.at_end():
        return None
    mailbox = reader.mailbox()
    reader.space()
    flags: tuple[bytes, ...] = ()
    internal_date = None
    if reader.peek() == b"(":
        flags = reader.flag_list()
        reader.space()
    if reader.peek() == b'"':
        try:
            internal_date = parse_internal_date(reader.string())
        except ValueError:
            raise Bad("The date is not of the form dd-Mon-yyyy hh:mm:ss +zzzz") from None
        reader.space()
    if not reader.at_end():
        raise Bad("The message's literal is missing")
    return AppendHead(mailbox, flags, internal_date)


def decode_base64(octets: bytes) -> bytes:
    """RFC 3501 base64, strictly. Raises Bad."""
    if _BASE64.fullmatch(octets) is None:
        raise Bad("That is not base64")
    return binascii.a2b_base64(octets)


# --- commands, in the order of RFC 3501 ----------------------------------------------------------------------------


def _id(reader: Reader, tag: bytes) -> Command:
    reader.space()
    if not reader.take(b"("):
        if reader.keyword() != "NIL":
            raise Bad("A list of fields is missing")
        return Id(tag, None)
    fields: list[tuple[bytes, bytes | None]] = []
    while not reader.take(b")"):
        if fields:
            reader.space()
        name = reader.string()
        reader.space()
        fields.append((name, reader.nstring()))
    return Id(tag, tuple(fields))


def _authenticate(reader: Reader, tag: bytes) -> Command:
    reader.space()
    mechanism = reader.keyword()
    initial = None
    if reader.take(b" "):
        octets = reader.octets[reader.position :]
        reader.position = len(reader.octets)
        # RFC 4959 3: "=" is an initial response of no octets.
        if not octets:
            raise Bad("An initial response is missing")
        initial = b"" if octets == b"=" else decode_base64(octets)
    return Authenticate(tag, mechanism, initial)


def _login(reader: Reader, tag: bytes) -> Command:
    reader.space()
    user = reader.astring()
    reader.space()
    return Login(tag, user, reader.astring())


def _enable(reader: Reader, tag: bytes) -> Command:
    reader.space()
    names = [reader.keyword()]
    while reader.take(b" "):
        names.append(reader.keyword())
    return Enable(tag, tuple(names))


def _select(read_only: bool) -> Grammar:
    def read(reader: Reader, tag: bytes) -> Command:
        reader.space()
        mailbox = reader.mailbox()
        condstore = False
        if reader.take(b" "):
            if reader.keyword_list() != ["CONDSTORE"]:
                raise Bad("Unknown parameter")
            condstore = True
        return Select(tag, mailbox, read_only, condstore)

    return read


def _create(reader: Reader, tag: bytes) -> Command:
    reader.space()
    mailbox = reader.mailbox(new=True)
    uses: list[str] = []
    if reader.take(b" "):
        reader.expect(b"(", "A parenthesis is missing")
        if reader.keyword() != "USE":
            raise Bad("Unknown parameter")
        reader.space()
        for flag in reader.flag_list():
            if not flag.startswith(b"\\"):
                raise Bad("A special use begins with a backslash")
            use = flag.decode("ascii")
            uses.append(use_of_role(role_of_use(use)) or use)
        reader.expect(b")", "A parenthesis is not closed")
    return Create(tag, mailbox, tuple(dict.fromkeys(uses)))


def _delete(reader: Reader, tag: bytes) -> Command:
    reader.space()
    return Delete(tag, reader.mailbox())


def _rename(reader: Reader, tag: bytes) -> Command:
    reader.space()
    mailbox = reader.mailbox()
    reader.space()
    return Rename(tag, mailbox, reader.mailbox(new=True))


def _subscribe(on: bool) -> Grammar:
    def read(reader: Reader, tag: bytes) -> Command:
        reader.space()
        return Subscribe(tag, reader.mailbox(), on)

    return read


def _status(reader: Reader, tag: bytes) -> Command:
    reader.space()
    mailbox = reader.mailbox()
    reader.space()
    return Status(tag, mailbox, read_status_items(reader))


def _uid_expunge(reader: Reader, tag: bytes) -> Command:
    reader.space()
    return Expunge(tag, reader.sequence_set())


def _search(by_uid: bool) -> Grammar:
    def read(reader: Reader, tag: bytes) -> Command:
        reader.space()
        return Search(tag, by_uid, read_search_program(reader))

    return read


def _fetch(by_uid: bool) -> Grammar:
    def read(reader: Reader, tag: bytes) -> Command:
        reader.space()
        messages = reader.sequence_set()
        reader.space()
        items = read_fetch_items(reader)
        changed_since = None
        if reader.take(b" "):
            changed_since = read_modifier(reader, "CHANGEDSINCE")
        if by_uid:
            items = with_uid(items)
        if changed_since is not None and Attribute("MODSEQ") not in items:
            items = (*items, Attribute("MODSEQ"))
        return Fetch(tag, by_uid, messages, items, changed_since)

    return read


def _store(by_uid: bool) -> Grammar:
    def read(reader: Reader, tag: bytes) -> Command:
        reader.space()
        messages = reader.sequence_set()
        reader.space()
        return Store(tag, by_uid, messages, *read_change(reader))

    return read


def _copy(by_uid: bool, move: bool) -> Grammar:
    def read(reader: Reader, tag: bytes) -> Command:
        reader.space()
        messages = reader.sequence_set()
        reader.space()
        return Copy(tag, by_uid, messages, reader.mailbox(), move)

    return read


_COMMANDS: dict[str, Grammar] = {
    "CAPABILITY": lambda reader, tag: Capability(tag),
    "NOOP": lambda reader, tag: Noop(tag),
    "LOGOUT": lambda reader, tag: Logout(tag),
    "ID": _id,
    "STARTTLS": lambda reader, tag: StartTls(tag),
    "AUTHENTICATE": _authenticate,
    "LOGIN": _login,
    "ENABLE": _enable,
    "SELECT": _select(read_only=False),
    "EXAMINE": _select(read_only=True),
    "CREATE": _create,
    "DELETE": _delete,
    "RENAME": _rename,
    "SUBSCRIBE": _subscribe(on=True),
    "UNSUBSCRIBE": _subscribe(on=False),
    "LIST": lambda reader, tag: read_list(reader, tag, lsub=False),
    "LSUB": lambda reader, tag: read_list(reader, tag, lsub=True),
    "NAMESPACE": lambda reader, tag: Namespace(tag),
    "STATUS": _status,
    "IDLE": lambda reader, tag: Idle(tag),
    "CHECK": lambda reader, tag: Check(tag),
    "CLOSE": lambda reader, tag: Close(tag, expunge=True),
    "UNSELECT": lambda reader, tag: Close(tag, expunge=False),
    "EXPUNGE": lambda reader, tag: Expunge(tag),
    "SEARCH": _search(by_uid=False),
    "FETCH": _fetch(by_uid=False),
    "STORE": _store(by_uid=False),
    "COPY": _copy(by_uid=False, move=False),
    "MOVE": _copy(by_uid=False, move=True),
}

_UID_COMMANDS: dict[str, Grammar] = {
    "EXPUNGE": _uid_expunge,
    "SEARCH": _search(by_uid=True),
    "FETCH": _fetch(by_uid=True),
    "STORE": _store(by_uid=True),
    "COPY": _copy(by_uid=True, move=False),
    "MOVE": _copy(by_uid=True, move=True),
}
