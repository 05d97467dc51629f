"""Statements about many rows at once: few of them, and few different ones, which sqlite3 keeps prepared."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

Key = TypeVar("Key")
Row = tuple[Any, ...]

# Hot path. At each statement the writer's thread gives the interpreter to the reactor and has to wait until it gets it
# back, which takes longer than the statement itself.


def portions(keys: Sequence[Key], sizes: tuple[int, ...]) -> Iterator[Sequence[Key]]:
    """`keys` in as few portions as may be, each as long as one of `sizes`, which ascend. Where there are fewer keys the
    last one is there several times: for statements that do not mind."""
    for start in range(0, len(keys), sizes[-1]):
        some = keys[start : start + sizes[-1]]
        missing = sizes[bisect_left(sizes, len(some))] - len(some)
        yield [*some, *[some[-1]] * missing] if missing else some


class ForEach:
    """A statement for many keys at once, with the same `term` for each of them."""

    SIZES = (1, 4, 16, 64)

    def __init__(self, sql: str, term: str, between: str = ",") -> None:
        """`sql` has ``{}`` where the terms go."""
        self._sql = {size: sql.format(between.join([term] * size)) for size in self.SIZES}

    def run(self, connection: sqlite3.Connection, keys: Collection[Row]) -> list[Row]:
        """What the statements return. A key may be named twice, see `portions`."""
        found: list[Row] = []
        for some in portions(list(keys), self.SIZES):
            found += connection.execute(self._sql[len(some)], tuple(chain.from_iterable(some))).fetchall()
        return found


class Insert:
    """An INSERT of many rows at once, each of them once."""

    SIZES = (64, 32, *range(16, 0, -1))

    def __init__(self, head: str, values: str, tail: str = "") -> None:
        self._sql = {size: f"{head} VALUES {', '.join([values] * size)} {tail}" for size in self.SIZES}

    def run(self, connection: sqlite3.Connection, new: Sequence[Row]) -> None:
        """Put in all of them."""
        start, left = 0, len(new)
        for size in self.SIZES:
            while left >= size:
                some = new[start : start + size]
                connection.execute(self._sql[size], tuple(chain.from_iterable(some)))
                start, left = start + size, left - size
