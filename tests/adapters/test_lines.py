"""Octets to lines: the same lines whatever the cuts."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.adapters.lines import Lines

OCTETS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"A: b", b" ", b":"]), max_size=40).map(b"".join)


def lines_of(octets: bytes, cuts: list[int], length: int = 1000) -> list[bytes]:
    lines = Lines(length)
    found: list[bytes] = []
    ends = sorted({cut % (len(octets) + 1) for cut in cuts} | {len(octets)})
    for start, end in zip([0, *ends], ends, strict=False):
        found += lines.take(octets[start:end])
    return [*found, *lines.finish()]


@settings(max_examples=200)
@given(OCTETS, st.lists(st.integers(min_value=0, max_value=200), max_size=10))
def test_the_cuts_do_not_matter(octets: bytes, cuts: list[int]) -> None:
    whole = lines_of(octets, [])
    assert lines_of(octets, cuts) == whole
    assert lines_of(octets, list(range(len(octets)))) == whole
    assert not any(b"\r" in line or b"\n" in line for line in whole)
    expected = re.split(rb"\r\n|\r|\n", octets)
    if not expected[-1]:
        expected.pop()
    added = len(whole) - len(expected)
    assert added in (0, 1)
    assert [line for line in whole if line] == [line for line in expected if line]


def test_a_line_is_bounded_and_the_rest_of_the_message_is_forgotten() -> None:
    for pieces in ([b"x" * 11], [b"x"] * 11, [b"A:\r\n", b"x" * 11 + b"\r\n"], [b"x" * 20 + b"\r\ny\r\n"]):
        lines = Lines(10)
        for octets in pieces:
            lines.take(octets)
        assert lines.is_too_long
        assert lines.take(b"z\r\n") == ()
        assert lines._pieces == []
    lines = Lines(10)
    assert [*lines.take(b"x" * 10), *lines.take(b"\r\n")] == [b"", b"x" * 10]
    assert not lines.is_too_long


def test_a_line_that_comes_octet_by_octet_is_not_joined_each_time() -> None:
    lines = Lines(1_000_000)
    for _ in range(200_000):
        lines.take(b"x")
    assert len(lines._pieces) <= 1025
    (first, second) = lines.take(b"\r\n")
    assert (first, len(second)) == (b"", 200_000)
