"""Sequence sets: ``1:3,5,9:*`` to ranges and back."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from twisted_mail_kit.imap.wire.commands import STAR, Ranges

GREATEST_NUMBER = 2**32 - 1

_NUMBER = rb"(?:\*|[1-9][0-9]{0,9}+)"
_SET = re.compile(rb"%b(?::%b)?+(?:,%b(?::%b)?+)*+" % ((_NUMBER,) * 4))


class TooManyRanges(ValueError):
    """A set of more ranges than are allowed."""


def parse_set(octets: bytes, most: int = 10_000) -> Ranges:
    """RFC 3501 sequence-set. Raises ValueError for what is none, TooManyRanges (one too) for one that is too long."""
    if octets.count(b",") >= most:
        raise TooManyRanges("Too many ranges in a set")
    if _SET.fullmatch(octets) is None:
        raise ValueError("This is no set of numbers")
    ranges = []
    for item in octets.split(b","):
        first, colon, last = item.partition(b":")
        low = STAR if first == b"*" else int(first)
        high = low if not colon else STAR if last == b"*" else int(last)
        if low > GREATEST_NUMBER or high > GREATEST_NUMBER:
            raise ValueError("A number is greater than 4294967295")
        ranges.append((low, high))
    return tuple(ranges)


def format_set(numbers: Iterable[int]) -> bytes:
    """The shortest set of ascending numbers: ``1:3,5``. b"" for none, which is no sequence-set."""
    numbers = list(numbers)
    if not numbers:
        return b""
    firsts, lasts = numbers[:1], []
    for number, following in pairwise(numbers):
        if following != number + 1:
            lasts.append(number)
            firsts.append(following)
    lasts.append(numbers[-1])
    pieces = [f"{low}:{high}" if low < high else str(low) for low, high in zip(firsts, lasts, strict=True)]
    return ",".join(pieces).encode("ascii")


def resolve(ranges: Ranges, greatest: int) -> list[tuple[int, int]]:
    """Ascending ranges (low, high), merged, with `greatest` for ``*``: ``5:*`` is 3:5 where 3 is the greatest.

    Where nothing is there (`greatest` is 0), ranges with ``*`` are left out.
    """
    if len(ranges) == 1:  # nearly always
        low, high = ranges[0]
        if low and low <= high:
            return [(low, high)]
    ordered = []
    for low, high in ranges:
        low, high = low or greatest, high or greatest
        if low and high:
            ordered.append((low, high) if low <= high else (high, low))
    ordered.sort()
    merged: list[tuple[int, int]] = []
    for low, high in ordered:
        if merged and low <= merged[-1][1] + 1:
            if high > merged[-1][1]:
                merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return merged


def exceeds(ranges: Ranges, count: int) -> bool:
    """The set names a sequence number that is not there (BAD, RFC 3501 9 seq-number): ``*`` too where `count` is 0."""
    return not count or any(low > count or high > count for low, high in ranges)


def spans(ranges: Ranges, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Slices ``numbers[start:stop]`` that are in the set; ascending, none empty. By bisection.

    `numbers` ascend; the last of them is ``*``.
    """
    if not numbers:
        return []
    found = []
    start = 0
    for low, high in resolve(ranges, numbers[-1]):
        start = bisect_left(numbers, low, start)
        stop = bisect_right(numbers, high, start)
        if start < stop:
            found.append((start, stop))
        start = stop
    return found


def select(ranges: Ranges, numbers: Sequence[int]) -> list[int]:
    """Those of `numbers` (ascending) that are in the set, ascending; ``*`` is the last of them."""
    found: list[int] = []
    for start, stop in spans(ranges, numbers):
        found.extend(numbers[start:stop])
    return found
