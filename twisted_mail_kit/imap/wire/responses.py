"""Response octets: lines and pieces of lines, whole and safe to send."""

from __future__ import annotations

import re
import time
from binascii import b2a_base64
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from twisted_mail_kit.imap.wire.commands import Path
from twisted_mail_kit.imap.wire.mailboxname import SEPARATOR, path_to_wire
from twisted_mail_kit.imap.wire.sequence import format_set

# Nothing here trusts its caller to be free of CR, LF and NUL: what comes from a store, a message or another client
# goes into a line as an atom, a quoted string or a literal, or is left out. Only arguments called "octets" and
# "pieces" of the lines are taken as they are.

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_FLAG = re.compile(r"\\?[^\x00-\x20\x7f-\U0010ffff(){%*\"\\\]]+")
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_LONGEST_QUOTED = 1000

# --- strings -------------------------------------------------------------------------------------------------------


def quoted(octets: bytes) -> bytes:
    """A quoted string; `octets` must have no CR, LF or NUL."""
    if b"\\" in octets or b'"' in octets:
        octets = octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % octets


def string(octets: bytes) -> bytes:
    """Quoted where it can be, else a literal. NUL, which no string may have, is told as ``?``."""
    if len(octets) <= _LONGEST_QUOTED and _QUOTABLE.fullmatch(octets):
        return quoted(octets)
    return b"{%d}\r\n%b" % (len(octets), octets.replace(b"\0", b"?"))


def nstring(octets: bytes | None) -> bytes:
    """`string`, or NIL."""
    return b"NIL" if octets is None else string(octets)


def astring(octets: bytes) -> bytes:
    """An atom where it can be, else `string`. ``NIL`` is quoted: some clients would take it for nothing."""
    if _ATOM.fullmatch(octets) and octets.upper() != b"NIL":
        return octets
    return string(octets)


def mailbox(path: Path, utf8: bool = False) -> bytes:
    """A mailbox name, ready to be sent."""
    octets = path_to_wire(path, utf8)
    if utf8 and not octets.isascii():
        return quoted(octets)  # RFC 6855 3: UTF-8 in quoted strings, once the client has enabled it
    return astring(octets)


@lru_cache(maxsize=128)
def sanitise(text: str) -> bytes:
    """RFC 3501 resp-text for a person: printable ASCII in one line, never empty, never taken for a response code."""
    text = _UNPRINTABLE.sub("?", text) or "-"
    if text[0] == "[":
        text = "(" + text[1:]
    return text.encode("ascii")


# --- status responses ----------------------------------------------------------------------------------------------


def condition(tag: bytes | None, status: bytes, text: str, code: bytes = b"") -> bytes:
    """``tag OK [code] text``; no tag is ``*``. `status` is OK, NO, BAD, BYE or PREAUTH; `code` has no brackets."""
    if code:
        return b"%b %b [%b] %b\r\n" % (tag or b"*", status, code, sanitise(text))
    return b"%b %b %b\r\n" % (tag or b"*", status, sanitise(text))


def ok(tag: bytes | None, text: str, code: bytes = b"") -> bytes:
    """``tag OK [code] text``"""
    return condition(tag, b"OK", text, code)


def no(tag: bytes | None, text: str, code: bytes = b"") -> bytes:
    """``tag NO [code] text``"""
    return condition(tag, b"NO", text, code)


def bad(tag: bytes | None, text: str, code: bytes = b"") -> bytes:
    """``tag BAD [code] text``"""
    return condition(tag, b"BAD", text, code)


def bye(text: str, code: bytes = b"") -> bytes:
    """``* BYE [code] text``"""
    return condition(None, b"BYE", text, code)


def continuation(text: str = "Ready") -> bytes:
    """``+ text``"""
    return b"+ %b\r\n" % sanitise(text)


def challenge(octets: bytes) -> bytes:
    """``+ base64``: a SASL challenge."""
    return b"+ %b\r\n" % b2a_base64(octets, newline=False)


# --- response codes, without brackets ------------------------------------------------------------------------------


def appenduid(uidvalidity: int, uids: Sequence[int]) -> bytes:
    """``APPENDUID 38505 3955`` (RFC 4315)."""
    return b"APPENDUID %d %b" % (uidvalidity, format_set(uids))


def copyuid(uidvalidity: int, *pieces: tuple[bytes, bytes]) -> bytes:
    """``COPYUID 38505 304,319:320 3956:3958``, of pieces that `copied_sets` has made; b"" where nothing was copied
    (RFC 4315)."""
    there, here = [[piece[at] for piece in pieces if piece[at]] for at in (0, 1)]
    return b"COPYUID %d %b %b" % (uidvalidity, b",".join(there), b",".join(here)) if there else b""


def copied_sets(pairs: Sequence[tuple[int, int]]) -> tuple[bytes, bytes]:
    """``304,319:320`` and ``3956:3958``: what was copied, and what it is there."""
    return format_set(uid for uid, _ in pairs), format_set(uid for _, uid in pairs)


def modified(numbers: Sequence[int]) -> bytes:
    """``MODIFIED 7,9`` (RFC 7162 3.1.3)."""
    return b"MODIFIED %b" % format_set(numbers)


