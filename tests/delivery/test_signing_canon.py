"""The relaxed canonicalisations, held against dkimpy's and the RFC's own example."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.delivery.dkimcanon import RelaxedBody, relaxed_field


def digest(*pieces: bytes) -> bytes:
    body = RelaxedBody()
    for piece in pieces:
        body.feed(piece)
    return body.digest()


def sha(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\n \r\n\t\r\n", b""),
        (b" ", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 3.4.5
        (b"no end", b"no end\r\n"),
        (b"no end \t", b"no end\r\n"),
        (b"\r\n\r\nlate\r\n", b"\r\n\r\nlate\r\n"),
        (b"\ta\t\tb", b" a b\r\n"),
        (b"a\rb\nc\r\n", b"a\rb\nc\r\n"),
        (b"a\r\r\n", b"a\r\r\n"),
        (b"a \r", b"a \r\r\n"),
        (b"a\n", b"a\n\r\n"),
        (b"\n\r\n\r\n", b"\n\r\n"),
        (b"a \r\n \r \r\n\r\n", b"a\r\n \r\r\n"),
        (b"\xff\x00 \r\n", b"\xff\x00\r\n"),
    ],
)
def test_the_body_is_what_the_rfc_says_in_whatever_pieces(body: bytes, canonical: bytes) -> None:
    expected = sha(canonical)
    assert digest(body) == expected
    assert digest(*(body[at : at + 1] for at in range(len(body)))) == expected
    for cut in range(len(body) + 1):
        assert digest(body[:cut], body[cut:]) == expected, cut


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"bc", b" ", b"\t", b"\r\n", b"   ", b"\r\n\r\n", b"\xe9"]), max_size=30))
def test_dkimpy_agrees(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    # SMTP ends the last line (RFC 5321 4.1.1.4), so that is what a verifier sees.
    arrived = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    assert digest(*pieces) == sha(Relaxed.canonicalize_body(arrived))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"a", b" ", b"\r", b"\n", b"\r\n", b" \r\n", b"\r\r"]), max_size=20))
def test_pieces_make_no_difference(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert digest(whole) == digest(*pieces) == digest(*(whole[at : at + 1] for at in range(len(whole))))


@pytest.mark.parametrize("filler", [b"\r\n", b" ", b"\r", b"\n", b" \r\n", b"\t\r"])
def test_hostile_bodies_cost_no_memory(filler: bytes) -> None:
    chunk = filler * (65536 // len(filler))
    body = RelaxedBody()
    body.feed(b"x")
    tracemalloc.start()
    for _ in range(100):
        body.feed(chunk)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    body.feed(b"y")
    lines = {b"\r\n": b"\r\n" * (100 * len(chunk) // 2), b" ": b" "}.get(filler)
    if lines is not None:
        assert body.digest() == sha(b"x" + lines + b"y\r\n")


@pytest.mark.parametrize(
    ("name", "value", "canonical"),
    [
        (b"A", b" X\r\n", b"a:X\r\n"),
        (b"B ", b" Y\t\r\n\tZ  \r\n", b"b:Y Z\r\n"),  # RFC 6376 3.4.5
        (b"SUBJect", b"", b"subject:\r\n"),
        (b"Subject", b" \r\n \t\r\n x", b"subject:x\r\n"),
        (b"Subject", b" \xc3\xbc  \xff", b"subject:\xc3\xbc \xff\r\n"),
    ],
)
def test_fields(name: bytes, value: bytes, canonical: bytes) -> None:
    assert relaxed_field(name, value) == canonical
