"""What the lines of a message are like: long ones, bare line ends, octets that are not ASCII."""

from __future__ import annotations

from typing import Final

_ALLOWED: Final = 998
"""Octets of a line without its end (RFC 5322 2.1.1)."""


def has_bare(octets: bytes) -> bool:
    """There is a CR without LF, or a LF without CR.

    Hot path. With the pairs painted over (by as many octets, so that it is one copy) two searches find what is left: a
    third of what counting all three and comparing takes.
    """
    rest = octets.replace(b"\r\n", b"..")
    return b"\r" in rest or b"\n" in rest


class LineCount:
    """Fed with the octets of a message in chunks of any cut; all is looked at in bulk, never line by line."""

    __slots__ = ("_at", "_line_start", "_was_cr", "has_8bit", "has_bare", "longest")

    def __init__(self) -> None:
        self.has_8bit = False
        self.has_bare = False
        """There was a CR without LF, or a LF without CR; after `close`, also where the last octet is a CR."""
        self.longest = 0
        """Octets of the longest line without its end, if that is above 998."""
        self._at = 0  # octets so far
        self._line_start = 0
        self._was_cr = False

    def feed(self, octets: bytes) -> None:
        """Take the next octets."""
        if not octets:
            return
        if not self.has_8bit and not octets.isascii():
            self.has_8bit = True
        if not self.has_bare:
            self.has_bare = self._finds_bare(octets)
        self._was_cr = octets[-1] == 0x0D
        self._measure(octets)
        self._at += len(octets)

    def close(self) -> None:
        """The last line may lack its end."""
        if self._was_cr:
            self.has_bare = True
        length = self._at - self._line_start
        if length > max(self.longest, _ALLOWED):
            self.longest = length

    def _finds_bare(self, octets: bytes) -> bool:
        if self._was_cr and octets[0] != 0x0A:
            return True
        # A pair may be cut in two: its halves lie at the edges.
        return has_bare(octets[self._was_cr : len(octets) - (octets[-1] == 0x0D)])

    def _measure(self, octets: bytes) -> None:
        base, size = self._at, len(octets)
        allowed = max(self.longest, _ALLOWED) + 2  # with its CR LF
        start = self._line_start - base  # negative where the line began in an earlier chunk
        while True:
            # From the start of a line jump over all lines that end within the allowed length.
            end = octets.rfind(b"\n", max(start, 0), max(start + allowed, 0))
            if end < 0:
                if start + allowed >= size:
                    break
                end = octets.find(b"\n", max(start + allowed, 0))
                if end < 0:
                    break
                # A line end is CR LF as a rule, and the CR is not counted.
                self.longest = max(self.longest, end - start - 1)
                allowed = max(self.longest, _ALLOWED) + 2
            start = end + 1
        self._line_start = start + base
