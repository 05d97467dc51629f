"""Frames: how values travel between our own processes, length first."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from struct import Struct
from typing import Any

from twisted_mail_kit import errors
from twisted_mail_kit.errors import MailError, Unavailable

# Pickle may run anything that its octets say, so it is for octets of our own alone: these go over a socket pair that
# the owner made and handed to its child; it has no name, and nobody else can open it. See docs/decisions/0008.
LENGTH = Struct(">I")
PROTOCOL = 5
LONGEST = 256 * 1024 * 1024
"""Octets of a frame: far more than any that we make."""


class BadFrame(Exception):
    """What came is nothing that our other end says: it is of another version, or beside itself."""


def pack(value: object) -> bytes:
    """One frame. Raises what pickling raises where the value cannot travel, ValueError where it is too long."""
    octets = pickle.dumps(value, PROTOCOL)
    if len(octets) > LONGEST:
        raise ValueError(f"{len(octets)} octets are too many for one frame")
    return LENGTH.pack(len(octets)) + octets


class Frames:
    """Octets to values, however they are cut."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def receive(self, octets: bytes) -> Iterator[Any]:
        """The values that are whole now. To be gone through to the end before more is given.

        Raises BadFrame; nothing that comes after it makes sense.
        """
        buffer = self._octets
        buffer += octets
        start = 0
        while len(buffer) - start >= LENGTH.size:
            (size,) = LENGTH.unpack_from(buffer, start)
            if size > LONGEST:
                raise BadFrame(f"a frame of {size} octets")
            end = start + LENGTH.size + size
            if len(buffer) < end:
                break
            try:
                with memoryview(buffer) as whole, whole[start + LENGTH.size : end] as frame:
                    value = pickle.loads(frame)
            except Exception as problem:
                raise BadFrame(f"{type(problem).__name__}: {problem}") from problem
            start = end
            yield value
        if start:
            del buffer[:start]


def pack_error(error: BaseException) -> tuple[str, tuple[Any, ...]] | None:
    """How an error of `errors` travels; one of a class that stands below such a one, as that one. None: it is no word
    of mail, and does not travel."""
    for kind in type(error).__mro__:
        if issubclass(kind, MailError) and getattr(errors, kind.__name__, None) is kind:
            if kind in (errors.Refused, errors.TryLater):
                return kind.__name__, (error.status,)  # type: ignore[attr-defined]
            if kind is errors.ConfigurationError:
                return kind.__name__, (error.problems,)  # type: ignore[attr-defined]
            return kind.__name__, (str(error),)
    return None


def unpack_error(packed: tuple[str, tuple[Any, ...]]) -> MailError:
    """The error as it was raised over there."""
    name, arguments = packed
    kind = getattr(errors, name, Unavailable)
    error: MailError = kind(*arguments)
    return error
