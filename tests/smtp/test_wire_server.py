"""The server's wire: lines, message octets and AUTH responses, however they are cut."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.net.inbox import NEED_DATA
from twisted_mail_kit.smtp.wire.commands import Bad, BadLine, Bdat, Content, Data, Noop, Quit, Response, Rset, Unknown
from twisted_mail_kit.smtp.wire.server import ServerWire


def hear_all(wire: ServerWire, octets: bytes, chop: int | None = None) -> list[object]:
    """All events, with what belongs to one message put together, and DATA always answered with 354."""
    events: list[object] = []
    content = b""
    step = chop or len(octets) or 1
    for at in range(0, len(octets), step):
        wire.receive(octets[at : at + step])
        while (event := wire.next_event()) is not NEED_DATA:
            if isinstance(event, Content):
                content += event.octets
                if not event.is_last:
                    continue
                event, content = Content(content, True), b""
            if isinstance(event, Data):
                wire.expect_data()
            events.append(event)
    return events


SESSION = (
    b"NOOP\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nRSET\r\nBDAT 6\r\nab\r\n.\rBDAT 0 LAST\r\nBDAT 3 LAST\r\n\n.\n"
    b"what\r\nbare\nQUIT\r\n"
)


@pytest.mark.parametrize("chop", [None, *range(1, 20)])
def test_a_session_however_it_is_cut(chop: int | None) -> None:
    events = hear_all(ServerWire(), SESSION, chop)
    assert [type(event) for event in events] == [
        Noop, Data, Content, Rset, Bdat, Content, Bdat, Content, Bdat, Content, Unknown, BadLine, Quit,
    ]  # fmt: skip
    assert [event.octets for event in events if isinstance(event, Content)] == [
        b"Subject: x\r\n\r\n.dot\r\n",
        b"ab\r\n.\r",
        b"",
        b"\n.\n",
    ]


@settings(max_examples=200)
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"DATA\r\n", b".\r\n", b"\n", b"\r", b"BDAT 5\r\n", b"x"])).map(b"".join),
    st.integers(1, 9),
)
def test_noise_is_the_same_noise_however_it_is_cut(octets: bytes, chop: int) -> None:
    assert hear_all(ServerWire(), octets) == hear_all(ServerWire(), octets, chop)


def test_pipelined_commands_do_not_wait_for_more() -> None:
    wire = ServerWire()
    wire.receive(b"NOOP\r\nRSET\r\nQU")
    assert wire.next_event() == Noop()
    assert wire.has_more()
    assert type(wire.next_event()) is Rset
    assert wire.next_event() is NEED_DATA
    wire.receive(b"IT\r\n")
    assert type(wire.next_event()) is Quit
    assert not wire.has_more()


def test_a_line_too_long_is_told_of_once_and_passed_over() -> None:
    for chop in (None, 1, 100):
        events = hear_all(ServerWire(), b"NOOP " + b"x" * 5000 + b"\r\nQUIT\r\n", chop)
        assert [type(event) for event in events] == [BadLine, Quit]


def test_the_longest_line_is_taken_and_one_more_octet_is_not() -> None:
    for chop in (None, 1):
        assert hear_all(ServerWire(), b"NOOP " + b"x" * 2041 + b"\r\n", chop) == [Noop()]
        assert [type(event) for event in hear_all(ServerWire(), b"NOOP " + b"x" * 2042 + b"\r\n", chop)] == [BadLine]


def test_auth_may_be_longer() -> None:
    for chop in (None, 7):
        (event,) = hear_all(ServerWire(), b"AUTH PLAIN " + b"A" * 12000 + b"\r\n", chop)
        assert event == ("PLAIN", b"A" * 12000)
    wire = ServerWire()
    wire.expect_response()
    wire.receive(b"A" * 12286)
    assert wire.next_event() is NEED_DATA
    wire.receive(b"\r\nNOOP\r\n")
    assert wire.next_event() == Response(b"A" * 12286)
    assert wire.next_event() == Noop()


def test_a_line_without_end_is_told_of_again_and_again_and_costs_little() -> None:
    wire = ServerWire()
    told = 0
    started = time.process_time()
    for _ in range(1000):
        wire.receive(b"x" * 1024)
        while wire.next_event() is not NEED_DATA:
            told += 1
    assert 10 < told < 20
    assert len(wire._octets) < 4096
    assert time.process_time() - started < 1


def test_one_octet_at_a_time_is_not_quadratic() -> None:
    wire = ServerWire(response_length=1 << 20)
    wire.expect_response()
    started = time.process_time()
    for _ in range(12000):
        wire.receive(b"x")
        assert wire.next_event() is NEED_DATA
    assert time.process_time() - started < 1


def test_bdat_of_a_huge_size_holds_nothing_back() -> None:
    wire = ServerWire()
    wire.receive(b"BDAT 99999999999999999999 LAST\r\n" + b"x" * 1000)
    assert type(wire.next_event()) is Bdat
    assert wire.next_event() == Content(b"x" * 1000, False)
    assert wire.next_event() is NEED_DATA


def test_a_malformed_bdat_is_bad() -> None:
    (event,) = hear_all(ServerWire(), b"BDAT x\r\n")
    assert isinstance(event, Bad)
    assert event.loses_step
