"""Content: the same octets out, in memory and in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.content import Assembled, Content, Room


def fill(content: Content, octets: bytes, step: int) -> Content:
    for start in range(0, len(octets), step):
        content.write(octets[start : start + step])
        if content.is_due:
            content.flush()
    return content


@settings(max_examples=150, deadline=None)
@given(
    octets=st.binary(max_size=300),
    step=st.integers(1, 50),
    memory=st.integers(0, 300),
    chunk=st.integers(1, 100),
    offset=st.integers(0, 310),
    size=st.integers(0, 310),
    top=st.binary(max_size=20),
)
def test_what_is_read_is_what_was_written(
    octets: bytes, step: int, memory: int, chunk: int, offset: int, size: int, top: bytes
) -> None:
    content = fill(Content(None, memory, chunk), octets, step)
    assert content.size == len(octets)
    assert content.read(offset, size) == octets[offset : offset + size]
    assert b"".join(content.chunks(size=7)) == octets
    for start in (0, len(octets) // 2):
        whole = Assembled(top, content, start)
        expected = top + octets[start:]
        assert whole.size == len(expected)
        assert whole.read(offset, size) == expected[offset : offset + size]
        assert b"".join(whole.chunks(7)) == expected
    content.close()


def test_the_file_has_no_name_and_is_gone(tmp_path: Path) -> None:
    content = fill(Content(tmp_path, 10, 10), b"x" * 1000, 7)
    assert content.is_large
    assert list(tmp_path.iterdir()) == []
    content.close()
    content.close()
    assert content.read(0, 10) == b""


def test_octet_by_octet_costs_no_object_an_octet() -> None:
    content = Content()
    for _ in range(100_000):
        content.write(b"x")
    assert len(content._gathered) <= 1025


def test_a_disk_that_fails_loses_nothing(tmp_path: Path) -> None:
    content = Content(tmp_path / "gone", 1)
    content.write(b"hello")
    assert content.is_due
    with pytest.raises(OSError, match="gone"):
        content.flush()
    assert content.read(0, 9) == b"hello"


def test_while_there_is_room_larger_ones_stay_in_memory_too() -> None:
    room = Room(800)
    first, second = Content(None, 10, room=room), Content(None, 10, room=room)
    first.write(b"x" * 100)
    assert not first.is_large
    assert not first.is_due
    first.write(b"x")  # more than an eighth of the room
    assert first.is_due
    first.flush()
    second.write(b"y" * 100)
    assert not second.is_due
    assert room.taken == 201  # what is in the file is counted off when more comes, or nothing any more
    first.write(b"x")
    assert room.taken == 101
    crowd = [Content(None, 10, room=room) for _ in range(7)]
    due = []
    for one in crowd:
        one.write(b"z" * 100)
        due.append(one.is_due)
    assert due == [False] * 6 + [True]
    for one in (first, second, *crowd):
        one.close()
        one.close()
    assert room.taken == 0


def test_what_is_small_stays_in_memory_in_any_case() -> None:
    room = Room(0)
    content = Content(None, 10, room=room)
    content.write(b"x" * 10)
    assert not content.is_due
