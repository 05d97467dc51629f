"""What DNS answers, as far as mail asks."""

from __future__ import annotations

from typing import NamedTuple


class MX(NamedTuple):
    """RFC 5321 5.1. An exchange of ``""`` is the null MX of RFC 7505."""

    preference: int
    exchange: str


class TLSA(NamedTuple):
    """RFC 6698."""

    usage: int
    selector: int
    matching: int
    association: bytes


class Answer(NamedTuple):
    """The records of one name and kind."""

    records: tuple[object, ...]
    """`MX` and `TLSA` values; text for all other kinds: addresses, names without the last dot, TXT strings joined."""
    name: str
    """The name that has the records, after CNAMEs."""
    is_authentic: bool = False
    """The resolver has validated it with DNSSEC (the AD bit), CNAMEs too. Worth something only where the way to the
    resolver is trusted."""
    exists: bool = True
    """False: there is no such name (NXDOMAIN)."""
    ttl: int = 0
    """Seconds for which the answer is good."""
