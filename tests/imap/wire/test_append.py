"""APPEND: what stands before the message, and the message in pieces."""

from __future__ import annotations

import pytest

from twisted_mail_kit.imap.wire.commands import Append, Noop
from twisted_mail_kit.imap.wire.connection import IMAPWire
from twisted_mail_kit.imap.wire.events import AppendEnd, BadCommand, ContinuationNeeded, Literal
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.net.inbox import NEED_DATA

INBOX = ("INBOX",)
NEW_YEAR = 1577836800

HEADS = [
    (b"INBOX", INBOX, (), None),
    (b'"a b"', ("a b",), (), None),
    (b"INBOX ()", INBOX, (), None),
    (b"INBOX (\\Seen $Forwarded x)", INBOX, (b"\\Seen", b"$Forwarded", b"x"), None),
    (b'INBOX "01-Jan-2020 00:00:00 +0000"', INBOX, (), NEW_YEAR),
    (b'INBOX " 1-jan-2020 01:00:00 +0100"', INBOX, (), NEW_YEAR),
    (b'INBOX "1-Jan-2020 00:00:00 +0000"', INBOX, (), NEW_YEAR),  # no RFC's form, but many a client's
    (b'INBOX (\\Draft) "31-Dec-2019 19:00:00 -0500"', INBOX, (b"\\Draft",), NEW_YEAR),
]


@pytest.mark.parametrize(("head", "mailbox", "flags", "date"), HEADS)
@pytest.mark.parametrize("plus", [b"", b"+"])
def test_the_head_then_the_message(hear, head: bytes, mailbox, flags, date, plus: bytes) -> None:
    message = b"Subject: x\r\n\r\na {3}\r\n\x00\xff\n"
    octets = b"a APPEND %b {%d%b}\r\n%b\r\nb NOOP\r\n" % (head, len(message), plus, message)
    assert hear(octets) == [
        Append(b"a", mailbox, flags, date, len(message)),
        Literal(message, last=True),
        AppendEnd(),
        Noop(b"b"),
    ]


@pytest.mark.parametrize("sign", [b"{5+}", b"{05+}"])
def test_the_mailbox_may_be_a_literal(hear, sign: bytes) -> None:
    assert hear(b"a append " + sign + b"\r\ninbox (x) {2+}\r\nhi\r\n") == [
        Append(b"a", INBOX, (b"x",), None, 2),
        Literal(b"hi", last=True),
        AppendEnd(),
    ]
    assert hear(b"a APPEND {5}\r\ninbox {2}\r\nhi\r\n") == [
        ContinuationNeeded(),
        Append(b"a", INBOX, (), None, 2),
        Literal(b"hi", last=True),
        AppendEnd(),
    ]


def test_an_empty_message(hear) -> None:
    assert hear(b"a APPEND x {0+}\r\n\r\n") == [
        Append(b"a", ("x",), (), None, 0),
        Literal(b"", last=True),
        AppendEnd(),
    ]


BAD_HEADS = [
    b" INBOX",
    b"(\\Seen)",
    b"INBOX  ",
    b"INBOX (\\Seen)x",
    b"INBOX (\\Seen",
    b"INBOX \\Seen",
    b"INBOX (\\*)",
    b'INBOX "01-Jan-2020"',
    b'INBOX "00-Jan-2020 00:00:00 +0000"',
    b'INBOX "30-Feb-2020 00:00:00 +0000"',
    b'INBOX "01-Foo-2020 00:00:00 +0000"',
    b'INBOX "01-Jan-2020 24:00:00 +0000"',
    b'INBOX "01-Jan-2020 00:00:00 GMT"',
    b'INBOX "01-Jan-2020 00:00:00 +0000" (\\Seen)',
    b'INBOX (\\Seen)  "01-Jan-2020 00:00:00 +0000"',
    b"INBOX x",
    b"{1+}\r\nx{1+}\r\ny",
    b"IN*BOX",
    b"&",
    b"a//b",
]


@pytest.mark.parametrize("head", BAD_HEADS)
def test_a_bad_head_is_told_before_the_message_is_sent(hear, head: bytes) -> None:
    *_, bad, noop = hear(b"a APPEND " + head + b" {16}\r\nb NOOP\r\n")
    assert isinstance(bad, BadCommand)
    assert (bad.tag, bad.fatal) == (b"a", False)
    assert noop == Noop(b"b")


@pytest.mark.parametrize("head", BAD_HEADS)
def test_after_a_bad_head_a_message_on_its_way_is_thrown_away(hear, head: bytes) -> None:
    """A message that holds commands must never have them done."""
    *before, bad, noop = hear(b"a APPEND " + head + b" {16+}\r\nx NOOP\r\ny IDLE\r\r\nb NOOP\r\n")
    assert not before
    assert isinstance(bad, BadCommand)
    assert (bad.tag, bad.fatal) == (b"a", False)
    assert noop == Noop(b"b")


def test_a_refused_message_that_waits_is_never_sent(hear) -> None:
    assert hear(b"a APPEND x {16}\r\nb NOOP\r\n", accept=False) == [Append(b"a", ("x",), (), None, 16), Noop(b"b")]


