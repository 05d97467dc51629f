"""What stands around commands: literals, IDLE, AUTHENTICATE, STARTTLS, the end."""

from __future__ import annotations

import base64

import pytest

from twisted_mail_kit.imap.wire.commands import Authenticate, Idle, Login, Logout, Noop, StartTls
from twisted_mail_kit.imap.wire.connection import IMAPWire
from twisted_mail_kit.imap.wire.events import BadCommand, ContinuationNeeded, Done, Response
from twisted_mail_kit.net.inbox import NEED_DATA

# --- literals ------------------------------------------------------------------------------------------------------


def test_nothing_is_heard_until_the_line_is_whole() -> None:
    wire = IMAPWire()
    assert wire.next_event() is NEED_DATA
    assert not wire.has_leftover
    wire.receive(b"a NOOP\r")
    assert wire.next_event() is NEED_DATA
    assert wire.has_leftover
    wire.receive(b"\n")
    assert wire.next_event() == Noop(b"a")
    assert wire.next_event() is NEED_DATA
    assert not wire.has_leftover


def test_a_synchronising_literal_is_asked_for_once_each() -> None:
    wire = IMAPWire()
    wire.receive(b"a LOGIN {4}\r\n")
    assert wire.next_event() == ContinuationNeeded()
    assert wire.next_event() is NEED_DATA
    wire.receive(b"fr")
    assert wire.next_event() is NEED_DATA
    wire.receive(b"ed {6}\r\n")
    assert wire.next_event() == ContinuationNeeded()
    wire.receive(b"secret")
    assert wire.next_event() is NEED_DATA
    wire.receive(b"\r\n")
    assert wire.next_event() == Login(b"a", b"fred", b"secret")


def test_a_non_synchronising_literal_is_not_asked_for(hear) -> None:
    assert hear(b"a LOGIN {4+}\r\nfred {6+}\r\nsecret\r\n") == [Login(b"a", b"fred", b"secret")]


def test_a_literal_may_hold_what_looks_like_commands_and_literals(hear) -> None:
    inner = b'b NOOP\r\nc LOGIN {3}\r\n"'
    octets = b"a LOGIN {%d+}\r\n%b x\r\nd NOOP\r\n" % (len(inner), inner)
    assert hear(octets) == [Login(b"a", inner, b"x"), Noop(b"d")]


@pytest.mark.parametrize(
    "line", [b"a NOPE {5}", b"a UID NOPE {5}", b"a+b LOGIN {5}", b"{5}", b"a {5}", b"a LOGIN ~{5}", b'a "LOGIN" {5}']
)
def test_a_synchronising_literal_of_a_hopeless_command_is_refused_before_it_is_sent(hear, line: bytes) -> None:
    bad, noop = hear(line + b"\r\nb NOOP\r\n")
    assert isinstance(bad, BadCommand)
    assert not bad.fatal
    assert noop == Noop(b"b")


@pytest.mark.parametrize(
    "line", [b"a NOPE {8+}", b"a UID NOPE {8+}", b"a+b LOGIN {8+}", b"{8+}", b"a {8+}", b"a LOGIN ~{8+}"]
)
def test_a_non_synchronising_literal_of_a_hopeless_command_is_thrown_away(hear, line: bytes) -> None:
    """What is in it must never be taken for commands."""
    bad, noop = hear(line + b"\r\nx NOOP\r\n x {9+}\r\ny LOGOUT\n)\r\nb NOOP\r\n")
    assert isinstance(bad, BadCommand)
    assert not bad.fatal
    assert noop == Noop(b"b")


def test_a_hopeless_command_is_told_at_its_next_synchronising_literal(hear) -> None:
    bad, noop = hear(b"a NOPE {3+}\r\nxyz {5}\r\nb NOOP\r\n")
    assert bad.tag == b"a"
    assert noop == Noop(b"b")


@pytest.mark.parametrize("line", [b"a NOOP {3}", b"a LOGIN x y {3}", b"a STORE 1 {3}", b"a SEARCH 1 {3}"])
def test_a_literal_where_none_belongs_is_bad_after_it_was_read(hear, line: bytes) -> None:
    asked, bad, noop = hear(line + b"\r\nxyz\r\nb NOOP\r\n")
    assert asked == ContinuationNeeded()
    assert bad.tag == b"a"
    assert noop == Noop(b"b")


@pytest.mark.parametrize("text", [b'"{3}', b'"{3+}'])
def test_an_announcement_in_an_unended_quoted_string_is_bad(hear, text: bytes) -> None:
    *_, bad, noop = hear(b"a LOGIN x " + text + b'\r\nb N"\r\nc NOOP\r\n')
    assert isinstance(bad, BadCommand)
    assert noop == Noop(b"c")


def test_a_command_of_many_literals(hear) -> None:
    words = [b"word%d" % number for number in range(50)]
    line = b"".join(b" SUBJECT {%d+}\r\n%b" % (len(word), word) for word in words)
    (search,) = hear(b"a SEARCH" + line + b"\r\n")
    assert [key.text.encode() for key in search.program.keys] == words


# --- IDLE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [b"DONE", b"done", b"Done"])
def test_idle_ends_with_done(hear, done: bytes) -> None:
    assert hear(b"a IDLE\r\n" + done + b"\r\nb NOOP\r\n") == [Idle(b"a"), Done(), Noop(b"b")]


