"""Replies: a code, an enhanced status code and lines of text (RFC 5321 4.2, RFC 2034)."""

from __future__ import annotations

import re
from typing import NamedTuple

_LONGEST = 480
"""RFC 5321 4.5.3.1.5: a reply line has at most 512 octets, with the code and CR LF."""
_UNPRINTABLE = re.compile(r"[^ -~]")


class Reply(NamedTuple):
    """What the server says to one command."""

    code: int
    enhanced: str
    """RFC 3463, ``2.1.0``; empty where RFC 2034 wants none: in 220, 250 to EHLO, 334 and 354."""
    lines: tuple[str, ...]

    @property
    def is_error(self) -> bool:
        """It says: never."""
        return self.code >= 500

    def encode(self) -> bytes:
        """The octets. No text can break out of its line, or bring in another one."""
        ready = _READY.get(self)
        if ready is not None:
            return ready
        if len(self.lines) == 1:
            line = self.lines[0]
            # Nearly all replies are of this kind, and four of them belong to a message.
            if line.isascii() and line.isprintable() and len(line) <= _LONGEST:
                between = " " if self.enhanced else ""
                return f"{self.code:03d} {self.enhanced}{between}{line}\r\n".encode("ascii")
        head = f"{self.code:03d}"
        between = f"{self.enhanced} " if self.enhanced else ""
        last = len(self.lines) - 1
        return "".join(
            f"{head}{' ' if number == last else '-'}{between}{_UNPRINTABLE.sub('?', line)[:_LONGEST]}\r\n"
            for number, line in enumerate(self.lines)
        ).encode("ascii")


_READY: dict[Reply, bytes] = {}
"""Those that every message's sender hears."""


def usual(code: int, enhanced: str, *lines: str) -> Reply:
    """A `reply` that is said all the time, and so is encoded but once. For constants."""
    one = Reply(code, enhanced, lines)
    _READY[one] = one.encode()
    return one


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    """``reply(250, "2.0.0", "OK")``."""
    return Reply(code, enhanced, lines)