def test_a_refused_message_that_comes_nevertheless_is_silently_thrown_away(hear) -> None:
    octets = b"a APPEND x {16+}\r\nx NOOP\r\ny IDLE\r\r\nb NOOP\r\n"
    assert hear(octets, accept=False) == [Append(b"a", ("x",), (), None, 16), Noop(b"b")]
    # whatever stands behind it was answered already
    octets = b"a APPEND x {1+}\r\nx (\\Seen) {8+}\r\nc NOOP\r\n\r\nb NOOP\r\n"
    assert hear(octets, accept=False) == [Append(b"a", ("x",), (), None, 1), Noop(b"b")]
    octets = b"a APPEND x {1+}\r\nx (\\Seen) {8}\r\nb NOOP\r\n"
    assert hear(octets, accept=False) == [Append(b"a", ("x",), (), None, 1), Noop(b"b")]


def test_the_wire_tells_who_waits() -> None:
    for sign, waits in ((b"", True), (b"+", False)):
        wire = IMAPWire()
        wire.receive(b"a APPEND x {1%b}\r\n" % sign)
        assert isinstance(wire.next_event(), Append)
        assert wire.literal_waits is waits
        assert wire.accept_literal() is waits
        assert wire.next_event() is NEED_DATA


@pytest.mark.parametrize("tail", [b" ", b"x", b" (\\Seen) {3+}\r\nabc", b" {3+}\r\nabc x", b"\r", b"\n"])
def test_what_stands_behind_the_message_spoils_it(hear, tail: bytes) -> None:
    """RFC 3502 is not there: two messages are none."""
    events = hear(b"a APPEND x {2+}\r\nhi" + tail + b"\r\nb NOOP\r\n")
    assert events[:2] == [Append(b"a", ("x",), (), None, 2), Literal(b"hi", last=True)]
    assert AppendEnd() not in events
    assert isinstance(events[2], BadCommand)
    assert events[2].tag == b"a"
    assert events[-1] == Noop(b"b")


def test_a_second_message_that_waits_is_refused_at_once(hear) -> None:
    *_, bad, noop = hear(b"a APPEND x {2+}\r\nhi {3}\r\nb NOOP\r\n")
    assert bad.tag == b"a"
    assert noop == Noop(b"b")


def test_binary_messages_are_refused(hear) -> None:
    """RFC 3516 is not there."""
    bad, noop = hear(b"a APPEND x ~{8}\r\nb NOOP\r\n")
    assert (bad.tag, noop) == (b"a", Noop(b"b"))
    bad, noop = hear(b"a APPEND x ~{8+}\r\nb NOOP\r\n\r\nc NOOP\r\n")
    assert (bad.tag, noop) == (b"a", Noop(b"c"))


def test_the_message_streams_as_it_comes() -> None:
    wire = IMAPWire()
    wire.receive(b"a APPEND x {10}\r\n")
    wire.next_event()
    wire.accept_literal()
    wire.receive(b"abc")
    assert wire.next_event() == Literal(b"abc", last=False)
    assert wire.next_event() is NEED_DATA
    wire.receive(b"defghij\r\nb NOOP\r\n")
    assert wire.next_event() == Literal(b"defghij", last=True)
    assert wire.next_event() == AppendEnd()
    assert wire.next_event() == Noop(b"b")


SMALL = WireLimits(message=10, literal=8)


def test_a_message_of_the_limit_is_taken(hear) -> None:
    for plus in (b"", b"+"):
        events = hear(b"a APPEND x {10%b}\r\n0123456789\r\n" % plus, limits=SMALL)
        assert events[1:] == [Literal(b"0123456789", last=True), AppendEnd()]


def test_a_message_over_the_limit_is_too_big(hear) -> None:
    bad, noop = hear(b"a APPEND x {11}\r\nb NOOP\r\n", limits=SMALL)
    assert (bad.tag, bad.status, bad.code, bad.fatal) == (b"a", b"NO", b"TOOBIG", False)
    assert noop == Noop(b"b")


@pytest.mark.parametrize("size", [b"11", b"4294967296", b"9" * 5000])
def test_a_message_over_the_limit_that_does_not_wait_ends_it_all(hear, size: bytes) -> None:
    (bad,) = hear(b"a APPEND x {%b+}\r\n0123456789a\r\nb NOOP\r\n" % size, limits=SMALL)
    assert (bad.tag, bad.code, bad.fatal) == (b"a", b"TOOBIG", True)


def test_a_message_to_be_thrown_away_has_the_same_limit(hear) -> None:
    bad, noop = hear(b"a APPEND x//y {10+}\r\n0123456789\r\nb NOOP\r\n", limits=SMALL)
    assert (bad.status, bad.fatal, noop) == (b"NO", False, Noop(b"b"))
    (bad,) = hear(b"a APPEND x//y {11+}\r\n0123456789a\r\nb NOOP\r\n", limits=SMALL)
    assert bad.fatal
