"""How many messages are read at once: few enough for memory, and for the reactor to go on."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_mail_kit.imap.packed import Columns

WHOLE = 64 * 1024
"""Octets of a message that is read as a whole; of a greater one a slice of so many at a time."""
MESSAGES = 256
"""So few that a store answers in this thread: to ask another one costs more, for each message too."""
_BODIES = 64
"""Messages of a page with their octets: of the usual size, there are fewer."""
_OCTETS = 96 * 1024
"""More at once is no quicker: this much stays near the processor on its way out."""


def next_page(model: Columns, uids: Sequence[int], start: int, with_octets: bool) -> list[int]:
    """The next ones that a store is asked about, from that place on: at least one."""
    if not with_octets:
        return list(uids[start : start + MESSAGES])
    page = list(uids[start : start + _BODIES])
    octets, sizes = 0, model.sizes
    for count, at in enumerate(model.places(page)):
        size = sizes[at]
        octets += size if size < WHOLE else WHOLE
        if octets > _OCTETS and count:
            return page[:count]
    return page
