"""Replies, whole and in pieces, and what is no reply."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.net.inbox import NEED_DATA
from twisted_mail_kit.smtp.wire.replies import Reply
from twisted_mail_kit.smtp.wire.replyparser import BadReply, ReplyWire, in_one_line


def events(octets: bytes, chop: int | None = None) -> list[Any]:
    wire = ReplyWire()
    found: list[Any] = []
    pieces = [octets[at : at + chop] for at in range(0, len(octets), chop)] if chop else [octets]
    for piece in pieces:
        wire.receive(piece)
        while (event := wire.next_event()) is not NEED_DATA:
            found.append(event)
            if isinstance(event, BadReply):
                return found
    return found


SAMPLES = [
    (b"250 OK\r\n", [Reply(250, "", ("OK",))]),
    (b"250\r\n", [Reply(250, "", ("",))]),
    (b"250 2.1.0 Fine\r\n", [Reply(250, "2.1.0", ("Fine",))]),
    (b"250 2.1.0\r\n", [Reply(250, "2.1.0", ("",))]),
    (b"550-5.1.1 Nobody\r\n550 5.1.1 here\r\n", [Reply(550, "5.1.1", ("Nobody", "here"))]),
    (b"550 4.1.1 odd\r\n", [Reply(550, "", ("4.1.1 odd",))]),
    (b"250-mx\r\n250-SIZE 10\r\n250 DSN\r\n", [Reply(250, "", ("mx", "SIZE 10", "DSN"))]),
    (b"220 mx ESMTP 3.7.1\r\n", [Reply(220, "", ("mx ESMTP 3.7.1",))]),
    (b"250 ok\n354 go\r\n", [Reply(250, "", ("ok",)), Reply(354, "", ("go",))]),
    (b"550 gr\xfc\xc3\xbc\x00\x1b[31m\r\n", [Reply(550, "", ("gr\ufffdü??[31m",))]),
    (b"hello\r\n", [BadReply("a line that is no reply")]),
    (b"199 x\r\n", [BadReply("a line that is no reply")]),
    (b"650 x\r\n", [BadReply("a line that is no reply")]),
    (b"2500 x\r\n", [BadReply("a line that is no reply")]),
    (b"\r\n", [BadReply("a line that is no reply")]),
    (b"250-a\r\n550 b\r\n", [BadReply("a reply of two codes")]),
    (b"250-a\r\n" * 65, [BadReply("a reply that is far too long")]),
    (b"250 " + b"x" * 9000 + b"\r\n", [BadReply("a reply that is far too long")]),
]


@pytest.mark.parametrize("chop", [None, 1, 2, 3])
@pytest.mark.parametrize(("octets", "expected"), SAMPLES, ids=[repr(one[0][:20]) for one in SAMPLES])
def test_replies(octets: bytes, expected: Any, chop: int | None) -> None:
    found = events(octets, chop)
    if expected == [BadReply("a reply that is far too long")]:
        assert isinstance(found[-1], BadReply), "chopped, it is seen a little earlier"
    else:
        assert found == expected


def test_a_line_without_end_costs_little() -> None:
    wire = ReplyWire()
    for _ in range(100_000):
        wire.receive(b"2" * 64)
        if wire.next_event() is not NEED_DATA:
            break
    else:
        pytest.fail("it took all")
    wire.receive(b"250 ok\r\n")
    assert isinstance(wire.next_event(), BadReply), "after nonsense nothing counts"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_noise_is_the_same_however_it_is_cut(octets: bytes, chop: int) -> None:
    assert events(octets, chop) == events(octets)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(200, 599), st.lists(st.text(max_size=30), min_size=1, max_size=5)), max_size=4),
    st.integers(1, 20),
)
def test_what_our_server_says_is_understood(said: Any, chop: int) -> None:
    replies = [Reply(code, f"{code // 100}.1.0" if code // 100 != 3 else "", tuple(lines)) for code, lines in said]
    found = events(b"".join(reply.encode() for reply in replies), chop)
    assert [(one.code, one.enhanced, len(one.lines)) for one in found] == [
        (one.code, one.enhanced, len(one.lines)) for one in replies
    ]
    for one in found:
        assert in_one_line(one).isprintable() or not in_one_line(one)
