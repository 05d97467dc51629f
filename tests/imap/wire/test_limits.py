"""Every limit, at it and one over it; and the time and memory that a hostile client may cost."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from twisted_mail_kit.imap.wire.commands import List, Login, Noop, Search, Store
from twisted_mail_kit.imap.wire.connection import IMAPWire
from twisted_mail_kit.imap.wire.events import BadCommand, ContinuationNeeded, Literal
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.net.inbox import NEED_DATA

SMALL = WireLimits(line=40, literal=10, command=60, message=20)


def test_the_defaults_are_those_that_are_promised() -> None:
    limits = WireLimits()
    assert (limits.line, limits.literal, limits.message) == (64 * 1024, 64 * 1024, 50 * 1024 * 1024)
    assert (limits.nesting, limits.search_keys, limits.set_ranges, limits.wildcards) == (100, 1000, 10_000, 10)


# --- lines ---------------------------------------------------------------------------------------------------------


def test_a_line_of_the_limit_is_taken(hear) -> None:
    line = b"a LOGIN x " + b"y" * 28 + b"\r\n"
    assert len(line) == 40
    assert hear(line, limits=SMALL) == [Login(b"a", b"x", b"y" * 28)]


@pytest.mark.parametrize("end", [b"\r\n", b"", b"\n", b"y" * 100])
def test_a_line_over_the_limit_ends_it_all(hear, end: bytes) -> None:
    (bad,) = hear(b"a LOGIN x " + b"y" * 31 + end + b"b NOOP\r\n", limits=SMALL)
    assert (bad.tag, bad.code, bad.fatal, bad.status) == (b"a", b"TOOBIG", True, b"BAD")


def test_a_tag_without_end_is_not_said_again(hear) -> None:
    (bad,) = hear(b"x" * 100, limits=SMALL)
    assert bad.tag is None
    (bad,) = hear(b"x" * 70_000)
    assert bad.tag is None


def test_the_lines_of_a_command_count_together(hear) -> None:
    line = b"a LOGIN {1+}\r\nx " + b"y" * 23 + b"\r\n"
    assert len(line) == 41  # with the literal's octet
    assert hear(line, limits=SMALL) == [Login(b"a", b"x", b"y" * 23)]
    (bad,) = hear(line.replace(b"yy", b"yyy", 1), limits=SMALL)
    assert (bad.tag, bad.fatal) == (b"a", True)


@pytest.mark.parametrize("start", [b"a IDLE\r\n", b"a AUTHENTICATE X\r\n"])
def test_other_lines_have_the_limit_too(hear, start: bytes) -> None:
    _, event = hear(start + b"A" * 36 + b"==\r\n", limits=SMALL)
    assert not getattr(event, "fatal", False)
    _, bad = hear(start + b"A" * 40 + b"\r\n", limits=SMALL)
    assert (bad.tag, bad.fatal) == (b"a", True)
    events = hear(start + b"A" * 41, limits=SMALL)
    assert events[1].fatal


def test_what_follows_the_message_has_the_limit_too(hear) -> None:
    *_, bad = hear(b"a APPEND x {1+}\r\nm" + b"y" * 40, limits=SMALL)
    assert (bad.tag, bad.fatal) == (b"a", True)


def test_after_a_fatal_event_nothing_is_heard_or_kept() -> None:
    wire = IMAPWire(SMALL)
    wire.receive(b"y" * 41)
    assert wire.next_event().fatal  # type: ignore[union-attr]
    assert not wire.has_leftover
    wire.receive(b"\r\nb NOOP\r\n")
    assert wire.next_event() is NEED_DATA
    assert not wire.has_leftover


# --- literals ------------------------------------------------------------------------------------------------------


def test_a_literal_of_the_limit_is_taken(hear) -> None:
    assert hear(b"a LOGIN {10}\r\n0123456789 x\r\n", limits=SMALL) == [
        ContinuationNeeded(),
        Login(b"a", b"0123456789", b"x"),
    ]
    assert hear(b"a LOGIN {10+}\r\n0123456789 x\r\n", limits=SMALL) == [Login(b"a", b"0123456789", b"x")]


@pytest.mark.parametrize("size", [b"11", b"65537", b"4294967296", b"9" * 25])
def test_a_literal_over_the_limit(hear, size: bytes) -> None:
    bad, noop = hear(b"a LOGIN {%b}\r\nb NOOP\r\n" % size, limits=SMALL)
    assert (bad.tag, bad.code, bad.fatal, bad.status) == (b"a", b"TOOBIG", False, b"BAD")
    assert noop == Noop(b"b")
    (bad,) = hear(b"a LOGIN {%b+}\r\n0123456789a\r\nb NOOP\r\n" % size, limits=SMALL)
    assert (bad.tag, bad.code, bad.fatal) == (b"a", b"TOOBIG", True)


def test_a_literal_of_thousands_of_digits(hear) -> None:
    bad, noop = hear(b"a LOGIN {%b}\r\nb NOOP\r\n" % (b"9" * 6000))
    assert (bad.code, bad.fatal, noop) == (b"TOOBIG", False, Noop(b"b"))
    bad, noop = hear(b"a STORE 1 (UNCHANGEDSINCE %b) FLAGS x\r\nb NOOP\r\n" % (b"9" * 6000))
    assert (bad.tag, noop) == (b"a", Noop(b"b"))


def test_a_literal_to_be_thrown_away_has_the_limit_too(hear) -> None:
    bad, noop = hear(b"a NOPE {10+}\r\n0123456789\r\nb NOOP\r\n", limits=SMALL)
    assert (bad.fatal, noop) == (False, Noop(b"b"))
    (bad,) = hear(b"a NOPE {11+}\r\n0123456789a\r\nb NOOP\r\n", limits=SMALL)
    assert bad.fatal


def test_a_command_has_a_limit_with_all_its_literals(hear) -> None:
    limits = WireLimits(command=60)
    head = b"a SEARCH TEXT {20+}\r\n"
    octets = head + b"x" * 20 + b" TEXT {%d%b}\r\n"
    so_far = len(octets) - 1 - 4 + 2
    fits = 60 - so_far
    assert isinstance(hear(octets % (fits, b"") + b"y" * fits + b"\r\n", limits=limits)[-1], Search)
    assert isinstance(hear(octets % (fits, b"+") + b"y" * (fits + 1) + b"\r\n", limits=limits)[-1], BadCommand)
    bad, noop = hear(octets % (fits + 1, b"") + b"b NOOP\r\n", limits=limits)
    assert (bad.tag, bad.code, bad.fatal, noop) == (b"a", b"TOOBIG", False, Noop(b"b"))
    (bad,) = hear(octets % (fits + 1, b"+") + b"y" * 5, limits=limits)
    assert (bad.tag, bad.code, bad.fatal) == (b"a", b"TOOBIG", True)


def test_limits_can_be_replaced_between_commands() -> None:
    wire = IMAPWire(SMALL)
    wire.receive(b"a LOGIN x y\r\nb LOGIN x " + b"y" * 100 + b"\r\n")
    assert wire.next_event() == Login(b"a", b"x", b"y")
    wire.limits = WireLimits()
    assert wire.next_event() == Login(b"b", b"x", b"y" * 100)


# --- lists ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "refused"),
    [
        (b'LIST "" ' + b"*" * 10, b'LIST "" ' + b"*" * 11),
        (b'LIST "*" ' + b"%*" * 4, b'LIST "*%" ' + b"%*" * 5),
        (b'LIST "" ("****" "%%%%" **)', b'LIST "" ("****" "%%%%" ***)'),
        (b'LSUB "" ' + b"%/" * 10, b'LSUB "" ' + b"%/" * 11),
    ],
)
def test_ten_wildcards(hear, taken: bytes, refused: bytes) -> None:
    assert isinstance(hear(b"a " + taken + b"\r\n")[0], List)
    (bad,) = hear(b"a " + refused + b"\r\n")
    assert (bad.code, bad.status) == (b"LIMIT", b"BAD")


@pytest.mark.parametrize("count", [10_000, 10_001])
def test_ten_thousand_ranges(count: int) -> None:
    wire = IMAPWire()
    wire.receive(b"a STORE %b FLAGS x\r\n" % b",".join([b"*"] * count))
    event = wire.next_event()
    if count > 10_000:
        assert isinstance(event, BadCommand)
        assert event.code == b"LIMIT"
    else:
        assert isinstance(event, Store)
        assert len(event.messages) == count


# --- time and memory -----------------------------------------------------------------------------------------------


def seconds_for(octets: bytes, piece: int, limits: WireLimits | None = None) -> float:
    wire = IMAPWire(limits)
    began = time.process_time()
    for at in range(0, len(octets), piece):
        wire.receive(octets[at : at + piece])
        while wire.next_event() is not NEED_DATA:
            pass
    return time.process_time() - began


def is_linear(make, piece: int, limits: WireLimits | None = None, most: float = 24) -> bool:
    """Eight times as much takes at most about eight times as long, not sixty-four; three tries on a busy machine."""
    for _ in range(3):
        small = min(seconds_for(make(1), piece, limits) for _ in range(2))
        large = seconds_for(make(8), piece, limits)
        if large < most * max(small, 0.002):
            return True
    return False


HUGE = WireLimits(line=10**7, literal=10**7, command=10**7, search_keys=10**7, set_ranges=10**7)


@pytest.mark.parametrize(
    ("start", "unit", "end"),
    [
        (b"", b"y", b""),
        (b"a LOGIN x ", b"y", b"\r\n"),
        (b'a LOGIN x "', b'\\"', b'"\r\n'),
        (b'a LOGIN x "', b"y", b"\r\n"),
        (b"a SEARCH", b" SEEN", b"\r\n"),
        (b"a SEARCH ", b"OR 1 ", b"2\r\n"),
        (b"a SEARCH ", b"NOT ", b"2\r\n"),
        (b"a STORE 1", b",2:3", b" FLAGS x\r\n"),
        (b"a STORE 1 FLAGS", b" xyz", b"\r\n"),
        (b"a FETCH 1 (FLAGS", b" BODY[1]", b")\r\n"),
        (b"a FETCH 1 (BODY[HEADER.FIELDS (X", b' "y z"', b")])\r\n"),
        (b'a LIST "" (a', b' "b"', b")\r\n"),
        (b"a CREATE ", b"&AOk-", b"\r\n"),
        (b"a ID (", b'"x" NIL ', b'"y" NIL)\r\n'),
        (b"a AUTHENTICATE X ", b"AAAA", b"\r\n"),
        (b"", b"a NOOP\r\n", b""),
        (b"", b"\r\n", b""),
        (b"", b"\n", b""),
        (b"a SEARCH", b" TEXT {3+}\r\nabc", b"\r\n"),
        (b"a NOPE", b" {3+}\r\nabc", b"\r\n"),
        (b"a LOGIN ", b"{", b"\r\n"),
        (b"a LOGIN {1", b"0", b"+}\r\n"),
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("piece", [1, 65536])
def test_time_is_linear(start: bytes, unit: bytes, end: bytes, piece: int) -> None:
    size = 6_000 if piece == 1 or unit.endswith(b"\n") else 40_000
    assert is_linear(lambda times: start + unit * (size * times // len(unit)) + end, piece, HUGE)


def test_a_line_without_end_is_searched_once() -> None:
    assert is_linear(lambda times: b"y" * (80_000 * times), 1, HUGE, most=14)


def test_a_megabyte_octet_by_octet() -> None:
    octets = b"a SEARCH" + b"".join(b" TEXT {60000+}\r\n" + b"x" * 60000 for _ in range(16))
    assert seconds_for(octets + b"\r\n", 1) < 10


def test_a_message_streams_in_linear_time_and_little_memory() -> None:
    wire = IMAPWire()
    size = 20 * 1024 * 1024
    wire.receive(b"a APPEND x {%d+}\r\n" % size)
    wire.next_event()
    wire.accept_literal()
    piece = b"x" * 65536
    heard = 0
    tracemalloc.start()
    for _ in range(size // len(piece)):
        wire.receive(piece)
        event = wire.next_event()
        assert isinstance(event, Literal)
        heard += len(event.octets)
        assert event.last is (heard == size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert heard == size
    assert peak < 1024 * 1024


def test_what_is_thrown_away_is_not_kept() -> None:
    wire = IMAPWire()
    size = 20 * 1024 * 1024
    wire.receive(b"a APPEND x//y {%d+}\r\n" % size)
    piece = b"x" * 65536
    tracemalloc.start()
    for _ in range(size // len(piece)):
        assert wire.next_event() is NEED_DATA
        wire.receive(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    wire.receive(b"\r\n")
    event = wire.next_event()
    assert isinstance(event, BadCommand)
    assert event.tag == b"a"
    assert peak < 1024 * 1024
