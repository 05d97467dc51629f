"""The words of RFC 3501's grammar, read one after the other from one whole command."""

from __future__ import annotations

import re
from datetime import date
from typing import NoReturn

from twisted_mail_kit.imap.wire.commands import Path, Ranges
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.mailboxname import BadName, path_from_wire, text_from_wire
from twisted_mail_kit.imap.wire.sequence import GREATEST_NUMBER, TooManyRanges, parse_set

GREATEST_MODSEQ = 2**63 - 1
"""RFC 7162: mod-sequences have 63 bits."""

SPECIAL = rb"\x00-\x20\x7f-\xff(){%*\"\\"
_TAG = re.compile(rb"[^%b+]++" % SPECIAL)
_ATOM = re.compile(rb"[^%b\]]++" % SPECIAL)
_ASTRING = re.compile(rb"[^%b]++" % SPECIAL)
_LIST_MAILBOX = re.compile(rb"[^\x00-\x20\x7f-\xff(){\"\\]++")
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*+(?:\\["\\][^"\\\r\n\x00]*+)*+)"')
_ESCAPED = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"\{([0-9]{1,10}+)\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,20}+")
_SET = re.compile(rb"[0-9*:,]++")
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')

MONTHS = {
    name: number
    for number, name in enumerate(
        (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"), 1
    )
}
_EPOCH = date(1970, 1, 1).toordinal()


class Bad(Exception):
    """What was read is not what has to stand there. The text goes to the client; `limit` is which of WireLimits was
    reached, by its name there, where it was one."""

    def __init__(self, text: str, code: bytes = b"", status: bytes = b"BAD", *, limit: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.status = status
        self.limit = limit


def read_tag(octets: bytes) -> bytes | None:
    """The tag at the start of a command's first line, or None where there is none that is valid and ends there."""
    found = _TAG.match(octets)
    if found is None or octets[found.end() : found.end() + 1] not in (b" ", b"\r", b"\n"):
        return None
    return found[0]


class Reader:
    """One whole command: its lines with the literals in them, without the last CR LF.

    Each method reads one thing and raises Bad where another stands there. Nothing is read twice.
    """

    __slots__ = ("limits", "octets", "position", "utf8")

    def __init__(self, octets: bytes, limits: WireLimits, utf8: bool = False) -> None:
        self.octets = octets
        self.limits = limits
        self.utf8 = utf8
        self.position = 0

    # --- marks -----------------------------------------------------------------------------------------------------

    def at_end(self) -> bool:
        """Nothing is left."""
        return self.position == len(self.octets)

    def peek(self) -> bytes:
        """The next octet; b"" at the end."""
        return self.octets[self.position : self.position + 1]

    def take(self, mark: bytes) -> bool:
        """Pass over `mark` where it stands here."""
        if self.octets.startswith(mark, self.position):
            self.position += len(mark)
            return True
        return False

    def expect(self, mark: bytes, text: str) -> None:
        """Pass over `mark`, or raise Bad with `text`."""
        if not self.take(mark):
            raise Bad(text)

    def space(self) -> None:
        """Exactly one; a second one is in nobody's grammar and fails what is read next."""
        if not self.take(b" "):
            raise Bad("Arguments are missing" if self.at_end() else "A space is missing")

    def end(self) -> None:
        """The command ends here."""
        if not self.at_end():
            raise Bad("There is more than the command takes")

    # --- words -----------------------------------------------------------------------------------------------------

    def match(self, pattern: re.Pattern[bytes], text: str) -> re.Match[bytes]:
        """Pass over `pattern`, or raise Bad with `text`."""
        found = pattern.match(self.octets, self.position)
        if found is None:
            raise Bad(text)
        self.position = found.end()
        return found

    def tag(self) -> bytes:
        """RFC 3501 tag."""
        return self.match(_TAG, "A command begins with a tag")[0]

    def atom(self) -> bytes:
        """RFC 3501 atom."""
        return self.match(_ATOM, "An atom is missing")[0]

    def keyword(self) -> str:
        """An atom that means something, in upper case."""
        return self.match(_ATOM, "A word is missing")[0].upper().decode("ascii")

    def string(self) -> bytes:
        """RFC 3501 string: quoted or literal.

        Quoted strings may hold UTF-8 (RFC 6855 and 9051 have it so, and clients send it in names and passwords); who
        cannot use it there refuses it.
        """
        first = self.peek()
        if first == b'"':
            octets = self.match(_QUOTED, "A quoted string is not ended, or has CR, LF, NUL or a stray backslash")[1]
            if b"\\" in octets:
                octets = _ESCAPED.sub(rb"\1", octets)
            if not octets.isascii():
                self._check_utf8(octets)
            return octets
        if first == b"{":
            size = int(self.match(_LITERAL, "A literal is malformed")[1])
            start = self.position
            self.position += size
            octets = self.octets[start : self.position]
            if len(octets) != size:
                raise Bad("A literal is malformed")
            if b"\0" in octets:
                raise Bad("A literal has NUL in it")
            return octets
        raise Bad("A string is missing")

    def nstring(self) -> bytes | None:
        """RFC 3501 nstring."""
        if self.peek() in (b'"', b"{"):
            return self.string()
        if self.keyword() != "NIL":
            raise Bad("A string is missing")
        return None

    def astring(self) -> bytes:
        """RFC 3501 astring."""
        if self.peek() in (b'"', b"{"):
            return self.string()
        return self.match(_ASTRING, "A string is missing")[0]

    def number(self, greatest: int = GREATEST_NUMBER) -> int:
        """RFC 3501 number: 32 bits, where not told otherwise."""
        number = int(self.match(_NUMBER, "A number is missing")[0])
        if number > greatest:
            raise Bad("A number is too great")
        return number

    def modseq(self) -> int:
        """RFC 7162 mod-sequence-valzer."""
        return self.number(GREATEST_MODSEQ)

    # --- things ----------------------------------------------------------------------------------------------------

    def sequence_set(self) -> Ranges:
        """RFC 3501 sequence-set."""
        octets = self.match(_SET, "A set of numbers is missing")[0]
        try:
            return parse_set(octets, self.limits.set_ranges)
        except TooManyRanges as problem:
            raise Bad(str(problem), b"LIMIT", limit="set_ranges") from None
        except ValueError as problem:
            raise Bad(str(problem)) from None

    def mailbox(self, new: bool = False) -> Path:
        """RFC 3501 mailbox; `new`: of CREATE, a separator at the end says that more will be made below (6.3.3)."""
        octets = self.astring()
        if new and len(octets) > 1:
            octets = octets.removesuffix(b"/")
        try:
            return path_from_wire(octets, self.utf8)
        except BadName as problem:
            self._refuse_name(problem)

    def reference(self) -> str:
        """LIST's first argument."""
        try:
            return text_from_wire(self.astring(), self.utf8)
        except BadName as problem:
            self._refuse_name(problem)

    def list_mailbox(self) -> str:
        """RFC 3501 list-mailbox: a mailbox name with wildcards."""
        if self.peek() in (b'"', b"{"):
            octets = self.string()
        else:
            octets = self.match(_LIST_MAILBOX, "A pattern is missing")[0]
        try:
            return text_from_wire(octets, self.utf8)
        except BadName as problem:
            self._refuse_name(problem)

    def flag(self) -> bytes:
        r"""RFC 3501 flag, system flag or keyword; which of them there are, the session knows. ``\*`` is none."""
        backslash = b"\\" if self.take(b"\\") else b""
        return backslash + self.match(_ATOM, "A flag is missing")[0]

    def flag_list(self) -> tuple[bytes, ...]:
        """RFC 3501 flag-list, perhaps empty."""
        self.expect(b"(", "A list of flags is missing")
        flags: list[bytes] = []
        while not self.take(b")"):
            if flags:
                self.space()
            flags.append(self.flag())
        return tuple(flags)

    def keyword_list(self) -> list[str]:
        """``(WORD WORD …)``, at least one."""
        self.expect(b"(", "A parenthesis is missing")
        words = [self.keyword()]
        while not self.take(b")"):
            self.space()
            words.append(self.keyword())
        return words

    def day(self) -> int:
        """RFC 3501 date, quoted or not, as days since 1970-01-01."""
        found = self.match(_DATE, "A date is missing")
        try:
            return date(int(found[4]), MONTHS[found[3].upper()], int(found[2])).toordinal() - _EPOCH
        except (ValueError, KeyError):
            raise Bad("There is no such date") from None

    # --- inside ----------------------------------------------------------------------------------------------------

    def _check_utf8(self, octets: bytes) -> None:
        try:
            octets.decode("utf-8")
        except UnicodeError:
            raise Bad("A quoted string is neither ASCII nor UTF-8") from None

    def _refuse_name(self, problem: BadName) -> NoReturn:
        # RFC 5530 CANNOT: the syntax is right, but no mailbox will ever have that name.
        raise Bad(str(problem), b"CANNOT", b"NO") from None
