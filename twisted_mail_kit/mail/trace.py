"""The trace of a message: its id in all logs, and the fields that we put on top of it (RFC 5321 4.4)."""

from __future__ import annotations

import secrets
from itertools import count

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_counter = count(secrets.randbits(20))


def new_trace_id(now: float) -> str:
    """Sixteen characters of a lower-case base-32 alphabet, sortable by time; `now` in seconds since 1970 UTC."""
    number = (int(now * 1000) & (1 << 42) - 1) << 38 | (next(_counter) & (1 << 20) - 1) << 18 | secrets.randbits(18)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))
