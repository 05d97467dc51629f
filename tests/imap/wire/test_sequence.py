"""Sequence sets: both ways, resolved, selected."""

from __future__ import annotations

import itertools
import time
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap.wire.sequence import (
    TooManyRanges,
    exceeds,
    format_set,
    parse_set,
    resolve,
    select,
    spans,
)


@pytest.mark.parametrize(
    ("octets", "ranges"),
    [
        (b"1", ((1, 1),)),
        (b"*", ((0, 0),)),
        (b"1:3", ((1, 3),)),
        (b"3:1", ((3, 1),)),
        (b"*:4", ((0, 4),)),
        (b"*:*", ((0, 0),)),
        (b"3,5:*", ((3, 3), (5, 0))),
        (b"4294967295", ((4294967295, 4294967295),)),
        (b"10,20,10", ((10, 10), (20, 20), (10, 10))),
    ],
)
def test_a_set_is_taken(octets: bytes, ranges) -> None:
    assert parse_set(octets) == ranges


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"0",
        b"01",
        b"1:",
        b":1",
        b":",
        b",",
        b"1,",
        b",1",
        b"1,,2",
        b"1:2:3",
        b"**",
        b"1*",
        b"*1",
        b"-1",
        b"+1",
        b" 1",
        b"1 ",
        b"1, 2",
        b"a",
        b"1\n",
        b"4294967296",
        b"9999999999",
        b"1:4294967296",
        b"1" * 5000,
        b"0:5",
        b"\xb2",
    ],
)
def test_what_is_no_set_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError):
        parse_set(octets)


def test_a_set_has_a_limit() -> None:
    assert len(parse_set(b"1,2,3", 3)) == 3
    with pytest.raises(TooManyRanges):
        parse_set(b"1,2,3,4", 3)


@pytest.mark.parametrize(
    ("numbers", "octets"),
    [
        ([], b""),
        ([0], b"0"),
        ([7], b"7"),
        ([1, 2], b"1:2"),
        ([1, 2, 3, 5], b"1:3,5"),
        ([1, 3, 5], b"1,3,5"),
        ([5, 6, 8, 9, 10], b"5:6,8:10"),
        (range(1, 100_001), b"1:100000"),
    ],
)
def test_a_set_is_compressed(numbers, octets: bytes) -> None:
    assert format_set(numbers) == octets
    assert format_set(iter(numbers)) == octets
    assert format_set(tuple(numbers)) == octets
    assert format_set(array("I", numbers)) == octets


@pytest.mark.parametrize(
    ("octets", "greatest", "resolved"),
    [
        (b"1:3", 10, [(1, 3)]),
        (b"3:1", 10, [(1, 3)]),
        (b"5:*", 10, [(5, 10)]),
        (b"5:*", 3, [(3, 5)]),
        (b"*", 10, [(10, 10)]),
        (b"*:*", 10, [(10, 10)]),
        (b"1:3,2:5,6,8", 10, [(1, 6), (8, 8)]),
        (b"8,6,2:5,1:3", 10, [(1, 6), (8, 8)]),
        (b"1:10,2,3:4", 10, [(1, 10)]),
        (b"1:10,2:12", 10, [(1, 12)]),
        (b"*", 0, []),
        (b"1:*,7", 0, [(7, 7)]),
        (b"20:30", 10, [(20, 30)]),
    ],
)
def test_ranges_are_resolved(octets: bytes, greatest: int, resolved) -> None:
    assert resolve(parse_set(octets), greatest) == resolved


@pytest.mark.parametrize(
    ("octets", "count", "answer"),
    [
        (b"1:3", 3, False),
        (b"1:4", 3, True),
        (b"4:1", 3, True),
        (b"4", 3, True),
        (b"*", 3, False),
        (b"1:*", 3, False),
        (b"4:*", 3, True),
        (b"*", 0, True),
        (b"1:*", 0, True),
    ],
)
def test_numbers_that_are_not_there_are_seen(octets: bytes, count: int, answer: bool) -> None:
    assert exceeds(parse_set(octets), count) is answer


@pytest.mark.parametrize(
    ("octets", "selected"),
    [
        (b"1:*", [2, 4, 5, 9]),
        (b"*", [9]),
        (b"3", []),
        (b"4", [4]),
        (b"3:5", [4, 5]),
        (b"100:*", [9]),
        (b"100:200", []),
        (b"9,2,2:3", [2, 9]),
        (b"4294967295", []),
    ],
)
def test_uids_are_selected(octets: bytes, selected) -> None:
    for uids in ([2, 4, 5, 9], (2, 4, 5, 9), array("I", [2, 4, 5, 9])):
        assert select(parse_set(octets), uids) == selected


def test_nothing_is_selected_of_nothing() -> None:
    assert select(parse_set(b"1:*,*,5"), []) == []
    assert spans(parse_set(b"1:*"), ()) == []


def test_ranges_of_numbers_can_be_selected_from() -> None:
    assert spans(parse_set(b"2:3,5:*"), range(1, 7)) == [(1, 3), (4, 6)]


ranges_of_numbers = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8).map(tuple)


@settings(max_examples=200, deadline=None)
@given(ranges=ranges_of_numbers, uids=st.sets(st.integers(1, 50)))
def test_select_agrees_with_the_plain_words_of_the_rfc(ranges, uids: set[int]) -> None:
    ordered = sorted(uids)
    greatest = ordered[-1] if ordered else 0
    wanted = set()
    for low, high in ranges:
        if (not low or not high) and not greatest:
            continue
        low, high = low or greatest, high or greatest
        wanted.update(range(min(low, high), max(low, high) + 1))
    assert select(ranges, ordered) == sorted(wanted & uids)


@settings(max_examples=200, deadline=None)
@given(numbers=st.sets(st.integers(1, 2**32 - 1) | st.integers(1, 60), min_size=1))
def test_a_set_goes_there_and_back(numbers: set[int]) -> None:
    ordered = sorted(numbers)
    octets = format_set(ordered)
    ranges = parse_set(octets)
    assert select(ranges, ordered) == ordered
    assert sum(high - low + 1 for low, high in ranges) == len(ordered)
    assert all(low > before + 1 for (_, before), (low, _) in itertools.pairwise(ranges))


@settings(max_examples=200, deadline=None)
@given(octets=st.text("0123456789:,*", max_size=30).map(str.encode) | st.binary(max_size=20))
def test_any_octets_are_a_set_or_a_value_error(octets: bytes) -> None:
    try:
        ranges = parse_set(octets)
    except ValueError:
        return
    assert (
        b",".join(
            b":".join(b"%d" % n if n else b"*" for n in ((low, high) if b":" in item else (low,)))
            for (low, high), item in zip(ranges, octets.split(b","), strict=True)
        )
        == octets
    )


def test_a_hundred_thousand_numbers_are_quick() -> None:
    numbers = list(range(1, 200_001, 2))
    began = time.process_time()
    octets = format_set(numbers)
    ranges = parse_set(octets, 100_000)
    assert select(ranges, numbers) == numbers
    assert time.process_time() - began < 3