@pytest.mark.parametrize("line", [b"b NOOP", b"", b"DONE ", b" DONE", b"DONE x", b"b LOGIN {3}", b"DO\x00NE"])
def test_idle_ends_with_anything_else_too_but_that_is_bad(hear, line: bytes) -> None:
    _idle, bad, noop = hear(b"a IDLE\r\n" + line + b"\r\nc NOOP\r\n")
    assert (bad.tag, bad.fatal) == (b"a", False)
    assert noop == Noop(b"c")


def test_done_with_a_bare_line_feed_is_bad(hear) -> None:
    _, bad, noop = hear(b"a IDLE\r\nDONE\nc NOOP\r\n")
    assert bad.tag == b"a"
    assert noop == Noop(b"c")


def test_done_outside_of_idle_is_bad(hear) -> None:
    (bad,) = hear(b"DONE\r\n")
    assert isinstance(bad, BadCommand)


def test_a_literal_pipelined_into_idle_ends_it_all(hear) -> None:
    """Its octets would be taken for commands."""
    _, bad = hear(b"a IDLE\r\nb LOGIN {8+}\r\nx NOOP\r\n y\r\n")
    assert bad.fatal


def test_a_refused_idle_is_none() -> None:
    wire = IMAPWire()
    wire.receive(b"a IDLE\r\nb NOOP\r\n")
    assert wire.next_event() == Idle(b"a")
    wire.resume()
    assert wire.next_event() == Noop(b"b")


def test_resume_changes_nothing_elsewhere() -> None:
    wire = IMAPWire()
    wire.receive(b"a LOGIN {3+}\r\nab")
    assert wire.next_event() is NEED_DATA
    wire.resume()
    wire.receive(b"c x\r\n")
    assert wire.next_event() == Login(b"a", b"abc", b"x")


# --- AUTHENTICATE --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [b"", b"\0", b"\0fred\0secret", bytes(range(256))])
def test_responses_are_decoded(hear, octets: bytes) -> None:
    line = base64.b64encode(octets)
    events = hear(b"a AUTHENTICATE X\r\n" + line + b"\r\n" + line + b"\r\n")
    assert events == [Authenticate(b"a", "X", None), Response(octets), Response(octets)]


def test_a_star_gives_the_exchange_up(hear) -> None:
    assert hear(b"a AUTHENTICATE X\r\n*\r\nb NOOP\r\n") == [
        Authenticate(b"a", "X", None),
        Response(None),
        Noop(b"b"),
    ]


@pytest.mark.parametrize(
    "line", [b"=", b"AAA", b"A===", b"AA=A", b"AAAA====", b"AA-_", b"AAAA AAAA", b" AAAA", b"AAAA ", b"\xe9", b"**"]
)
def test_a_response_that_is_no_base64_ends_the_exchange(hear, line: bytes) -> None:
    _, bad, noop = hear(b"a AUTHENTICATE X\r\n" + line + b"\r\nb NOOP\r\n")
    assert (bad.tag, bad.fatal) == (b"a", False)
    assert noop == Noop(b"b")


def test_a_response_ends_with_cr_lf(hear) -> None:
    _, bad, noop = hear(b"a AUTHENTICATE X\r\nAAAA\nb NOOP\r\n")
    assert bad.tag == b"a"
    assert noop == Noop(b"b")


def test_a_literal_pipelined_into_an_exchange_ends_it_all(hear) -> None:
    _, bad = hear(b"a AUTHENTICATE X\r\nb LOGIN {8+}\r\nx NOOP\r\n y\r\n")
    assert bad.fatal


def test_without_expectation_commands_follow_authenticate() -> None:
    wire = IMAPWire()
    wire.receive(b"a AUTHENTICATE X\r\nb NOOP\r\n")
    assert wire.next_event() == Authenticate(b"a", "X", None)
    assert wire.next_event() == Noop(b"b")


# --- STARTTLS ------------------------------------------------------------------------------------------------------


def test_nothing_is_heard_after_starttls() -> None:
    wire = IMAPWire()
    wire.receive(b"a STARTTLS\r\n")
    assert wire.next_event() == StartTls(b"a")
    assert wire.next_event() is NEED_DATA
    assert not wire.has_leftover
    wire.receive(b"b LOGOUT\r\n")
    assert wire.next_event() is NEED_DATA
    assert wire.has_leftover


def test_what_was_pipelined_after_starttls_shows() -> None:
    wire = IMAPWire()
    wire.receive(b"a STARTTLS\r\nb")
    assert wire.next_event() == StartTls(b"a")
    assert wire.has_leftover


def test_after_a_refused_starttls_commands_go_on() -> None:
    wire = IMAPWire()
    wire.receive(b"a STARTTLS\r\nb LOGOUT\r\n")
    assert wire.next_event() == StartTls(b"a")
    wire.resume()
    assert wire.next_event() == Logout(b"b")


# --- mistakes of the session ---------------------------------------------------------------------------------------


def test_a_session_that_forgets_to_decide_is_told() -> None:
    wire = IMAPWire()
    with pytest.raises(RuntimeError):
        wire.accept_literal()
    with pytest.raises(RuntimeError):
        wire.refuse_literal()
    wire.receive(b"a APPEND INBOX {3}\r\n")
    wire.next_event()
    with pytest.raises(RuntimeError):
        wire.next_event()
    wire.refuse_literal()
    with pytest.raises(RuntimeError):
        wire.accept_literal()
