"""Steps of the contracts."""

from __future__ import annotations

import random

import pytest

from twisted_mail_kit.testing.contracts.steps import same_octets

MEGABYTE = random.Random(1).randbytes(1 << 20)


@pytest.mark.parametrize(
    ("found", "at"),
    [
        (MEGABYTE[:-1], len(MEGABYTE) - 1),
        (MEGABYTE + b"x", len(MEGABYTE)),
        (b"", 0),
        (MEGABYTE.replace(b"\r", b"\n"), MEGABYTE.index(b"\r")),
    ],
    ids=["short", "long", "nothing", "other"],
)
def test_octets_that_differ_are_told_in_a_line_however_many_they_are(found: bytes, at: int) -> None:
    with pytest.raises(AssertionError) as told:
        same_octets(found, MEGABYTE, "the letter")
    words = str(told.value)
    assert words.startswith(f"the letter: {len(found)} octets, ") and f" at {at};" in words
    assert len(words) < 300


def test_the_same_octets_are_let_be() -> None:
    same_octets(b"", b"")
    same_octets(MEGABYTE, bytes(bytearray(MEGABYTE)))
