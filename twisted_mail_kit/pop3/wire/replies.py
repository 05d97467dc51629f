"""What a POP3 server says: status lines, challenges, and messages with their dots stuffed."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable

END = b".\r\n"
"""The end of a reply of several lines, RFC 1939 3."""

_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_HEADER_END = re.compile(rb"\n\r?\n")


def ok(text: str = "") -> bytes:
    """``+OK text``."""
    return b"+OK " + _clean(text) + b"\r\n" if text else b"+OK\r\n"


def err(text: str, code: str = "") -> bytes:
    """``-ERR [code] text``; the code as RFC 2449 8 and RFC 3206 have it: ``AUTH``, ``SYS/TEMP``."""
    return (
        b"-ERR [" + code.encode("ascii") + b"] " + _clean(text) + b"\r\n" if code else b"-ERR " + _clean(text) + b"\r\n"
    )


def challenge(octets: bytes) -> bytes:
    """``+ base64``: RFC 5034 4."""
    return b"+ " + binascii.b2a_base64(octets, newline=False) + b"\r\n"


def _clean(text: str) -> bytes:
    # RFC 2449 4: 512 octets a line, with the status, the code and the line's end.
    return _NOT_PRINTABLE.sub("?", text[:400]).encode("ascii")


class DotStuffer:
    """Stuffs the dots of one message that comes in pieces, RFC 1939 3.

    A dot is doubled at the beginning of a line, also of a line that begins after a bare LF: many clients take a bare
    LF for a line's end, and the rest of the message would then count as the server's replies.
    """

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def stuff(self, octets: bytes) -> bytes:
        """The next piece, ready to be sent."""
        if not octets:
            return b""
        starts_a_line = self._tail.endswith(b"\n")
        self._tail = octets[-2:] if len(octets) > 1 else self._tail[-1:] + octets
        if starts_a_line and octets[0] == 0x2E:
            octets = b"." + octets
        return octets.replace(b"\n.", b"\n..")

    def finish(self) -> bytes:
        """The message's last line is ended, where it was not, and the reply too."""
        return END if self._tail == b"\r\n" else b"\r\n" + END


def retrieved(messages: Iterable[bytes]) -> bytes:
    """The replies to RETR of whole messages: the same as of a `DotStuffer` each.

    Hot path: most have no dot to stuff, and are copied once.
    """
    pieces: list[bytes] = []
    for octets in messages:
        pieces += (b"+OK %d octets\r\n" % len(octets), octets)
        if octets.find(b"\n.") >= 0 or octets.startswith(b"."):
            pieces[-1] = (b"\n" + octets).replace(b"\n.", b"\n..")[1:]
        pieces.append(END if octets.endswith(b"\r\n") or not octets else b"\r\n" + END)
    return b"".join(pieces)


class TopCut:
    """Lets through a message's header section, the empty line, and so many lines of its body."""

    def __init__(self, lines: int) -> None:
        self.is_done = False
        """Nothing more will be let through."""
        self._left = lines
        self._in_header = True
        self._tail = b"\n"

    def cut(self, octets: bytes) -> bytes:
        """What is let through of the next piece."""
        if self.is_done:
            return b""
        body_at = 0
        if self._in_header:
            end = _HEADER_END.search(self._tail + octets)
            if end is None:
                self._tail = (self._tail + octets)[-2:]
                return octets
            self._in_header = False
            body_at = end.end() - len(self._tail)
        # One split finds the last line that is wanted, however many there are.
        pieces = octets[body_at:].split(b"\n", self._left)
        if len(pieces) <= self._left:
            self._left -= len(pieces) - 1
            return octets
        self.is_done = True
        return octets[: len(octets) - len(pieces[-1])]
