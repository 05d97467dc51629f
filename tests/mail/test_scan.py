"""A message that is all here: the quick way finds what the scanner finds."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail import packedtree
from twisted_mail_kit.mail.part import ScanLimits
from twisted_mail_kit.mail.scan import _scan_usual, outline_of, scan_whole
from twisted_mail_kit.mail.summary import pack

_spec = importlib.util.spec_from_file_location("mail_samples", Path(__file__).parent / "samples.py")
assert _spec and _spec.loader
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)
CORPUS, scan = samples.CORPUS, samples.scan

LIMITS = ScanLimits(header_size=120, header_fields=3, parameters=1)


@pytest.mark.parametrize("name", CORPUS)
def test_it_is_what_the_scanner_finds(name: str) -> None:
    message = CORPUS[name]
    for end in {len(message), *range(0, len(message), 1 + len(message) // 100)}:
        octets = message[:end]
        assert scan_whole(octets) == scan(octets)
        assert pack(scan_whole(octets)) == pack(scan(octets))
        assert scan_whole(octets, LIMITS) == scan(octets, limits=LIMITS)


PIECES = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b" ", b"\t", b":", b"--", b"--b", b"--b--", b"x" * 1000, b"text",
        b"\xff", b"\xc3\xa9", b"\0", b"=20", b"Subject: hello\r\n", b"Received: from a by b\r\n", b"From: a@b\r\n",
        b"Content-Type: text/html\r\n", b"Content-Type: text/plain; charset=utf-8; format=flowed\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: message/rfc822\r\n",
        b"Content-Type: application/pdf\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Disposition: attachment; filename=x\r\n", b"<p>words", b"Content-Type: multipart/mixed\r\n",
    ]
)  # fmt: skip


@settings(max_examples=600)
@given(st.lists(PIECES | st.binary(max_size=5), max_size=20).map(b"".join), st.sampled_from([ScanLimits(), LIMITS]))
def test_it_is_what_the_scanner_finds_in_anything(octets: bytes, limits: ScanLimits) -> None:
    assert scan_whole(octets, limits) == scan(octets, limits=limits)


MULTIPART_PIECES = st.sampled_from(
    [
        b"\r\n--b\r\n", b"\r\n--b\r\n\r\n", b"\r\n--b--\r\n", b"\n--b\n", b"--b\r\n", b"\r\n--b \t\r\n",
        b"\r\n--bb\r\n", b"\r\n--c\r\n", b"\r\n--c--\r\n", b"\r\n--c", b"\r\n\r\n", b"\r\n", b"\r", b"words", b"=20",
        b"\r\n--" + b"b" * 1200, b"X: y\r\n" * 20, b"Content-Disposition: attachment; filename=x\r\n",
        b"Content-ID: <x>\r\nContent-Language: en, de\r\n", b"Content-Description: words\r\nContent-MD5: x\r\n",
        b"Content-Location: \"\r\n", b"Content-ID:\r\n", b"Content-Type: text/x; a=" + b"b" * 300 + b"; c=d\r\n",
        b"Content-Type: text/plain\r\n\r\nhello", b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>hello",
        b"Content-Type: multipart/alternative; boundary=c\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b--\r\n\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    ]
)  # fmt: skip
MULTIPARTS = st.tuples(
    st.sampled_from([b"mixed", b"digest", b"alternative"]),
    st.sampled_from([b"b", b"b", b"b--", b"c"]),
    st.sampled_from([b"\r\n\r\n", b"\r\n\r\n--b\r\n", b"\n\n--b\n\n"]),
    st.lists(MULTIPART_PIECES, max_size=15).map(b"".join),
).map(lambda made: b"Content-Type: multipart/%b; boundary=%b%b%b" % made)


@settings(max_examples=500)
@example(
    b"Content-Type: multipart/mixed; boundary=b--\r\n\r\n--b--\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nx\r\n--b--\r\n\r\nmore",
    ScanLimits(),
)
@given(MULTIPARTS, st.sampled_from([ScanLimits(), LIMITS, ScanLimits(parts=3), ScanLimits(depth=1, details=40)]))
def test_it_is_what_the_scanner_finds_in_any_multipart(octets: bytes, limits: ScanLimits) -> None:
    structure = scan_whole(octets, limits)
    assert structure == scan(octets, limits=limits)
    tree, written = packedtree.pack_and_write(structure.root)
    assert packedtree.unpack(tree) == structure.root
    assert packedtree.body(tree, extended=True) == written


def test_many_lines_that_look_like_a_delimiter_do_not_hold_it_up() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--bb\r\n" * 20_000 + b"--b\r\n\r\nwords\r\n"
    assert _scan_usual(octets, ScanLimits()) is None
    assert scan_whole(octets).root.children[0].lines == 1


def test_usual_mail_takes_the_quick_way() -> None:
    assert _scan_usual(CORPUS["plain"], ScanLimits()) is not None
    assert _scan_usual(CORPUS["html-only"], ScanLimits()) is not None
    assert _scan_usual(CORPUS["alternative-attachment"], ScanLimits()) is not None
    assert _scan_usual(CORPUS["root-rfc822"], ScanLimits()) is None


@settings(max_examples=200)
@given(st.lists(PIECES | st.binary(max_size=5), max_size=20).map(b"".join) | st.sampled_from(list(CORPUS.values())))
def test_an_outline_is_what_the_scanner_says_of_header_and_lines(octets: bytes) -> None:
    for limits in (ScanLimits(), LIMITS):
        outline, whole = outline_of(octets, limits), scan(octets, limits=limits)
        if outline is None:
            assert not re.search(rb"(?:\A|\n)\r?\n", octets[: limits.header_size]) or whole.header_overflow
            continue
        found = (outline.header.octets, outline.has_8bit, outline.longest_line, outline.received_count)
        assert found == (whole.header.octets, whole.has_8bit, whole.longest_line, whole.received_count)
        assert outline.header_overflow == whole.header_overflow
