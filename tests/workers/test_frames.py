"""Frames: values come out whole, however their octets were cut, and nonsense is known for what it is."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit import errors
from twisted_mail_kit.errors import MailError
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer
from twisted_mail_kit.workers.frames import LENGTH, LONGEST, BadFrame, Frames, pack, pack_error, unpack_error

ENVELOPE = Envelope(Address("joe", "example.org"), Peer("192.0.2.1", 25), "trace")
VALUES: list[Any] = [None, 7, "hüh", b"\0" * 1000, (1, "ask", ["x"]), ENVELOPE, {"a": frozenset({"b"})}]


def test_octet_by_octet() -> None:
    frames, heard = Frames(), []
    for octet in b"".join(map(pack, VALUES)):
        heard += frames.receive(bytes([octet]))
    assert heard == VALUES


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 400)))
def test_cut_anywhere(sizes: list[int]) -> None:
    octets, frames, heard = b"".join(map(pack, VALUES)), Frames(), []
    for size in [*sizes, len(octets)]:
        heard += frames.receive(octets[:size])
        octets = octets[size:]
    assert heard == VALUES


def test_a_large_one_between_small_ones() -> None:
    large = b"x" * 20_000_000
    octets = pack(1) + pack(large) + pack(2)
    frames, heard = Frames(), []
    for start in range(0, len(octets), 65_536):
        heard += frames.receive(octets[start : start + 65_536])
    assert heard == [1, large, 2]


@pytest.mark.parametrize(
    "octets",
    [
        LENGTH.pack(LONGEST + 1),
        b"GET / HTTP/1.1\r\n\r\n",
        LENGTH.pack(0),
        LENGTH.pack(5) + b"hello",
        LENGTH.pack(2) + pickle.dumps(1)[:2],
        # What an end of another version says: a class that we do not have, or in another shape.
        LENGTH.pack(27) + b"ctwisted_mail_kit.mail\nX\n.."[:27],
        LENGTH.pack(40) + b"ctwisted_mail_kit.mail.envelope\nPeer\n)R."[:40],
    ],
)
def test_nonsense_is_known_and_what_came_before_it_was_heard(octets: bytes) -> None:
    heard = []
    with pytest.raises(BadFrame):
        for value in Frames().receive(pack("before") + octets):
            heard.append(value)
    assert heard == ["before"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_octets_are_values_or_a_bad_frame_or_not_whole(octets: bytes) -> None:
    # Of a frame's length only: what is in a frame is our own, and pickle does as it says.
    frames = Frames()
    try:
        for size in range(0, len(octets), 4):
            list(frames.receive(LENGTH.pack(min(int.from_bytes(octets[size : size + 4], "big"), 2))))
    except BadFrame:
        pass


def test_what_cannot_travel_is_refused_where_it_is() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pack(lambda: None)


def kinds() -> list[type[MailError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, MailError)]
    return sorted(found, key=lambda one: one.__name__)


@pytest.mark.parametrize("kind", kinds(), ids=lambda one: one.__name__)
def test_every_word_of_errors_travels(kind: type[MailError]) -> None:
    made: Any = kind
    if kind in (errors.Refused, errors.TryLater):
        from twisted_mail_kit.mail.outcome import Status

        error = made(Status("4.7.1" if kind is errors.TryLater else "5.7.1", "no"))
    elif kind is errors.ConfigurationError:
        error = made(["one", "two"])
    else:
        error = made("why")
    packed = pack_error(error)
    assert packed is not None
    (received,) = Frames().receive(pack(packed))
    there = unpack_error(received)
    assert type(there) is kind
    assert str(there) == str(error)
    assert there.__dict__ == error.__dict__


def test_an_error_of_a_plugins_own_travels_as_the_word_below_it() -> None:
    class Full(errors.OverQuota):
        pass

    assert type(unpack_error(pack_error(Full("no room")) or ("", ()))) is errors.OverQuota
    assert pack_error(KeyError("x")) is None
    assert type(unpack_error(("NoWordOfOurs", ("x",)))) is errors.Unavailable
