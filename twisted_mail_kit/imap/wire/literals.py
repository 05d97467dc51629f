"""``{size}`` at the end of a line: a literal follows (RFC 3501 4.3, RFC 7888)."""

from __future__ import annotations

import re
from typing import NamedTuple

_ANNOUNCEMENT = re.compile(rb"\{([0-9]++)(\+?)\}\r?\n")


class Announcement(NamedTuple):
    """``{size}`` or ``{size+}`` at the end of a line."""

    start: int
    size: int
    waits: bool
    is_binary: bool


def announcement(line: bytes) -> Announcement | None:
    """What a line, given with its end, announces."""
    if not line.endswith((b"}\r\n", b"}\n")):
        return None
    start = line.rfind(b"{")
    found = _ANNOUNCEMENT.fullmatch(line, start) if start >= 0 else None
    if found is None:
        return None
    size = int(found[1]) if len(found[1]) < 20 else 10**20
    is_binary = line[start - 1 : start] == b"~"
    return Announcement(start - is_binary, size, not found[2], is_binary)
