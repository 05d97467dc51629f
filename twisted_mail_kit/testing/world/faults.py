"""What can go wrong with a mail host, and when."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, in_, le

Kind = Literal[
    "refused",
    "unreachable",
    "mute",
    "slow",
    "busy",
    "unwelcome",
    "tls-broken",
    "mail-4xx",
    "mail-5xx",
    "rcpt-4xx",
    "rcpt-5xx",
    "data-4xx",
    "data-5xx",
    "cut",
    "lost-reply",
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


@frozen
class Fault:
    """One thing that goes wrong, now and then. Times are seconds since the world began."""

    kind: Kind = field(validator=in_(KINDS))
    """``refused``: nobody listens. ``unreachable``: no answer to the connection. ``mute``: it is taken, and nothing is
    said. ``slow``: it goes at 1,000 octets a second. ``busy``: 421 for a greeting; ``unwelcome``: 554. ``tls-broken``:
    the handshake fails. ``mail-4xx`` … ``data-5xx``: the answer to MAIL, to one RCPT, or to the message's end.
    ``cut``: the connection ends in the middle of the message. ``lost-reply``: the message is taken, and the connection
    ends (or goes dark) before that is told."""
    chance: float = field(default=1.0, validator=and_(ge(0.0), le(1.0)))
    """For each connection, message or recipient, whatever it is about."""
    start: float = 0.0
    end: float = inf

    def is_on(self, now: float) -> bool:
        """It may strike then."""
        return self.start <= now < self.end


@frozen(kw_only=True)
class Behaviour:
    """How a mail host is, and what goes wrong with it."""

    faults: tuple[Fault, ...] = ()
    greylist: float | None = None
    """Seconds for which client, sender and recipient, seen together for the first time, are told 451."""
    unknown: Collection[str] = ()
    """Addresses that it answers with 550 5.1.1."""
    lacks: Collection[str] = ()
    """Words that its answer to EHLO leaves out: ``PIPELINING``, ``8BITMIME``, ``STARTTLS`` …"""
    certificates: Sequence[Any] = ()
    """What TLS shows its clients: `OpenSSL.crypto.X509` objects, the leaf first. Without a handshake of octets, what
    is checked in one is not checked here: only what a client asks of `getHandle()` afterwards."""
    latency: float = 0.02
    """Seconds that octets take from it or to it."""
    bandwidth: float | None = None
    """Octets a second; None: no matter."""
