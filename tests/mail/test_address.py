"""Addresses: paths as SMTP writes them, international names, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.address import Address, BadAddress, make_address, parse_address, parse_path


@pytest.mark.parametrize(
    ("text", "local", "domain", "form"),
    [
        ("joe@Example.ORG", "joe", "example.org", "joe@example.org"),
        ("Joe+x@example.org", "Joe+x", "example.org", "Joe+x@example.org"),
        ('"john doe"@example.org', "john doe", "example.org", '"john doe"@example.org'),
        ('"joe"@example.org', "joe", "example.org", "joe@example.org"),
        (r'"a\"b\\c"@example.org', 'a"b\\c', "example.org", r'"a\"b\\c"@example.org'),
        ('"a@b"@example.org', "a@b", "example.org", '"a@b"@example.org'),
        ('".."@example.org', "..", "example.org", '".."@example.org'),
        ("a%b!c@example.org", "a%b!c", "example.org", "a%b!c@example.org"),
        ("joe@[192.0.2.1]", "joe", "[192.0.2.1]", "joe@[192.0.2.1]"),
        ("joe@[ipv6:2001:DB8:0::1]", "joe", "[IPv6:2001:db8::1]", "joe@[IPv6:2001:db8::1]"),
        ("joe@[X-Tag:what.ever]", "joe", "[x-tag:what.ever]", "joe@[x-tag:what.ever]"),
        ("joe@localhost", "joe", "localhost", "joe@localhost"),
        ("joe@faß.de", "joe", "faß.de", "joe@faß.de"),
        ("joe@XN--FA-HIA.de", "joe", "faß.de", "joe@faß.de"),
        ("joe@BU\u0308cher.example", "joe", "bücher.example", "joe@bücher.example"),
        ("jürgen@example.org", "jürgen", "example.org", "jürgen@example.org"),
    ],
)
def test_addresses_are_read_and_written(text: str, local: str, domain: str, form: str) -> None:
    address = parse_address(text)
    assert address == Address(local, domain)
    assert str(address) == form
    assert parse_address(form) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "joe", "@", "joe@", "@example.org", "joe@example.org ", " joe@example.org", "joe doe@example.org"),
        *("a..b@x", ".a@x", "a.@x", "joe@x.", "joe@.x", "joe@x..y", "joe@-x", "joe@x-", "joe@x y", "joe@x\n", "j\r@x"),
        *('"a@x', '"a"b@x', '"a\n"@x', '"a\0"@x', '""@x', "joe@[", "joe@[]", "joe@[1.2.3]", "joe@[1.2.3.256]"),
        *("joe@[IPv6:1::2::3]", "joe@[IPv6:fe80::1%eth0]", "joe@[tag:]", "joe@[1.2.3.4]x", "joe@xn--zzzzzzzz--.de"),
        *(
            "a" * 65 + "@x",
            "a@" + "x" * 64,
            "a@" + "x." * 128 + "x",
            "joe@a\u2028b",
            "j\ud800@x",
            "joe@💩\u200b.de",
            "ü" * 33 + "@x",
        ),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(text)


def test_a_labels_for_peers_without_smtputf8() -> None:
    assert parse_address("joe@faß.de").to_ascii() == Address("joe", "xn--fa-hia.de")
    plain = parse_address("joe@example.org")
    assert plain.is_ascii and plain.to_ascii() is plain
    assert not parse_address("joe@faß.de").is_ascii
    with pytest.raises(BadAddress):
        parse_address("jürgen@example.org").to_ascii()


@pytest.mark.parametrize(
    ("octets", "address", "rest"),
    [
        (b"<>", None, b""),
        (b"<joe@example.org> SIZE=1", Address("joe", "example.org"), b" SIZE=1"),
        (b"<Postmaster>", Address("postmaster", ""), b""),
        (b'<"a>b"@x> <y>', Address("a>b", "x"), b" <y>"),
        (rb'<"a\">"@x>', Address('a">', "x"), b""),
        (b"<@a.example,@[192.0.2.1]:joe@x>", Address("joe", "x"), b""),
        (b'<joe@x> X="', Address("joe", "x"), b' X="'),
    ],
)
def test_paths(octets: bytes, address: Address | None, rest: bytes) -> None:
    assert parse_path(octets) == (address, rest)


@pytest.mark.parametrize(
    "octets",
    [
        *(
            b"",
            b"joe@x",
            b"<joe@x",
            b"< joe@x>",
            b"<joe@x >",
            b'<"a>',
            b"<@a:>",
            b"<@a joe@x>",
            b"<@:joe@x>",
            b"<a:b@x>",
        ),
        *(b"<" + b"a" * 60 + b"@" + b"x." * 100 + b"x>", "<jö@x>".encode(), b"<joe@x\r\n>", b"<joe\0@x>"),
    ],
)
def test_bad_paths(octets: bytes) -> None:
    with pytest.raises(BadAddress):
        parse_path(octets)


def test_paths_in_utf8_only_where_that_was_agreed() -> None:
    assert parse_path("<jö@bücher.example>".encode(), utf8=True) == (Address("jö", "bücher.example"), b"")
    with pytest.raises(BadAddress):
        parse_path(b"<j\xff@x>", utf8=True)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.sampled_from(["x", "example.org", "[192.0.2.1]", "bücher.example"]))
def test_what_is_made_can_be_written_and_read(local: str, domain: str) -> None:
    try:
        address = make_address(local, domain)
    except BadAddress:
        return
    assert parse_address(str(address)) == address
    assert parse_path(f"<{address}>x".encode(), utf8=True) == (address, b"x")
    assert not set("\r\n\0") & set(str(address))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_paths_fail_in_one_way_only(octets: bytes) -> None:
    try:
        parse_path(b"<" + octets + b">", utf8=True)
    except BadAddress:
        pass
