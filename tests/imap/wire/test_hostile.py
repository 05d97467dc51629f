"""Whatever a client sends: no exception, the same events however it is cut, and nothing of a literal is ever done."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.imap.wire.commands import Append, Authenticate, Command, Idle, Login, Noop, StartTls
from twisted_mail_kit.imap.wire.connection import IMAPWire
from twisted_mail_kit.imap.wire.events import AppendEnd, BadCommand, ContinuationNeeded, Literal, Response
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.responses import astring, string
from twisted_mail_kit.net.inbox import NEED_DATA

SMALL = WireLimits(line=300, literal=40, command=400, message=60, nesting=5, search_keys=12, set_ranges=6, wildcards=3)

WORDS = [
    *b"NOOP CAPABILITY LOGIN SELECT EXAMINE CREATE DELETE RENAME LIST LSUB STATUS APPEND IDLE DONE STARTTLS".split(),
    *b"AUTHENTICATE FETCH STORE SEARCH COPY MOVE UID EXPUNGE ID ENABLE NAMESPACE SUBSCRIBE PLAIN INBOX NIL".split(),
    *b"FLAGS +FLAGS -FLAGS.SILENT BODY[] BODY.PEEK[HEADER.FIELDS (X)]<0.1> ALL FULL RFC822 ENVELOPE".split(),
    *b"OR NOT SEEN FROM TO HEADER TEXT BEFORE 1-Jan-2020 LARGER CHARSET UTF-8 MODSEQ KEYWORD".split(),
    *b"(CONDSTORE) (CHANGEDSINCE (UNCHANGEDSINCE RETURN (STATUS (MESSAGES UNSEEN)) (USE (\\Sent))".split(),
    *b"1 2:3 1:* * 1,2 0 99999999999 4294967296 % a/b &AOk- & \\Seen \\* = AAAA AAA= ~ + $ ] [ < > . , :".split(),
    *[b"(", b")", b'"', b'""', b'"a b"', b'"\\""', b"\\", b"{", b"}", b" ", b"  ", b"\r", b"\n", b"\0", b"\xe9"],
    *[b"\r\n", b"{0}\r\n", b"{3}\r\nabc", b"{3+}\r\nabc", b"{3+}\r\n", b"{41}\r\n", b"{41+}\r\n", b"~{2+}\r\nab"],
    *[b"a ", b"\r\na ", b"\r\na ", b"a1 NOOP\r\n", b"DONE\r\n", b"*\r\n", b"a UID FETCH 1 (", b"a APPEND x {5+}\r\n"],
]

words = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=25)
spaced = words.map(b" ".join)
talk = spaced | words.map(b"".join) | spaced.map(lambda line: b"a " + line + b"\r\n")
conversations = st.lists(talk, max_size=6).map(b"".join)


def play(octets: bytes, seed: int, step: int) -> list[object]:
    """A session that decides by lot, but the same way for the same seed."""
    lot = random.Random(seed)
    wire = IMAPWire(SMALL, utf8=bool(seed & 1))
    events: list[object] = []
    for at in range(0, len(octets), step):
        wire.receive(octets[at : at + step])
        while (event := wire.next_event()) is not NEED_DATA:
            if isinstance(event, Literal) and events and isinstance(events[-1], Literal) and not events[-1].last:
                event = Literal(events.pop().octets + event.octets, event.last)  # type: ignore[attr-defined]
            events.append(event)
            if isinstance(event, Append):
                wire.accept_literal() if lot.random() < 0.6 else wire.refuse_literal()
            elif isinstance(event, Authenticate | Response):
                if lot.random() < 0.7:
                    wire.expect_response()
            elif isinstance(event, Idle | StartTls):
                if lot.random() < 0.3:
                    wire.resume()
            elif isinstance(event, BadCommand):
                line = event.line()
                assert line.isascii()
                assert line.endswith(b"\r\n")
                assert line.count(b"\n") == line.count(b"\r") == 1
                assert len(line) < 500
    return events


@settings(max_examples=200, deadline=None)
@given(octets=conversations | st.binary(max_size=200), seed=st.integers(0, 1000), step=st.integers(1, 20))
def test_nothing_raises_and_cuts_make_no_difference(octets: bytes, seed: int, step: int) -> None:
    whole = play(octets, seed, max(len(octets), 1))
    assert play(octets, seed, 1) == whole
    assert play(octets, seed, step) == whole
    for event in whole:
        hash(event)
        repr(event)


@settings(max_examples=200, deadline=None)
@given(octets=conversations | st.binary(max_size=200), seed=st.integers(0, 1000))
def test_events_come_in_a_sensible_order(octets: bytes, seed: int) -> None:
    events = play(octets, seed, max(len(octets), 1))
    in_message = 0
    message_over = False
    for event in events:
        if message_over:
            assert isinstance(event, AppendEnd | BadCommand)
            message_over = False
        elif isinstance(event, Literal):
            assert in_message
            assert len(event.octets) <= in_message
            if event.last:
                assert len(event.octets) == in_message
                message_over = True
        else:
            assert not isinstance(event, AppendEnd)
        in_message = event.size if isinstance(event, Append) else 0
        assert sum(isinstance(event, BadCommand) and event.fatal for event in events) <= 1
    if any(isinstance(event, BadCommand) and event.fatal for event in events):
        assert events[-1].fatal  # type: ignore[attr-defined]


@settings(max_examples=200, deadline=None)
@given(octets=conversations)
def test_memory_is_bounded_by_the_limits(octets: bytes) -> None:
    wire = IMAPWire(SMALL)
    for at in range(len(octets)):
        wire.receive(octets[at : at + 1])
        while (event := wire.next_event()) is not NEED_DATA:
            if isinstance(event, Append):
                wire.accept_literal()
            elif isinstance(event, StartTls | Idle):
                wire.resume()
        kept = len(wire._buffer) + sum(map(len, wire._parts))
        assert kept <= SMALL.command + SMALL.line + 1


@settings(max_examples=200, deadline=None)
@given(
    inner=st.lists(st.sampled_from([b"x NOOP\r\n", b"x LOGIN {3+}\r\n", b'"', b"\r\n", b"{5}\r\n", b"DONE\r\n", b")"]))
    .map(b"".join)
    .filter(lambda octets: len(octets) <= 40),
    start=st.sampled_from(
        [
            b"a LOGIN x ",
            b"a NOPE ",
            b"a ",
            b"",
            b"+ ",
            b"a APPEND x ",
            b"a APPEND x//y ",
            b"a APPEND ",
            b"a SELECT ",
            b"a UID FETCH 1 BODY[HEADER.FIELDS (",
            b"a SEARCH TEXT ",
            b"a NOOP ",
            b"a LOGIN x ~",
            b"a APPEND x ~",
            b"a APPEND {1+}\r\nx ",
            b"a NOPE {1+}\r\nx ",
            b"a LOGIN {0+}\r\n ",
        ]
    ),
    accept=st.booleans(),
)
def test_a_literal_is_never_a_command(inner: bytes, start: bytes, accept: bool) -> None:
    """What a client sends as data may come from a stranger: none of it may be done."""
    wire = IMAPWire(SMALL)
    wire.receive(start + b"{%d+}\r\n" % len(inner) + inner + b"\r\nok NOOP\r\n")
    commands = []
    while (event := wire.next_event()) is not NEED_DATA:
        if isinstance(event, Append):
            wire.accept_literal() if accept else wire.refuse_literal()
        if isinstance(event, Command):
            commands.append(event)
        if isinstance(event, BadCommand):
            assert not event.fatal
            assert event.tag in (b"a", None)
    assert commands[-1] == Noop(b"ok")
    assert {command.tag for command in commands} <= {b"a", b"ok"}


without_nul = st.binary(max_size=40).map(lambda octets: octets.replace(b"\0", b""))


@settings(max_examples=200, deadline=None)
@given(user=without_nul, password=without_nul)
def test_every_login_is_heard_as_it_was_meant(user: bytes, password: bytes) -> None:
    for make in (string, astring, lambda octets: b"{%d+}\r\n%b" % (len(octets), octets)):
        wire = IMAPWire(SMALL)
        wire.receive(b"a LOGIN %b %b\r\n" % (make(user), make(password)))
        events = []
        while (event := wire.next_event()) is not NEED_DATA:
            events.append(event)
        assert events[-1] == Login(b"a", user, password)
        assert all(isinstance(event, ContinuationNeeded) for event in events[:-1])
