"""What of a message a DKIM signature covers: the relaxed canonicalisations (RFC 6376 3.4.2, 3.4.4)."""

from __future__ import annotations

import hashlib
from typing import Final

_LINE_ENDS: Final = b"\r\n" * 8192


def squeeze(octets: bytes) -> bytes:
    """Each run of spaces and tabs as one space."""
    octets = octets.replace(b"\t", b" ")
    # A run is halved each time: quicker than a regular expression, and never quadratic.
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """A header field as it is signed, with its line end; `value` is what stands after the colon, folded or not."""
    value = squeeze(value.replace(b"\r\n", b"").replace(b"\n", b"")).strip(b" ")
    return name.strip(b" \t").lower() + b":" + value + b"\r\n"


class RelaxedBody:
    """The SHA-256 of a body, in whatever pieces it comes. Time and memory grow with the pieces, not with the body.

    Only CR LF ends a line. A body without a line end at its end is hashed as if it had one, since that is how it
    arrives (RFC 5321 4.1.1.4).
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._is_empty = True
        self._lines = 0  # line ends that count only if something follows
        self._rest = b""  # a space, a CR, or both, whose meaning the next octets tell

    def feed(self, octets: bytes) -> None:
        """The next octets of the body."""
        octets = squeeze(self._rest + octets).replace(b" \r\n", b"\r\n")
        solid = len(octets.rstrip(b" \r\n"))
        # A bare CR or LF is solid too. A CR at the very end may yet become a line end.
        others = octets[solid:].replace(b"\r\n", b"  ")
        solid += max(others.rfind(b"\n"), others.rfind(b"\r", 0, -1)) + 1
        if solid:
            self._take(octets[:solid])
        lines = octets.count(b"\r\n", solid)
        self._lines += lines
        self._rest = octets[solid + 2 * lines :]

    def digest(self) -> bytes:
        """At the end of the body, once."""
        if self._rest.strip(b" "):
            self._take(self._rest)
        if not self._is_empty:
            self._hash.update(b"\r\n")
        return self._hash.digest()

    def _take(self, octets: bytes) -> None:
        while self._lines:
            count = min(self._lines, len(_LINE_ENDS) // 2)
            self._hash.update(_LINE_ENDS[: 2 * count])
            self._lines -= count
        self._hash.update(octets)
        self._is_empty = False
