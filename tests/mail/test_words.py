"""Octets as text: whatever comes, text comes out."""

from __future__ import annotations

import base64
import binascii
from email.header import Header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.words import decode_body, decode_octets, decode_text, parameter


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain words", "plain words"),
        (b" folded\r\n words ", "folded words"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe_an?= =?UTF-8?B?S8O2bG4=?=", "Grüße anKöln"),
        (b"a =?iso-8859-1?q?=E4?= b", "a ä b"),
        (b"=?iso-8859-1?q?=E4?=\r\n =?utf-8?q?=C3=A4?=", "ää"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),
        (b"=?utf-8*de?q?=C3=A4?=", "ä"),
        (b"=?nope?q?=C3=A4?=", "ä"),
        (b"=?nope?q?=E4?=", "ä"),
        (b"=?utf-8?b?w6Q?=", "ä"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?idna?q?a?= =?hex?q?61?=", "a61"),
        (b"=?gb2312?b?xOO6ww==?=", "你好"),
        (b"raw \xc3\xa4", "raw ä"),
        (b"raw \xe4", "raw ä"),
        (b"=?", "=?"),
    ],
)
def test_encoded_words(value: bytes, text: str) -> None:
    assert decode_text(value) == text


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=100))
def test_what_the_standard_library_encodes_is_decoded(text: str) -> None:
    if "=?" not in text:
        assert decode_text(Header(text, "utf-8").encode().encode()) == text


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=100),
    st.sampled_from(["base64", "quoted-printable", "7BIT", "x-unknown", ""]),
    st.sampled_from(
        ["utf-8", "utf-7", "utf-16", "nope", "idna", "punycode", "unicode_escape", "hex", "\0", "a" * 999, "ü"]
    ),
)
def test_bodies_never_fail(octets: bytes, encoding: str, charset: str) -> None:
    decode_body(octets, encoding, charset).encode("utf-8")
    decode_text(octets).encode("utf-8")
    decode_text(b"=?%b?b?%b?=" % (charset.encode()[:20], octets)).encode("utf-8")


def test_bodies() -> None:
    assert decode_body(base64.encodebytes("schön".encode()), "BASE64", "utf-8") == "schön"
    assert decode_body(b"c2Now7Zu!!", "base64", "utf-8") == "schön"
    assert decode_body(b"c2No\r\nw7Z", "base64", "utf-8").startswith("sch")
    assert decode_body(binascii.b2a_qp("schön".encode()), "quoted-printable", "utf-8") == "schön"
    assert decode_body(b"sch\xf6n", "8bit", "latin1") == "schön"
    assert decode_octets(b"\x93x\x94", "iso-8859-1") == "“x”"
    assert decode_octets(b"sch\xc3\xb6n", "us-ascii") == "schön"


def test_many_words_are_quick() -> None:
    value = b"=?utf-8?q?a?= " * 20_000
    assert decode_text(value) == "a" * 20_000


@pytest.mark.parametrize(
    ("parameters", "value"),
    [
        ([(b"filename", b"a.pdf")], "a.pdf"),
        ([(b"filename*", b"utf-8'de'na%C3%AFve")], "naïve"),
        ([(b"filename*0*", b"iso-8859-1''na%EF"), (b"filename*1", b"ve%41"), (b"filename*2*", b"%41")], "naïve%41A"),
        ([(b"filename*1", b"b"), (b"filename*0", b"a"), (b"filename*3", b"d")], "ab"),
        ([(b"filename", b"old"), (b"filename*", b"''new")], "new"),
        ([(b"filename", b"=?utf-8?q?=C3=A4?=")], "ä"),
        ([(b"filename*x", b"a"), (b"filename*99999", b"b")], None),
        ([(b"name", b"a")], None),
    ],
)
def test_parameters(parameters: list[tuple[bytes, bytes]], value: str | None) -> None:
    assert parameter(parameters, "FileName") == value
