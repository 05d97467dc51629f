"""DATA's octets: dot-stuffing, the end, and bare line ends, however the octets are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.smtp.wire.data import DotReader, DotWriter, LineEnds

tricky = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"x", b"\0", b"\r\n.", b"hello"]), max_size=30).map(
    b"".join
)


def pieces_of(octets: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(octets) + 1) for cut in cuts} | {0, len(octets)})
    return [octets[a:b] for a, b in itertools.pairwise(at)]


def read(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    reader = DotReader()
    out = b""
    for number, piece in enumerate(pieces):
        content, behind = reader.take(piece)
        out += content
        if behind is not None:
            return out, behind + b"".join(pieces[number + 1 :])
    return out, None


def slowly(octets: bytes) -> tuple[bytes, bytes | None]:
    """What DotReader does, a line at a time: RFC 5321 4.5.2 read literally."""
    out = b""
    while (end := octets.find(b"\r\n")) >= 0:
        line, octets = octets[: end + 2], octets[end + 2 :]
        if line == b".\r\n":
            return out, octets
        out += line.removeprefix(b".")
    return out, None


@settings(max_examples=200)
@given(tricky, st.lists(st.integers(0, 1000), max_size=12))
def test_however_it_is_cut_it_reads_as_line_by_line(octets: bytes, cuts: list[int]) -> None:
    octets += b"\r\n.\r\nQUIT\r\n"
    assert read(pieces_of(octets, cuts)) == slowly(octets)


@pytest.mark.parametrize("chop", [1, 2, 3, 5, 7])
def test_chopped(chop: int) -> None:
    octets = b"a\r\n..b\r\n.c\r\n\r\n...\r\nd\r\n.\r\nrest"
    assert read([octets[at : at + chop] for at in range(0, len(octets), chop)]) == (
        b"a\r\n.b\r\nc\r\n\r\n..\r\nd\r\n",
        b"rest",
    )


def test_an_empty_message_ends_at_once() -> None:
    assert read([b".\r\n"]) == (b"", b"")
    assert read([b".", b"\r", b"\n", b"x"]) == (b"", b"x")


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r.\r", b"\r\n\r.\r\n"]
)
def test_only_crlf_dot_crlf_ends_data(end: bytes) -> None:
    octets = b"a" + end + b"MAIL FROM:<evil@example.org>\r\nb"
    content, behind = read([octets])
    assert behind is None
    assert b"MAIL FROM" in content


def test_a_held_cr_is_not_given_out_before_its_lf_came() -> None:
    reader = DotReader()
    assert reader.take(b"a\r") == (b"a", None)
    assert reader.take(b"\nb") == (b"\r\nb", None)


@settings(max_examples=200)
@given(tricky, st.lists(st.integers(0, 1000), max_size=12))
def test_bare_line_ends_are_found_however_cut(octets: bytes, cuts: list[int]) -> None:
    rest = octets.replace(b"\r\n", b"")
    refuse, rewrite, keep = LineEnds("refuse"), LineEnds("rewrite"), LineEnds("keep")
    results = []
    for ends in (refuse, rewrite, keep):
        results.append(b"".join(ends.take(piece) for piece in pieces_of(octets, cuts)) + ends.finish())
        assert ends.has_bare is (b"\r" in rest or b"\n" in rest)
    assert results[0] == results[2] == octets
    assert results[1].replace(b"\r\n", b"").count(b"\n") == 0
    assert results[1].replace(b"\r\n", b"").count(b"\r") == 0
    if not refuse.has_bare:
        assert results[1] == octets


@settings(max_examples=200)
@given(tricky, st.lists(st.integers(0, 1000), max_size=12))
def test_what_is_written_is_read_again(octets: bytes, cuts: list[int]) -> None:
    writer = DotWriter()
    wire = b"".join(writer.take(piece) for piece in pieces_of(octets, cuts)) + writer.finish()
    assert wire.endswith(b".\r\n")
    whole = LineEnds("rewrite")
    expected = whole.take(octets) + whole.finish()
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert read([wire]) == (expected, b"")
    assert b"\n.\n" not in wire
    assert wire.replace(b"\r\n", b"").count(b"\n") == 0


def test_dots_are_stuffed_over_the_edge_of_two_chunks() -> None:
    writer = DotWriter()
    assert b"".join(
        [writer.take(b".a\r"), writer.take(b"\n"), writer.take(b"."), writer.take(b"b"), writer.finish()]
    ) == (b"..a\r\n..b\r\n.\r\n")
