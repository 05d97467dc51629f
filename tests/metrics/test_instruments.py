"""Counting itself: numbers, families, what objects tell, several processes as one, and the lag."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_mail_kit.metrics import instruments
from twisted_mail_kit.metrics.adding import Parts, added, counted
from twisted_mail_kit.metrics.catalogue import RECEIVED
from twisted_mail_kit.metrics.instruments import (
    MOST,
    OTHER,
    Counter,
    Gauge,
    Histogram,
    counters,
    counters_by,
    gauges,
    histograms,
    numbers,
)
from twisted_mail_kit.metrics.lag import LONGEST, Lag
from twisted_mail_kit.metrics.plain import explained


@pytest.fixture(autouse=True)
def nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What these tests define is gone after each of them."""
    monkeypatch.setattr(instruments, "_every", dict(instruments._every))
    yield


def test_a_name_is_given_once() -> None:
    Counter("a_total", "a")
    with pytest.raises(ValueError, match="a_total is there already"):
        Gauge("a_total", "a")


def test_a_label_never_has_more_than_so_many_values() -> None:
    one, two = counters("one_total", "1", "who"), counters_by("two_total", "2", "who", "what")
    for number in range(1000):
        one[f"192.0.2.{number}"].value += 1
        two[f"192.0.2.{number}", "x"].value += 1
    for family, other in ((one, (OTHER,)), (two, (OTHER, OTHER))):
        told: dict[Any, Any] = family.numbers()
        assert len(told) == MOST + 1
        assert told[other] == 1000 - MOST
        assert sum(told.values()) == 1000


def test_thousands_of_addresses_make_no_more_numbers() -> None:
    from tests.smtp.conftest import Listener

    listener = Listener()
    listener.connect("192.0.2.1")
    before = {name: set(values) for name, values in numbers().items()}
    for number in range(1000):
        client = listener.connect(f"10.1.{number // 250}.{number % 250}")
        client.hears()
        client.says(f"EHLO host{number}.example", f"MAIL FROM:<a{number}@b{number}.example>")
        client.says(f"RCPT TO:<c{number}@example.org>", f"XYZZY{number}")
        client.transport.drop()
        client.transport.turn()
    new = {name: set(values) - before[name] for name, values in numbers().items()}
    assert sum(map(len, new.values())) <= 10, new


@given(st.lists(st.floats(0, 100), max_size=30))
@settings(max_examples=100, deadline=None)
def test_a_histogram_puts_each_amount_into_the_bucket_whose_bound_it_does_not_pass(amounts: list[float]) -> None:
    instruments._every.pop("h", None)
    histogram = Histogram("h", "h", (1.0, 10.0, 50.0))
    for amount in amounts:
        histogram.add(amount)
    (counts, total) = histogram.numbers()[()]  # type: ignore[misc]
    assert sum(counts) == len(amounts) and total == pytest.approx(sum(amounts))
    for position, bound in enumerate((1.0, 10.0, 50.0), 1):
        assert sum(counts[:position]) == sum(amount <= bound for amount in amounts)


class Room:
    def __init__(self, octets: int) -> None:
        self.octets = octets

    def held(self) -> int:
        return self.octets

    def held_by_name(self) -> dict[str, int]:
        return {"room": self.octets}

    def broken(self) -> int:
        raise RuntimeError("no")


def test_objects_tell_their_numbers_for_as_long_as_they_live() -> None:
    gauge, family = Gauge("g", "g"), gauges("f", "f", "who", "max")
    rooms = [Room(1), Room(41)]
    for room in rooms:
        gauge.read(room.held)
        family.read(room.held_by_name)
    assert gauge.numbers() == {(): 42}
    assert family.numbers() == {("room",): 41}
    del room, rooms[1]
    gc.collect()
    assert gauge.numbers() == {(): 1}
    assert family.numbers() == {("room",): 1}


def test_one_that_cannot_tell_does_not_keep_others_from_it() -> None:
    gauge, room = Gauge("g", "g"), Room(3)
    gauge.read(room.broken)
    gauge.read(room.held)
    assert numbers()["g"] == {(): 3}


def test_a_gauge_that_nobody_has_set_is_not_there() -> None:
    assert gauges("f", "f", "who").numbers() == {}


