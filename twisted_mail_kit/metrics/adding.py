"""The numbers of several processes as those of one server."""

from __future__ import annotations

from collections.abc import Hashable

from twisted_mail_kit.metrics.instruments import Metric, Numbers, every, merged


def added(one: Numbers, other: Numbers) -> Numbers:
    """Both together: what counts is added up, and of the rest each metric says what becomes of it."""
    total: Numbers = {name: dict(values) for name, values in one.items()}
    known = _known()
    for name, values in other.items():
        metric = known.get(name)
        if metric is None:
            continue  # of another version
        mine = total.setdefault(name, {})
        for labels, value in values.items():
            mine[labels] = merged(metric.over, mine[labels], value) if labels in mine else value
    return total


def counted(some: Numbers) -> Numbers:
    """What has happened, without what is: all but gauges."""
    known = _known()
    return {name: values for name, values in some.items() if name in known and known[name].kind != "gauge"}


class Parts:
    """The numbers of processes that come and go: what one has counted stays when it is gone, or a counter would go
    back."""

    def __init__(self) -> None:
        self._gone: Numbers = {}
        self._last: dict[Hashable, Numbers] = {}
        """What each has told last, gauges left out."""

    def heard(self, part: Hashable, told: Numbers) -> None:
        """A process has told its numbers."""
        self._last[part] = counted(told)

    def left(self, part: Hashable) -> None:
        """It is gone; what it has counted since it was last heard is lost."""
        self._gone = added(self._gone, self._last.pop(part, {}))

    def total(self, present: dict[Hashable, Numbers]) -> Numbers:
        """Of those that have answered just now, those that have not, and those that are gone."""
        total = self._gone
        for part, last in self._last.items():
            if part not in present:
                total = added(total, last)
        for part, told in present.items():
            self.heard(part, told)
            total = added(total, told)
        return total


def _known() -> dict[str, Metric]:
    return {metric.name: metric for metric in every()}
