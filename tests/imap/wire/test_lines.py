"""Tags, line ends, names that cannot be: what is answered, and that the next command is heard."""

from __future__ import annotations

import pytest

from twisted_mail_kit.imap.wire.commands import Check, Login, Noop, Select
from twisted_mail_kit.imap.wire.events import BadCommand, ContinuationNeeded

A = b"a"

IMPOSSIBLE_NAMES = [
    b'""',
    b"/",
    b"//",
    b"/a",
    b"a//b",
    b"a/b//",
    b"&",
    b"&AP",
    b"&AP-",
    b"&AGEAYg-",  # printable ASCII in base64
    b"a&AOk-&AOk-",  # a needless shift
    b"&AOl-",  # stray bits
    b"&2AA-",  # half a surrogate pair
    b"&AA0ACg-",  # CR LF
    b"&AAA-",  # NUL
    b"&AH8-",
    b"{1+}\r\n\xe9",
    b'"\xc3\xa9"',
    b'"a\tb"',
    b"{3+}\r\na\r\n",
    b"x" * 1001,
]


@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("verb", [b"SELECT", b"CREATE", b"DELETE", b"RENAME x", b"SUBSCRIBE", b"COPY 1", b"MOVE 1"])
def test_a_name_that_cannot_be_is_no(hear, verb: bytes, name: bytes) -> None:
    first, second = hear(b"a " + verb + b" " + name + b"\r\nb NOOP\r\n")
    assert (first.tag, first.status, first.code, first.fatal) == (b"a", b"NO", b"CANNOT", False)
    assert second == Noop(b"b")


@pytest.mark.parametrize("tag", [b"a", b"A001", b"1", b"a.b", b"]", b"[a]", b"!#$&',-./:;<=>?@^_`|}~", b"NOOP", b"-"])
def test_a_tag_is_given_back_as_it_is(hear, tag: bytes) -> None:
    assert hear(tag + b" noop\r\n") == [Noop(tag)]
    (bad,) = hear(tag + b" nope\r\n")
    assert bad.line().startswith(tag + b" BAD ")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b" NOOP",
        b"+ NOOP",
        b"a+b NOOP",
        b"* NOOP",
        b"a* NOOP",
        b"% NOOP",
        b"(a) NOOP",
        b'"a" NOOP',
        b"a\\b NOOP",
        b"{a NOOP",
        b"\xe9 NOOP",
        b"\x00 NOOP",
        b"\x7f NOOP",
        b"\t NOOP",
        b"a\tNOOP",
        b"a\x00 NOOP",
    ],
)
def test_without_a_tag_the_answer_is_untagged(hear, line: bytes) -> None:
    first, second = hear(line + b"\r\nb NOOP\r\n")
    assert first.tag is None
    assert first.line().startswith(b"* BAD ")
    assert second == Noop(b"b")


def test_a_tag_alone_is_bad(hear) -> None:
    (bad,) = hear(b"a\r\n")
    assert bad.tag == b"a"


@pytest.mark.parametrize("line", [b"a NOOP\n", b"\n", b"a LOGIN x y\n", b"a NO\nOP\r\n"])
def test_a_bare_line_feed_ends_no_command(hear, line: bytes) -> None:
    events = hear(line + b"b CHECK\r\n")
    assert all(isinstance(event, BadCommand) for event in events[:-1])
    assert events[:-1]
    assert events[-1] == Check(b"b")


@pytest.mark.parametrize("line", [b"a LOGIN {5+}\n", b"a LOGIN {5}\n", b"a APPEND INBOX {5+}\n", b"\n{5+}\n"])
def test_a_literal_announced_with_a_bare_line_feed_ends_it_all(hear, line: bytes) -> None:
    *_, last = hear(line + b"b NOOP\r\nc NOOP\r\n")
    assert isinstance(last, BadCommand)
    assert last.fatal


def test_commands_are_heard_in_their_order(hear) -> None:
    assert hear(b"a NOOP\r\nb CHECK\r\nc X\r\nd LOGIN {1}\r\nx y\r\ne NOOP\r\n") == [
        Noop(b"a"),
        Check(b"b"),
        BadCommand(b"c", "Unknown command"),
        ContinuationNeeded(),
        Login(b"d", b"x", b"y"),
        Noop(b"e"),
    ]


def test_utf8_mode_takes_names_as_they_are(hear) -> None:
    octets = 'a SELECT "Entwürfe/&-"\r\n'.encode()
    assert hear(octets, utf8=True) == [Select(A, ("Entwürfe", "&-"), read_only=False)]
    (bad,) = hear(b"a SELECT {1+}\r\n\xe9\r\n", utf8=True)
    assert bad.status == b"NO"