def test_each_process_adds_its_part() -> None:
    Counter("c_total", "c"), gauges("most", "m", "who", "max"), gauges("least", "l", "who", "min")
    histograms("h", "h", "who", (1.0,))
    one: Any = {
        "c_total": {(): 1},
        "most": {("a",): 3},
        "least": {("a",): 3},
        "h": {("a",): ([1, 0], 0.5)},
        "nobody_knows_total": {(): 7},
    }
    other: Any = {
        "c_total": {(): 2},
        "most": {("a",): 2, ("b",): 1},
        "least": {("a",): 2},
        "h": {("a",): ([1, 2], 20.5), ("b",): ([0, 1], 3.0)},
        "another_version_total": {(): 7},
    }
    assert added(one, pickle.loads(pickle.dumps(other))) == {
        "c_total": {(): 3},
        "most": {("a",): 3, ("b",): 1},
        "least": {("a",): 2},
        "h": {("a",): ([2, 2], 21.0), ("b",): ([0, 1], 3.0)},
        "nobody_knows_total": {(): 7},
    }
    assert one["h"] == {("a",): ([1, 0], 0.5)}


def test_what_a_process_has_counted_stays_when_it_is_gone_and_its_gauges_go() -> None:
    Counter("c_total", "c"), Gauge("open", "o")
    parts = Parts()

    def told(count: int, open: int) -> Any:
        return {"c_total": {(): count}, "open": {(): open}}

    assert parts.total({1: told(10, 2), 2: told(5, 1)}) == told(15, 3)
    # It hangs: what it said last counts, and nobody knows what it has open.
    assert parts.total({2: told(6, 1)}) == told(16, 1)
    parts.left(1)
    assert parts.total({2: told(6, 1)}) == told(16, 1)
    # Another one in its place counts from the beginning.
    assert parts.total({2: told(6, 1), 3: told(1, 1)}) == told(17, 2)
    assert counted(told(1, 1)) == {"c_total": {(): 1}}


def test_numbers_explain_themselves() -> None:
    family = histograms("h", "Seconds of h.", "who", (1.0, 2.0))
    family["a"].add(1.5)
    (plain,) = [one for one in explained(numbers()) if one["name"] == "h"]
    assert plain == {
        "name": "h",
        "kind": "histogram",
        "text": "Seconds of h.",
        "labels": ["who"],
        "bounds": [1.0, 2.0],
        "samples": [[["a"], [0, 1, 0], 1.5]],
    }


def test_to_count_a_message_takes_a_few_millionths_of_a_second() -> None:
    import time

    count = RECEIVED["smtp"].count
    began = time.process_time()
    for _ in range(10_000):
        count(250, 2000, 1, 0.004)
    assert time.process_time() - began < 0.1  # 10 us each: far more than it is, on the slowest machine


# --- the lag -------------------------------------------------------------------------------------------------------


class Work:
    """How long the process has had a processor."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_lag_is_how_late_a_call_comes() -> None:
    clock, histogram, work = Clock(), Histogram("lag", "l", (0.1, 1.0)), Work()
    lag = Lag(clock, histogram, work)
    lag.start()
    for late in (0.0, 0.5, 3.0):
        work.seconds += 1
        clock.advance(1.0 + late)
    assert histogram.counts == [1, 1, 1]
    assert histogram.sum == pytest.approx(3.5)
    lag.stop()
    assert not clock.getDelayedCalls()


def test_a_process_that_does_nothing_is_left_to_sleep() -> None:
    clock, work = Clock(), Work()
    lag = Lag(clock, Histogram("lag", "l"), work)
    lag.start()

    def looks(seconds: int) -> int:
        looked = 0
        for _ in range(seconds):
            (call,) = clock.getDelayedCalls()
            clock.advance(1)
            looked += clock.getDelayedCalls() != [call]
        return looked

    assert looks(600) < 30
    (call,) = clock.getDelayedCalls()
    assert call.getTime() - clock.seconds() <= LONGEST
    for _ in range(60):  # it wakes up: soon it is looked at each second again
        work.seconds += 0.5
        clock.advance(1)
    before = looks(0)
    for _ in range(10):
        (call,) = clock.getDelayedCalls()
        work.seconds += 0.5
        clock.advance(1)
        before += clock.getDelayedCalls() != [call]
    assert before == 10
    lag.stop()