def permanent_flags(flags: Collection[str], more: bool) -> bytes:
    r"""``PERMANENTFLAGS (\Seen \*)``; `more`: clients may make keywords."""
    listed = flag_list(flags)
    if more:
        listed = b"(\\*)" if listed == b"()" else listed[:-1] + b" \\*)"
    return b"PERMANENTFLAGS " + listed


def capability(names: Iterable[str]) -> bytes:
    """``CAPABILITY IMAP4rev1 …``: a response code, and what `untagged` takes."""
    return b"CAPABILITY " + " ".join(names).encode("ascii")


# --- untagged responses --------------------------------------------------------------------------------------------


def untagged(octets: bytes) -> bytes:
    """``* octets``; the octets are sent as they are."""
    return b"* %b\r\n" % octets


def enabled(names: Iterable[str]) -> bytes:
    """``* ENABLED …``"""
    return b"* %b\r\n" % b" ".join([b"ENABLED", *(name.encode("ascii") for name in names)])


def exists(count: int) -> bytes:
    """``* n EXISTS``"""
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """``* n RECENT``"""
    return b"* %d RECENT\r\n" % count


def expunge(number: int) -> bytes:
    """``* n EXPUNGE``"""
    return b"* %d EXPUNGE\r\n" % number


def flags_line(flags: Collection[str]) -> bytes:
    """``* FLAGS (…)``"""
    return b"* FLAGS %b\r\n" % flag_list(flags)


def list_line(
    attributes: Iterable[str], path: Path, *, verb: bytes = b"LIST", utf8: bool = False, extended: bytes = b""
) -> bytes:
    r"""``* LIST (\HasNoChildren) "/" name``; `extended`: ready octets that follow, ``("CHILDINFO" ("SUBSCRIBED"))``."""
    name = mailbox(path, utf8)
    if extended:
        name = b"%b %b" % (name, extended)
    return b'* %b (%b) "%b" %b\r\n' % (verb, " ".join(attributes).encode("ascii"), SEPARATOR.encode("ascii"), name)


def separator_line(verb: bytes = b"LIST") -> bytes:
    r"""``* LIST (\Noselect) "/" ""``: the answer to an empty pattern (RFC 3501 6.3.8)."""
    return b'* %b (\\Noselect) "%b" ""\r\n' % (verb, SEPARATOR.encode("ascii"))


def status_line(path: Path, items: Iterable[tuple[str, int]], utf8: bool = False) -> bytes:
    """``* STATUS name (MESSAGES 3 UNSEEN 1)``"""
    listed = " ".join([f"{name} {value}" for name, value in items]).encode("ascii")
    return b"* STATUS %b (%b)\r\n" % (mailbox(path, utf8), listed)


def search_numbers(numbers: Sequence[int]) -> bytes:
    """`` 2 3``: they follow ``* SEARCH``, in as many pieces as there are."""
    return b"".join([b" %d" % number for number in numbers])


def search_end(modseq: int) -> bytes:
    """The end of a ``* SEARCH 2 3 (MODSEQ 9)``; RFC 7162 3.1.5: where nothing was found, 0, the modseq is left out."""
    return b" (MODSEQ %d)\r\n" % modseq if modseq else b"\r\n"


def id_line(fields: Iterable[tuple[bytes, bytes | None]] | None) -> bytes:
    """``* ID ("name" "twisted_mail_kit")``, or NIL (RFC 2971)."""
    if fields is None:
        return b"* ID NIL\r\n"
    return b"* ID (%b)\r\n" % b" ".join([b"%b %b" % (string(name), nstring(value)) for name, value in fields])


# --- FETCH ---------------------------------------------------------------------------------------------------------


def fetch_line(number: int, pieces: Iterable[bytes]) -> bytes:
    """``* n FETCH (piece piece …)``; the pieces are sent as they are."""
    return b"* %d FETCH (%b)\r\n" % (number, b" ".join(pieces))


def flag_list(flags: Collection[str]) -> bytes:
    r"""``(\Answered \Seen $Forwarded)``: system flags first, then keywords, each ascending. Quick for frozensets.

    What is no flag that could be sent is left out.
    """
    return _flag_list(flags if isinstance(flags, frozenset) else frozenset(flags))


@lru_cache(maxsize=4096)
def _flag_list(flags: frozenset[str]) -> bytes:
    fit = sorted(filter(_FLAG.fullmatch, flags), key=lambda flag: (flag[0] != "\\", flag))
    return b"(%b)" % " ".join(fit).encode("ascii")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def internal_date(seconds: int) -> bytes:
    """``"17-Jul-1996 02:44:25 +0000"`` with its quotes."""
    days, second = divmod(seconds, 86400)
    return b'"%b %02d:%02d:%02d +0000"' % (_day(days), second // 3600, second // 60 % 60, second % 60)


@lru_cache(maxsize=4096)
def _day(days: int) -> bytes:
    # Four digits of a year is all that the syntax has.
    day = time.gmtime(min(max(days, -719162), 2932896) * 86400)
    return b"%2d-%b-%04d" % (day.tm_mday, _MONTHS[day.tm_mon - 1].encode("ascii"), day.tm_year)


def literal_head(label: bytes, size: int) -> bytes:
    """``BODY[TEXT] {size}`` CR LF: the octets follow, streamed."""
    return b"%b {%d}\r\n" % (label, size)
