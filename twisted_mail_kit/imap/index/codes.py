"""Three letters in a row as one number: what a text has to have in it to hold a word.

Text is taken as folded UTF-8, octet by octet. Each octet is of one of 32 classes; the classes of three in a row make a
number of 13 bits. So a text that holds a word has all the word's numbers; one that has not all of them does not hold
it. One that has them may: that is for somebody else to look at.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

SLOTS: Final = 8192
"""There are so many numbers, from 0."""
ROW: Final = 4096
"""Octets of words that are put together in a row; of many more, half of the numbers would be in it."""
_LONGEST_WORD: Final = 256
"""Octets of a word that are looked for; of what is cut in two, so many are on both sides of the cut."""
_MOST_CODES: Final = 16
"""Of one word that is looked for: enough to tell it from all others."""

# Letters that are common stand far from each other, so that the numbers are used evenly.
_CLASSES = bytearray(octet * 11 % 32 for octet in range(256))
for _place, _letter in enumerate(b"etaoinsrhldcumwfgypbvkxjqz"):
    _CLASSES[_letter] = (_place * 5 + 1) % 32
for _place, _letter in enumerate(b"0123456789"):
    _CLASSES[_letter] = (_place * 3 + 7) % 32
_LONGEST_ROW: Final = 2 * ROW + _LONGEST_WORD
_TWO_BITS: Final = int.from_bytes(b"\3\0" * _LONGEST_ROW, "little")
_THIRTEEN_BITS: Final = int.from_bytes(b"\xff\x1f" * _LONGEST_ROW, "little")
_IS_BIG_ENDIAN: Final = sys.byteorder == "big"


def codes(octets: bytes) -> array[int]:
    """The numbers of all three octets in a row, of no more octets than a row has."""
    # Hot path: every word of every message comes through here once. All octets at a time, as sixteen bits each of one
    # long integer: the first's class in bits 10-14, the second's in 5-9, the third's in 0-4, the top two folded in.
    count = max(len(octets) - 2, 0)
    wide = bytearray(2 * len(octets))
    wide[::2] = octets.translate(_CLASSES)
    lanes = int.from_bytes(wide, "little")
    lanes = lanes << 10 | lanes >> 11 | lanes >> 32
    lanes = (lanes & _THIRTEEN_BITS) ^ ((lanes >> 13 & _TWO_BITS) * 0x115)
    found = array("H", lanes.to_bytes(2 * len(octets), "little")[: 2 * count])
    if _IS_BIG_ENDIAN:
        found.byteswap()
    return found


def rows(words: set[bytes]) -> Iterator[bytes]:
    """Different words, put together in rows for `codes`: a word is whole in one of them, and what is looked for too."""
    octets = b" ".join(words)
    if len(octets) > 2 * ROW:
        octets = b" ".join(sorted(words))  # words that begin alike share numbers; and every process makes the same rows
    start = 0
    while len(octets) - start > 2 * ROW:
        stop = octets.find(b" ", start + ROW, start + 2 * ROW)
        if stop < 0:
            stop = start + 2 * ROW  # in the middle of a word without end
            yield octets[start:stop]
            start = stop - _LONGEST_WORD
        else:
            yield octets[start:stop]
            start = stop + 1
    yield octets[start:]


def asked(text: str) -> Sequence[frozenset[int]]:
    """For each word of a folded text the numbers that it has; a message that holds the text has, for each word, a row
    with all of them. Empty: nothing can be said, all words are too short."""
    found = []
    for word in text.split():
        its = frozenset(islice(codes(word.encode("utf-8", "surrogatepass")[:_LONGEST_WORD]), _MOST_CODES))
        if its:
            found.append(its)
    return found
