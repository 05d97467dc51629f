"""What became of a message, recipient by recipient: Delivered, Delayed or Failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Status(NamedTuple):
    """Why, in words that every mail system knows."""

    code: str
    """RFC 3463 enhanced status code: ``5.1.1``."""
    text: str
    """One line for a person; printable, without CR and LF."""
    reply: int = 0
    """The RFC 5321 reply code where it matters which (421, 452, 552 …); 0 leaves it to the protocol."""
    remote: str = ""
    """The host whose words these are, ``mx.example.org [192.0.2.1]``; empty: our own."""


_DELIVERED = Status("2.0.0", "Delivered")


@dataclass(frozen=True, slots=True)
class Delivered:
    """Durable where it was to go, or taken over by the next server."""

    status: Status = _DELIVERED
    will_notify: bool = False
    """The next server has been told whom to notify of success (RFC 3461 5.2.1), so nobody else does."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """Not now; to be tried again. Nothing was kept."""

    status: Status


@dataclass(frozen=True, slots=True)
class Failed:
    """Never; not to be tried again."""

    status: Status


Outcome = Delivered | Delayed | Failed
