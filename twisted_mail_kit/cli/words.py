"""How the operator is told: ages, sizes, columns, and the words of strangers made harmless for a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100


def harmless(text: object) -> str:
    """Text of any origin in one line: what a terminal could take for a command is written out, ``\\x1b``."""
    said = str(text)
    if said.isprintable():
        return said
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in said)


def cut(text: object, width: int) -> str:
    """`harmless`, and at most that many characters."""
    said = harmless(text)
    return said if len(said) <= width else said[: max(0, width - 1)] + "…"


def span(seconds: float) -> str:
    """A length of time in at most four characters: ``45s``, ``3h``, ``12d``."""
    seconds = max(0.0, seconds)
    for unit, size, below in (("s", 1, 60), ("m", 60, 3600), ("h", 3600, 48 * 3600)):
        if seconds < below:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86400)}d"


def size(count: int) -> str:
    """A size in at most five characters: ``812``, ``9.8K``, ``50M``."""
    if count < 1000:
        return str(count)
    amount = float(count)
    for unit in "KMGT":
        amount /= 1024
        if amount < 999.5 or unit == "T":
            break
    return f"{amount:.1f}{unit}" if amount < 9.95 else f"{amount:.0f}{unit}"


def moment(seconds: float) -> str:
    """A time of day that means the same everywhere: ``2026-11-23 07:00:12Z``."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"


def when(next_try: float, is_held: bool, now: float) -> str:
    """When a recipient is tried next: ``held``, ``now``, ``20m``."""
    if is_held:
        return "held"
    return "now" if next_try <= now else span(next_try - now)


def said(code: str, text: str, reply: int = 0, remote: str = "") -> str:
    """A status as people read it: ``mx.example.net [192.0.2.1]: 451 4.7.1 Greylisted``."""
    words = [str(reply)] if reply and not text.startswith(str(reply)) else []
    if code and code not in text.split(maxsplit=2)[:2]:
        words.append(code)
    words.append(text)
    return harmless((f"{remote}: " if remote else "") + " ".join(words))


def last_words(last: Mapping[str, Any] | None) -> str:
    """What the last attempt brought; empty when there was none."""
    if last is None:
        return ""
    return said(last["code"], last["text"], last["reply"], last["remote"])


def folded(text: str, indent: int) -> list[str]:
    """Harmless text as lines that fit, each indented; words are not torn where that can be."""
    lines, room = [], WIDTH - indent
    text = harmless(text)
    while len(text) > room:
        at = text.rfind(" ", room // 2, room + 1)
        at = room if at < 0 else at
        lines.append(text[:at])
        text = text[at:].lstrip(" ")
    return [" " * indent + line for line in [*lines, text]]


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows under their heads, aligned; the columns whose numbers are in `right` end at the same place."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]
