"""FETCH and STORE read at a glance are what they are when they are read word by word."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap.wire import parser
from twisted_mail_kit.imap.wire.commands import Command, Store
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.reader import Bad
from twisted_mail_kit.imap.wire.usual import read_usual

LIMITS = WireLimits(set_ranges=100)


def outcome(read: Callable[[], Command]) -> object:
    try:
        return read()
    except Bad as bad:
        return bad.text, bad.code, bad.status


def both(octets: bytes) -> tuple[object, object]:
    quick = outcome(lambda: parser.parse_command(octets, LIMITS))
    with patch.object(parser, "read_usual", lambda *_: None):
        return quick, outcome(lambda: parser.parse_command(octets, LIMITS))


@pytest.mark.parametrize(
    "octets",
    [
        b"a FETCH 1 FLAGS",
        b"a1 uid fetch 17 (BODY.PEEK[HEADER.FIELDS (From To)] UID)",
        b"t UID FETCH 1:4,9,12 ENVELOPE",
        b"t FETCH 12 ALL",
        b"t fetch 4 body[1.2]<0.500>",
        b"x STORE 5 +FLAGS (\\Seen)",
        b"x UID STORE 5:7 -flags.silent (\\Deleted later)",
        b"x STORE 2 FLAGS \\Seen \\Draft",
        b"x STORE 2 (UNCHANGEDSINCE 12) FLAGS.SILENT ()",
    ],
    ids=str,
)
def test_the_usual_is_known_at_a_glance(octets: bytes) -> None:
    command = read_usual(octets, LIMITS, utf8=False)
    assert command is not None
    assert both(octets) == (command, command)


@pytest.mark.parametrize(
    "octets",
    [
        b"a FETCH * FLAGS",
        b"a FETCH 0 FLAGS",
        b"a FETCH 007 FLAGS",
        b"a FETCH 4294967296 FLAGS",
        b"a FETCH 1,, FLAGS",
        b"a FETCH %b FLAGS" % b",".join([b"1"] * 101),
        b"a FETCH 1  FLAGS",
        b"a FETCH 1 FLAGS ",
        b"a FETCH 1 (FLAGS) (CHANGEDSINCE 5)",
        b"a FETCH 1 (FLAGS",
        b"a FETCH 1",
        b"a UID  FETCH 1 FLAGS",
        b"a STORE 1 FLAGS (\\Recent",
        b"a STORE 1 FLUGS (\\Seen)",
        b"a STORE 1 +FLAGS.SILENT",
        b"a+ FETCH 1 FLAGS",
        b'a" FETCH 1 FLAGS',
        b"a FETCH 1 (BODY[HEADER.FIELDS ({4}\r\nFrom)])",
        b"a FETCH 1 (BODY[HEADER.FIELDS (%b)])" % (b"x" * 300),
    ],
    ids=str,
)
def test_what_is_wrong_or_rare_is_told_as_ever(octets: bytes) -> None:
    quick, slow = both(octets)
    assert quick == slow


PIECES = [b"a", b" ", b"UID ", b"FETCH ", b"STORE ", b"1", b"0", b"1:*", b"2,3:1", b"*", b"FLAGS", b"+FLAGS.SILENT",
          b"(", b")", b"\\Seen", b"BODY[", b"]", b"BODY.PEEK[TEXT]<1.2>", b"(UNCHANGEDSINCE 4) ", b" (CHANGEDSINCE 4)",
          b"ENVELOPE", b"{1}\r\nx", b"\n", b"\xff"]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"a FETCH ", b"b UID FETCH ", b"c STORE ", b"d uid Store ", b""]),
    st.sampled_from([b"1 ", b"3:7 ", b"*:2 ", b""]),
    st.lists(st.sampled_from(PIECES), max_size=7),
)
def test_the_two_ways_of_reading_agree(name: bytes, numbers: bytes, pieces: list[bytes]) -> None:
    quick, slow = both(name + numbers + b"".join(pieces))
    assert quick == slow


def test_a_change_is_remembered_and_the_messages_are_not() -> None:
    first, second = (read_usual(b"a STORE %d +FLAGS (\\Seen)" % number, LIMITS, utf8=False) for number in (4, 5))
    assert isinstance(first, Store) and isinstance(second, Store)
    assert (first.messages, second.messages) == (((4, 4),), ((5, 5),))
    assert first.flags is second.flags
