"""What was counted between two moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted_mail_kit.metrics import catalogue, limits
from twisted_mail_kit.metrics.instruments import numbers

assert catalogue and limits  # all that is counted is defined now


def flat() -> dict[str, Any]:
    """``name{label,label}`` -> a number; a histogram is how many there were."""
    found: dict[str, Any] = {}
    for name, values in numbers().items():
        for labels, value in values.items():
            key = f"{name}{{{','.join(labels)}}}" if labels else name
            found[key] = sum(value[0]) if isinstance(value, tuple) else value
    return found


class Change(dict[str, Any]):
    """Empty until the block is over."""

    def __missing__(self, key: str) -> int:
        return 0


@contextmanager
def counting() -> Iterator[Change]:
    """What is another number at the end of the block, and by how much."""
    change = Change()
    before = flat()
    yield change
    for key, value in flat().items():
        if value != before.get(key, 0):
            change[key] = value - before.get(key, 0)


def reached(change: dict[str, Any]) -> set[str]:
    """Where it may be more than once."""
    return {name for name in limits.LIMITS if f"mailkit_limit_reached_total{{{name}}}" in change}


@contextmanager
def bites(*names: str) -> Iterator[None]:
    """Within the block each of these limits is reached once, and no other one is."""
    with counting() as change:
        yield
    there = {key: value for key, value in change.items() if key.startswith("mailkit_limit_reached_total")}
    assert there == {f"mailkit_limit_reached_total{{{name}}}": 1 for name in names}
