"""Header fields as octets, what HEADER.FIELDS takes of them, and address lists."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.headers import Headers, addresses, parse_address_list, select_fields

SECTION = b"From: a\r\nSubject: b\r\n\tc\r\nX-Odd : y \r\njunk\r\nfrom: z\r\nEmpty:\r\n\r\n"
GROUP_END = (None, None, None, None)


def test_fields_are_found_in_any_case() -> None:
    headers = Headers(SECTION)
    assert headers.get(b"FROM") == b"a"
    assert headers.all(b"From") == [b"a", b"z"]
    assert headers.get(b"subject") == b"b\tc"
    assert headers.get(b"x-odd") == b"y"
    assert headers.get(b"empty") == b""
    assert headers.get(b"junk") is None
    assert b"EMPTY" in headers and b"none" not in headers


def test_fields_know_where_they_are() -> None:
    fields = Headers(SECTION).fields
    assert [field.name for field in fields] == [b"From", b"Subject", b"X-Odd", b"from", b"Empty"]
    assert fields[1].value == b" b\r\n\tc"
    assert SECTION[fields[1].start : fields[1].end] == b"Subject: b\r\n\tc\r\n"
    assert SECTION[fields[2].start : fields[2].end] == b"X-Odd : y \r\n"


def test_the_index_is_bounded() -> None:
    headers = Headers(b"A: b\n" * 50 + b"C: d\n", most=50)
    assert headers.is_cut
    assert len(headers.all(b"a")) == len(headers.fields) == 50
    assert headers.get(b"c") is None


def test_selected_fields_keep_their_folds_and_order() -> None:
    assert select_fields(SECTION, [b"SUBJECT", b"From"]) == b"From: a\r\nSubject: b\r\n\tc\r\nfrom: z\r\n\r\n"
    assert select_fields(SECTION, [b"From", b"x-odd"], exclude=True) == b"Subject: b\r\n\tc\r\njunk\r\nEmpty:\r\n\r\n"
    assert select_fields(SECTION, [b"None"]) == b"\r\n"
    assert select_fields(SECTION, []) == b"\r\n"
    assert select_fields(SECTION, [], exclude=True) == SECTION
    assert select_fields(SECTION, [b"Fro", b"ubject", b"(.*)", b""]) == b"\r\n"


def test_the_blank_line_is_there_only_if_the_message_has_one() -> None:
    assert select_fields(b"A: b\r\nC: d", [b"c"]) == b"C: d"
    assert select_fields(b"A: b\nC: d\n\n", [b"c"]) == b"C: d\n\n"
    assert select_fields(b"\r\n", [b"c"]) == b"\r\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"joe@x.org", [(None, None, b"joe", b"x.org")]),
        (b"<joe@x.org>", [(None, None, b"joe", b"x.org")]),
        (b"Joe Doe <joe@x.org>", [(b"Joe Doe", None, b"joe", b"x.org")]),
        (b'"Doe, Joe" <joe@x.org>', [(b"Doe, Joe", None, b"joe", b"x.org")]),
        (b"joe@x.org (Joe (the) Doe)", [(b"Joe (the) Doe", None, b"joe", b"x.org")]),
        (b"=?utf-8?q?J=C3=B6?=\r\n <j@x>", [(b"=?utf-8?q?J=C3=B6?=", None, b"j", b"x")]),
        (b'a@b, , "x y"@c,', [(None, None, b"a", b"b"), (None, None, b"x y", b"c")]),
        (b"g: a@b;, c@d", [(None, None, b"g", None), (None, None, b"a", b"b"), GROUP_END, (None, None, b"c", b"d")]),
        (b"unended: a@b", [(None, None, b"unended", None), (None, None, b"a", b"b"), GROUP_END]),
        (b"nobody:;", [(None, None, b"nobody", None), GROUP_END]),
        (b"<@a,@b:j@x>", [(None, b"@a,@b", b"j", b"x")]),
        (b"root", [(None, None, b"root", b"")]),
        (b"a . b @ x . org", [(None, None, b"a.b", b"x.org")]),
        (b"a@[192.0.2.1]", [(None, None, b"a", b"[192.0.2.1]")]),
        (b"", []),
        (b"(nothing)", []),
        (b"<>", []),
    ],
)
def test_address_lists(value: bytes, expected: list[tuple[bytes | None, ...]]) -> None:
    assert [tuple(address) for address in parse_address_list(value)] == expected


def test_only_valid_addresses_are_given() -> None:
    assert addresses(b"Joe <joe@X.org>, bad, a@b@c, g: x@y;, j@f\xc3\xa4.de") == [
        Address("joe", "x.org"),
        Address("x", "y"),
        Address("j", "fä.de"),
    ]


def test_long_lists_are_bounded_and_quick() -> None:
    assert len(parse_address_list(b"a," * 100_000)) == 1000
    assert len(parse_address_list(b"(" * 200_000)) <= 1
    assert len(parse_address_list(b'"' + b"\\" * 200_001)) <= 1
    assert len(parse_address_list(b"<" * 100_000)) <= 1
    assert len(parse_address_list(b"x:" * 100_000)) <= 3


_WORD = st.from_regex(r"\A[a-z]{1,8}\Z")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text('abc ,<>@"\\():;.', max_size=12), _WORD, _WORD), min_size=1, max_size=4))
def test_what_the_standard_library_writes_is_read(people: list[tuple[str, str, str]]) -> None:
    value = ", ".join(email.utils.formataddr((name, f"{local}@{domain}")) for name, local, domain in people)
    found = parse_address_list(value.encode())
    assert [(a.local, a.domain) for a in found] == [(b.encode(), c.encode()) for _, b, c in people]
    for address, (name, _, _) in zip(found, people, strict=True):
        assert " ".join((address.name or b"").decode().split()) == " ".join(name.split())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.lists(st.binary(max_size=4), max_size=3))
def test_nothing_makes_them_fail(octets: bytes, names: list[bytes]) -> None:
    headers = Headers(octets)
    for field in headers.fields:
        assert octets[field.start : field.end].startswith(field.name)
        assert headers.get(field.name) is not None
    picked = select_fields(octets, names)
    assert len(picked) <= len(octets)
    parse_address_list(octets)
    addresses(octets)
