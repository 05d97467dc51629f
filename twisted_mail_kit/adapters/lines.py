"""A message's octets as the lines that an IMessage is given."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Lines:
    """Octets in, in pieces of any cut; whole lines out, without their ends. A bare CR or LF ends a line too: there is
    no telling what somebody who writes lines would make of it.

    As `twisted.mail` does it, an empty line is put in where a message has no header section, or ends it without one.
    """

    def __init__(self, length: int) -> None:
        self.is_too_long = False
        """A line has more than `length` octets; nothing more comes out."""
        self._length = length
        self._pieces: list[bytes] = []
        """Of the line that is not whole yet; a CR at its end may be half of an end."""
        self._size = 0
        self._is_in_header = True

    def take(self, octets: bytes) -> Sequence[bytes]:
        """The lines that are whole by now."""
        has_end = b"\n" in octets or b"\r" in octets or (self._pieces and self._pieces[-1].endswith(b"\r"))
        if self.is_too_long or not has_end:
            self._keep(octets)
            return ()
        octets = b"".join([*self._pieces, octets])
        held = b""
        if octets.endswith(b"\r"):
            octets, held = octets[:-1], b"\r"
        is_clean = octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r")
        lines = octets.split(b"\r\n") if is_clean else _LINE_END.split(octets)
        self._pieces, self._size = [], 0
        self._keep(lines.pop() + held)
        if self._is_in_header:
            lines = self._with_header_end(lines)
        length = self._length
        if len(octets) > length and any(len(line) > length for line in lines):
            self.is_too_long = True
        return () if self.is_too_long else lines

    def finish(self) -> Sequence[bytes]:
        """The last line, where it lacks its end."""
        if not self._pieces:
            return ()
        return self.take(b"\n" if self._pieces[-1].endswith(b"\r") else b"\r\n")

    def _keep(self, octets: bytes) -> None:
        self._size += len(octets)
        if self._size > self._length:
            self.is_too_long = True
        if self.is_too_long:
            self._pieces.clear()
        elif octets:
            self._pieces.append(octets)
            if len(self._pieces) > 1024:  # octet by octet must not cost an object an octet
                self._pieces = [b"".join(self._pieces)]

    def _with_header_end(self, lines: list[bytes]) -> list[bytes]:
        for at, line in enumerate(lines):
            if not line:
                self._is_in_header = False
                return lines
            if b":" not in line and line[:1] not in (b" ", b"\t"):
                self._is_in_header = False
                return [*lines[:at], b"", *lines[at:]]
        return lines
