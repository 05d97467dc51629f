"""How many messages are read at once: few enough for memory, and for the reactor to go on."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_mail_kit.imap.packed import Columns

WHOLE = 64 * 1024
"""Octets of a message that is read as a whole; of a greater one a slice of so many at a time."""
MESSAGES = 256
"""So few that a store answers in this thread: to ask another one costs more, for each message too."""
_OCTETS = 96 * 1024
"""More at once is no quicker: this much stays near the processor on its way out."""


def next_page(model: Columns, uids: Sequence[int], start: int, with_octets: bool) -> list[int]:
    """The next ones that a store is asked about, from that place on: at least one."""
    page = list(uids[start : start + MESSAGES])
    if with_octets:
        octets = 0
        for count, at in enumerate(model.places(page)):
            octets += min(model.sizes[at], WHOLE)
            if count and octets > _OCTETS:
                return page[:count]
    return page
