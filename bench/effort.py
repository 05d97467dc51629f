"""How much each benchmark does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Small enough together for twelve minutes on two cores."""

    rounds: int = 3
    """How often each server has its turn; what is printed is the median."""
    seconds: float = 1.5
    """For which a load goes on."""
    mailbox: int = 10_000
    """Messages in the mailbox that IMAP reads."""
    maildrop: int = 2_000
    """Messages in the one that POP3 reads."""
    steps: int = 1_000
    """Questions one after the other."""
    idle: int = 1_000
    """Sessions that wait."""
    crowd: int = 10_000
    """Very many of them."""
    large: int = 100_000_000
    """Octets of the large message."""
    relayed: int = 2_000
    """Messages that are sent on."""
    queued: int = 100_000
    """Messages in a long queue."""
    pause: float = 30.0
    """Seconds for which it is at work on hosts that are dead."""
    million: int = 1_000_000
    """Messages in a mailbox that is to show what the store bears."""
    accounts: int = 100_000
    """And its accounts."""


FULL = Effort()
QUICK = Effort(
    rounds=1,
    seconds=0.4,
    mailbox=500,
    maildrop=200,
    steps=100,
    idle=100,
    crowd=500,
    large=10_000_000,
    relayed=300,
    queued=2_000,
    pause=3.0,
    million=20_000,
    accounts=2_000,
)
"""Enough to see that everything runs; its numbers say nothing."""
