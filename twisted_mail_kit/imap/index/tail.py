"""The newest part of an index: what messages of a mailbox have in them, growing in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from twisted_mail_kit.imap.index.codes import SLOTS, codes

FULL = 1024
"""Rows; a tail of so many is made a block of."""


class Tail:
    """Rows of words, eight to a group: in each group an octet for every number there is, with a bit for each row."""

    def __init__(self) -> None:
        self.uids = array("I")
        self.marks = array("I")
        """Of each message, see `mark`."""
        self.owners = array("H")
        """Of each row, whose it is: a place in `uids`."""
        self.groups: list[bytearray] = []

    @property
    def octets(self) -> int:
        """In memory."""
        return len(self.groups) * SLOTS

    @property
    def room(self) -> int:
        """How many rows more make it full: enough to be a block."""
        return max(FULL - len(self.owners), 0)

    def add(self, uid: int, its_mark: int, rows: Iterable[bytes]) -> None:
        """One more message, all of it."""
        self.uids.append(uid)
        self.marks.append(its_mark)
        for row in rows:
            bit = 1 << len(self.owners) % 8
            if bit == 1:
                self.groups.append(bytearray(SLOTS))
            group = self.groups[-1]
            self.owners.append(len(self.uids) - 1)
            for code in codes(row):
                group[code] |= bit

    def find(self, asked: Iterable[int]) -> set[int]:
        """UIDs of messages that have a row with all these numbers."""
        found = set()
        for start, group in enumerate(self.groups):
            bits = 0xFF
            for code in asked:
                bits &= group[code]
                if not bits:
                    break
            for place in range(8) if bits else ():
                row = start * 8 + place
                if bits >> place & 1 and row < len(self.owners):
                    found.add(self.uids[self.owners[row]])
        return found


def mark(size: int, date: int) -> int:
    """What a message is known by again, besides its UID: a store that was put back from a copy of its files gives UIDs
    a second time."""
    return (size * 0x9E3779B1 + date) & 0xFFFFFFFF
