"""Octets from a POP3 client, turned into commands."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable

from twisted_mail_kit.net.inbox import NEED_DATA, Signal
from twisted_mail_kit.pop3.wire.commands import (
    Auth,
    Capa,
    Command,
    Dele,
    Event,
    Lang,
    List,
    Malformed,
    Noop,
    Pass,
    Quit,
    Response,
    Retr,
    Rset,
    Stat,
    Stls,
    TooLong,
    Top,
    Uidl,
    Unknown,
    User,
    Utf8,
)

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NUMBER = re.compile(rb"[0-9]{1,10}")
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}")  # RFC 4422 3.1
_RETRIEVE = re.compile(rb"[Rr][Ee][Tt][Rr] ([0-9]{1,10})\r?\n")
_RETRIEVES = re.compile(rb"(?:[Rr][Ee][Tt][Rr] [0-9]{1,10}\r?\n){1,128}")
_LANGUAGE = re.compile(rb"\*|[A-Za-z0-9-]{1,40}")


class POP3Wire:
    """The pure half of a POP3 session. A line ends with CR LF; a bare LF is taken for it too, a bare CR never.

    `line_limit` and `response_limit` count octets with the line's end: of a command (RFC 2449 4 asks for 255 at
    least), and of a response within AUTH, or AUTH itself, whose tokens are long. A longer line is thrown away as it
    comes, so it costs no memory.
    """

    def __init__(self, line_limit: int = 512, response_limit: int = 12288) -> None:
        self.line_limit = line_limit
        self.response_limit = response_limit
        self._buffer = bytearray()
        self._searched = 0
        self._is_overlong = False
        self._wants_response = False

    def receive(self, octets: bytes) -> None:
        """Take what came from the client."""
        self._buffer += octets

    def next_event(self) -> Event | Signal:
        """The next line's command, or NEED_DATA."""
        if not self._buffer:
            return NEED_DATA
        # Hot path: a client that takes one message after the other.
        found = None if self._is_overlong or self._wants_response else _RETRIEVE.match(self._buffer)
        if found is not None:
            number = int(found[1])
            del self._buffer[: found.end()]
            self._searched = 0
            return Retr(number)
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            if len(self._buffer) > self.response_limit:
                self._buffer.clear()
                self._is_overlong = True
            self._searched = len(self._buffer)
            return NEED_DATA
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        is_overlong, self._is_overlong = self._is_overlong, False
        wants_response, self._wants_response = self._wants_response, False
        is_response = wants_response or line[:5].upper() == b"AUTH "
        if is_overlong or end + 1 > (self.response_limit if is_response else self.line_limit):
            return TooLong()
        line = line.removesuffix(b"\r")
        return parse_response(line) if wants_response else parse_command(line)

    def more_retrieves(self) -> list[int]:
        """The numbers of the RETRs that come next, as far as they are here, a hundred or so at most; they are heard by
        this. Hot path: a client that asks for all messages at once. One that is written otherwise comes as an event."""
        if not self._buffer or self._is_overlong or self._wants_response:
            return []
        found = _RETRIEVES.match(self._buffer)
        if found is None:
            return []
        lines = found.group()
        del self._buffer[: len(lines)]
        self._searched = 0
        return list(map(int, _NUMBER.findall(lines)))

    def expect_response(self) -> None:
        """The next line is an answer to a SASL challenge, not a command."""
        self._wants_response = True

    def has_octets(self) -> bool:
        """Something was said that is not heard yet, be it half a line."""
        return bool(self._buffer)


def parse_response(line: bytes) -> Response | Malformed:
    """A line within AUTH."""
    if line == b"*":
        return Response(None)
    octets = _from_base64(line)
    return Malformed("This is not base64") if octets is None else Response(octets)


def parse_command(line: bytes) -> Command | Unknown | Malformed:
    """A line without its end. Verbs are in any case; PASS keeps its blanks."""
    if _CONTROL.search(line):
        return Malformed("Control characters cannot be in a command")
    verb, _, rest = line.partition(b" ")
    parse = _PARSERS.get(verb.upper())
    return Unknown() if parse is None else parse(rest)


def _bare(command: Command) -> Callable[[bytes], Command | Malformed]:
    return lambda rest: Malformed("There is nothing to be said after this command") if rest.strip() else command


def _user(rest: bytes) -> Command | Malformed:
    name = _text(rest.strip())
    return User(name) if name else Malformed("USER needs a name, in UTF-8")


def _pass(rest: bytes) -> Command | Malformed:
    # RFC 1939 7: blanks are part of the password, since PASS has one argument only.
    password = _text(rest)
    return Pass(password) if password else Malformed("PASS needs a password, in UTF-8")


def _auth(rest: bytes) -> Command | Malformed:
    words = rest.split()
    if not words:
        return Auth("")
    if len(words) > 2 or not _MECHANISM.fullmatch(words[0]):
        return Malformed("AUTH needs a mechanism, and at most one initial response")
    mechanism = words[0].decode("ascii").upper()
    if len(words) == 1:
        return Auth(mechanism)
    # RFC 5034 4: a single equals sign is an initial response that is empty.
    initial = b"" if words[1] == b"=" else _from_base64(words[1])
    return Malformed("The initial response is not base64") if initial is None else Auth(mechanism, initial)


def _numbered(make: Callable[[int], Command]) -> Callable[[bytes], Command | Malformed]:
    def parse(rest: bytes) -> Command | Malformed:
        numbers = _numbers(rest)
        return make(numbers[0]) if numbers and len(numbers) == 1 else Malformed("This needs a message number")

    return parse


def _numbered_or_all(make: Callable[[int | None], Command]) -> Callable[[bytes], Command | Malformed]:
    def parse(rest: bytes) -> Command | Malformed:
        numbers = _numbers(rest)
        if numbers is None or len(numbers) > 1:
            return Malformed("This takes a message number, or nothing")
        return make(numbers[0] if numbers else None)

    return parse


def _top(rest: bytes) -> Command | Malformed:
    numbers = _numbers(rest)
    if numbers is None or len(numbers) != 2:
        return Malformed("TOP needs a message number and how many lines")
    return Top(*numbers)


def _lang(rest: bytes) -> Command | Malformed:
    language = rest.strip()
    if language and not _LANGUAGE.fullmatch(language):
        return Malformed("This is no language tag")
    return Lang(language.decode("ascii").lower() or None)


def _numbers(rest: bytes) -> list[int] | None:
    words = rest.split()
    return [int(word) for word in words] if all(_NUMBER.fullmatch(word) for word in words) else None


def _text(octets: bytes) -> str | None:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _from_base64(octets: bytes) -> bytes | None:
    if len(octets) % 4:
        return None
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        return None


_PARSERS: dict[bytes, Callable[[bytes], Command | Malformed]] = {
    b"QUIT": _bare(Quit()),
    b"CAPA": _bare(Capa()),
    b"LANG": _lang,
    b"USER": _user,
    b"PASS": _pass,
    b"AUTH": _auth,
    b"STLS": _bare(Stls()),
    b"UTF8": _bare(Utf8()),
    b"STAT": _bare(Stat()),
    b"LIST": _numbered_or_all(List),
    b"RETR": _numbered(Retr),
    b"DELE": _numbered(Dele),
    b"NOOP": _bare(Noop()),
    b"RSET": _bare(Rset()),
    b"TOP": _top,
    b"UIDL": _numbered_or_all(Uidl),
}
