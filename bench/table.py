"""Markdown tables on standard output, and the goals that their rows are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K")


class Table:
    """Printed row by row, so that one sees how far it is."""

    def __init__(self, *columns: str) -> None:
        self._width = len(columns)
        self.row(*columns)
        print("|" + "---|" * len(columns), flush=True)

    def row(self, *cells: str) -> None:
        """Cells that are missing at the end are empty."""
        print("| " + " | ".join((*cells, *[""] * (self._width - len(cells)))) + " |", flush=True)


def note(text: str) -> None:
    """A sentence below a table."""
    print(f"\n{text}", flush=True)


def in_turn(rounds: int, measures: Mapping[K, Callable[[int], float]]) -> dict[K, float]:
    """Measure A, B, A, B … and give each one's median. A measure is told the number of the round."""
    found: dict[K, list[float]] = {key: [] for key in measures}
    for number in range(rounds):
        for key, measure in measures.items():
            found[key].append(measure(number))
    return {key: statistics.median(values) for key, values in found.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent of them are."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


class Goals:
    """What was promised, and what came out: the last table of a run."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str]] = []

    def at_least(self, what: str, goal: float, got: float) -> str:
        """A ratio that should be no smaller. Answers it as a cell."""
        cell = f"{got:.1f}x" if got >= 1.95 else f"{got:.2f}x"
        self._rows.append((what, f"{goal:g}x", cell, "yes" if got >= goal else "**no**"))
        return cell

    def at_most(self, what: str, goal: float, got: float, unit: str) -> str:
        """An amount that should be no greater. Answers it as a cell."""
        cell = f"{got:.0f} {unit}" if got >= 100 else f"{got:.3g} {unit}"
        self._rows.append((what, f"under {goal:g} {unit}", cell, "yes" if got <= goal else "**no**"))
        return cell

    def show(self) -> None:
        """Print what was recorded since the start."""
        if self._rows:
            print("\n### The goals\n")
            table = Table("work", "goal", "measured", "reached")
            for row in self._rows:
                table.row(*row)


goals = Goals()
"""Those of this run."""
