"""Mailbox names: modified UTF-7 both ways, one spelling a name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap.wire.mailboxname import BadName, decode, encode, path_from_wire, path_to_wire, text_from_wire

SPELLINGS = [
    ("", b""),
    ("INBOX", b"INBOX"),
    ("A&B", b"A&-B"),
    ("&", b"&-"),
    ("&&", b"&-&-"),
    ("Entwürfe", b"Entw&APw-rfe"),
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 5.1.3
    ("é&é", b"&AOk-&-&AOk-"),
    ("Отправленные", b"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
    ("😀", b"&2D3eAA-"),
    ("a😀é", b"a&2D3eAADp-"),
    ("☺!", b"&Jjo-!"),
    ("-é-", b"-&AOk--"),
    (" ~", b" ~"),
]


@pytest.mark.parametrize(("text", "octets"), SPELLINGS)
def test_modified_utf7_goes_both_ways(text: str, octets: bytes) -> None:
    assert encode(text) == octets
    assert decode(octets) == text


@pytest.mark.parametrize(
    "octets",
    [
        b"&",
        b"a&b",
        b"&AOk",
        b"&AOk.-",
        b"&AO k-",
        b"&AOk=-",
        b"&A-",
        b"&AO-",
        b"&AOk/-",
        b"&AGE-",  # "a" may not be in base64
        b"&ACY-",  # "&" neither
        b"&AC8-",  # nor "/"
        b"&AOkAYQ-",
        b"&AOk-&AOk-",  # one shift is enough
        b"&AOl-",  # stray bits at the end
        b"&AOkA-",
        b"&2D0-",  # half a surrogate pair
        b"&3gDYPQ-",  # the wrong way round
        b"&-&",
        b"\xc3\xa9",
        b"&\xc3-",
        b"\x7f",
        b"&AOk+-",
    ],
)
def test_every_other_spelling_is_refused(octets: bytes) -> None:
    with pytest.raises(BadName):
        decode(octets)
        path_from_wire(octets)


def test_control_characters_are_refused() -> None:
    for octets in (b"a\tb", b"a\x7f", b"\x00", b"a\r\nb", b"&AA0ACg-", b"&AIU-", b"&ICg-", b"&ICk-"):
        with pytest.raises(BadName):
            path_from_wire(octets)
        with pytest.raises(BadName):
            text_from_wire(octets)
    for text in ("a\tb", "\x00", "\r\n", "\x85", "\u2028"):
        with pytest.raises(BadName):
            path_from_wire(text.encode(), utf8=True)


@pytest.mark.parametrize("octets", [b"INBOX", b"inbox", b"InBoX"])
def test_the_inbox_is_spelled_one_way(octets: bytes) -> None:
    assert path_from_wire(octets) == ("INBOX",)
    assert path_from_wire(octets + b"/inbox") == ("INBOX", "inbox")
    assert path_from_wire(b"x/" + octets) == ("x", octets.decode())
    assert path_from_wire(octets + b"2") == (octets.decode() + "2",)


def test_only_ascii_spells_the_inbox() -> None:
    for name in ("ınbox", "İNBOX", "inboх"):
        assert path_from_wire(encode(name)) == (name,)


@pytest.mark.parametrize("octets", [b"", b"/", b"/a", b"a/", b"a//b", b"//"])
def test_levels_are_not_empty(octets: bytes) -> None:
    for utf8 in (False, True):
        with pytest.raises(BadName):
            path_from_wire(octets, utf8)


def test_a_name_has_a_limit() -> None:
    assert path_from_wire(b"x" * 1000) == ("x" * 1000,)
    for utf8 in (False, True):
        with pytest.raises(BadName):
            path_from_wire(b"x" * 1001, utf8)


def test_wildcards_are_letters_of_a_name() -> None:
    assert path_from_wire(b"a*/%") == ("a*", "%")
    assert path_to_wire(("a*", "%")) == b"a*/%"


def test_a_level_with_a_slash_can_be_named_by_clients() -> None:
    told = path_to_wire(("x", "a/b"))
    assert told == b"x/a&IhU-b"
    assert path_from_wire(told) == ("x", "a/b")
    told = path_to_wire(("x", "a/b"), utf8=True)
    assert told.count(b"/") == 1
    assert path_from_wire(told, utf8=True) == ("x", "a/b")


def test_utf8_names_are_as_they_are() -> None:
    assert path_from_wire("Entwürfe/&-".encode(), utf8=True) == ("Entwürfe", "&-")
    assert path_to_wire(("Entwürfe", "&-"), utf8=True) == "Entwürfe/&-".encode()
    for octets in (b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xc3"):
        with pytest.raises(BadName):
            path_from_wire(octets, utf8=True)


def test_what_a_store_should_not_have_is_harmless_on_the_wire() -> None:
    for utf8 in (False, True):
        octets = path_to_wire(("a\r\nb\x00", "\ud800"), utf8)
        assert not set(octets) & set(b"\r\n\0")
        assert path_from_wire(octets, utf8) == ("a\ufffd\ufffdb\ufffd", "\ufffd")


plain = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\u2215")
levels = st.text(plain, min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(path=st.lists(levels, min_size=1, max_size=5).map(tuple), utf8=st.booleans())
def test_every_path_goes_there_and_back(path: tuple[str, ...], utf8: bool) -> None:
    octets = path_to_wire(path, utf8)
    if path[0].upper() == "INBOX":
        path = ("INBOX", *path[1:])
    assert path_from_wire(octets, utf8) == path
    assert utf8 or octets.isascii()


@settings(max_examples=200, deadline=None)
@given(octets=st.binary(max_size=30) | st.text("&-/AOkgaé,+2D3eAA-", max_size=30).map(str.encode), utf8=st.booleans())
def test_every_name_that_is_taken_is_told_as_it_was(octets: bytes, utf8: bool) -> None:
    try:
        path = path_from_wire(octets, utf8)
    except BadName:
        return
    told = path_to_wire(path, utf8)
    if path[0] == "INBOX":
        told = octets[:5] + told[5:]
    assert told == octets


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_encode_and_decode_are_inverse(text: str) -> None:
    octets = encode(text)
    assert octets.isascii()
    assert decode(octets) == text
