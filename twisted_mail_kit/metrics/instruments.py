"""Counters, gauges and histograms, and families of them by label; what they hold, as plain values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakMethod

from twisted.logger import Logger

# To count is ``COUNTER.value += 1``: an attribute, no call, no lock. Each number has one thread that counts in it, as a
# rule; where two do, CPython switches between them at calls and loops only, and there is none in such a line.

Kind = Literal["counter", "gauge", "histogram"]
Over = Literal["sum", "max", "min"]
Labels = tuple[str, ...]
Value = float | tuple[list[int], float]
"""Of a histogram: how many fell into each bucket, the last one being all above the bounds; and their sum."""
Numbers = dict[str, dict[Labels, Value]]
"""Metric name -> the values of its labels -> the number."""

MOST = 200
"""Label values of one family. What comes on top of them is counted under `OTHER`: a label never grows with what
strangers say."""
OTHER = "other"
FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: bounds of buckets for what should be over in a moment."""

log = Logger()
_every: dict[str, Metric] = {}


class Metric:
    """What a number means. Its name is Prometheus', with unit and ``_total``."""

    kind: Kind

    def __init__(self, name: str, text: str, labels: Labels = (), over: Over = "sum") -> None:
        self.name = name
        self.text = text
        """One sentence, with the unit."""
        self.labels = labels
        self.over = over
        """How the numbers of several processes become one."""
        self.bounds: Sequence[float] = ()
        """Of a histogram's buckets, ascending."""
        if name in _every:
            raise ValueError(f"{name} is there already")
        _every[name] = self

    def numbers(self) -> dict[Labels, Value]:
        """What is known now."""
        raise NotImplementedError


def every() -> list[Metric]:
    """All there are, in the order of their definition."""
    return list(_every.values())


def numbers() -> Numbers:
    """All numbers of this process. Never raises."""
    found: Numbers = {}
    for metric in every():
        try:
            found[metric.name] = metric.numbers()
        except Exception:
            log.failure("metric {name} could not be read", name=metric.name)
    return found


class Number:
    """One number that goes up, or up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Spread:
    """One histogram."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, amount: float) -> None:
        """Count one of that size."""
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.sum += amount


Key = TypeVar("Key", str, Labels)
Child = TypeVar("Child", Number, Spread)


class Family(Metric, dict[Key, Child], Generic[Key, Child]):
    """Numbers by label: ``FAMILY["imap"].value += 1``; with several labels the key is a tuple.

    A number is made when it is first asked for. Where that is on a hot path, keep it.
    """

    def __init__(
        self, kind: Kind, make: Callable[[], Child], name: str, text: str, labels: Labels, over: Over = "sum"
    ) -> None:
        Metric.__init__(self, name, text, labels, over)
        self.kind = kind
        self._make: Callable[[], Child] = make
        self._readers: list[WeakMethod[Callable[[], Mapping[Any, float]]]] = []

    def __missing__(self, key: Key) -> Child:
        if len(self) >= MOST:
            key = OTHER if isinstance(key, str) else tuple(OTHER for _ in key)
        found = self.get(key)
        if found is None:
            found = self[key] = self._make()
        return found

    def read(self, ask: Callable[[], Mapping[Any, float]]) -> None:
        """`ask`, a method, tells numbers whenever somebody wants to know them, for as long as its object lives."""
        self._readers = [one for one in self._readers if one() is not None]
        self._readers.append(WeakMethod(ask))

    def numbers(self) -> dict[Labels, Value]:
        found = {_tuple(key): _value(child) for key, child in list(self.items())}
        for told in _told(self._readers):
            for key, value in told.items():
                labels = _tuple(key)
                found[labels] = merged(self.over, found[labels], value) if labels in found else value
        return found


class Counter(Metric, Number):
    """Only goes up."""

    kind = "counter"

    def __init__(self, name: str, text: str) -> None:
        Metric.__init__(self, name, text)
        Number.__init__(self)

    def numbers(self) -> dict[Labels, Value]:
        return {(): self.value}


class Gauge(Metric, Number):
    """Goes up and down. Where objects tell it when they are asked, `value` stands for what else there is."""

    kind = "gauge"

    def __init__(self, name: str, text: str, over: Over = "sum") -> None:
        Metric.__init__(self, name, text, (), over)
        Number.__init__(self)
        self._readers: list[WeakMethod[Callable[[], float]]] = []

    def read(self, ask: Callable[[], float]) -> None:
        """`ask`, a method, tells the number whenever somebody wants to know it, for as long as its object lives."""
        self._readers = [one for one in self._readers if one() is not None]
        self._readers.append(WeakMethod(ask))

    def numbers(self) -> dict[Labels, Value]:
        found: Value = self.value
        for told in _told(self._readers):
            found = merged(self.over, found, told)
        return {(): found}


class Histogram(Metric, Spread):
    """How many of which size."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: tuple[float, ...] = FAST) -> None:
        Metric.__init__(self, name, text)
        Spread.__init__(self, bounds)

    def numbers(self) -> dict[Labels, Value]:
        return {(): (list(self.counts), self.sum)}


def counters(name: str, text: str, label: str) -> Family[str, Number]:
    """Counters by one label."""
    return Family("counter", Number, name, text, (label,))


def counters_by(name: str, text: str, *labels: str) -> Family[Labels, Number]:
    """Counters by several labels."""
    return Family("counter", Number, name, text, labels)


def gauges(name: str, text: str, label: str, over: Over = "sum") -> Family[str, Number]:
    """Gauges by one label; one that nobody has set is not there."""
    return Family("gauge", Number, name, text, (label,), over)


def histograms(name: str, text: str, label: str, bounds: tuple[float, ...] = FAST) -> Family[str, Spread]:
    """Histograms by one label."""
    family: Family[str, Spread] = Family("histogram", lambda: Spread(bounds), name, text, (label,))
    family.bounds = bounds
    return family


def merged(over: Over, one: Value, other: Value) -> Value:
    """Two numbers of one kind as one."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return [here + there for here, there in zip(one[0], other[0], strict=True)], one[1] + other[1]
    assert not isinstance(one, tuple) and not isinstance(other, tuple)
    return one + other if over == "sum" else max(one, other) if over == "max" else min(one, other)


def _told(readers: list[WeakMethod[Any]]) -> Iterator[Any]:
    """What objects say that are still there; one that cannot say is passed over."""
    for reader in list(readers):
        ask = reader()
        if ask is not None:
            try:
                yield ask()
            except Exception:
                log.failure("a number could not be read")


def _tuple(key: Any) -> Labels:
    return key if isinstance(key, tuple) else (key,)


def _value(child: Number | Spread) -> Value:
    return child.value if isinstance(child, Number) else (list(child.counts), child.sum)
