"""When to try again, whom to tell, which words mean a dead host; and lanes, one a destination."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient
from twisted_mail_kit.queue.concurrency import Lanes
from twisted_mail_kit.queue.inhand import Job
from twisted_mail_kit.queue.remembered import Remembered
from twisted_mail_kit.queue.schedule import Schedule, is_unreachable, owes_success_notice, wants
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.queue.words import answer, ascii_line, folded, one_line

ANN, JOE = parse_address("ann@home.example"), parse_address("joe@example.org")
DEAD = Status("4.4.1", "Connection refused")


def queued(**facts: object) -> tuple[QueuedMessage, QueuedRecipient]:
    message = QueuedMessage(Envelope(ANN, Peer(""), "id", received_at=1000.0), "B1", 10)
    return message, QueuedRecipient("id", 0, Recipient(JOE), "example.org", 1000.0, **facts)  # type: ignore[arg-type]


def schedule(**more: object) -> Schedule:
    return Schedule(QueueSettings(**more), Random(1))  # type: ignore[arg-type]


@given(attempts=st.integers(0, 10_000), now=st.floats(1000, 1e9), not_before=st.just(0.0) | st.floats(1000, 1e9))
@settings(max_examples=200)
def test_the_next_try_is_later_and_the_last_one_is_when_the_message_expires(
    attempts: int, now: float, not_before: float
) -> None:
    plan = schedule()
    message, recipient = queued(attempts=attempts)
    then = plan.next_try(message, recipient, now, not_before)
    assert then > now
    if now < plan.expires(message):
        assert then <= plan.expires(message)
    else:
        assert then >= not_before


def test_gaps_grow_and_the_last_one_stays() -> None:
    plan = schedule(gaps=(10, 20, 40), jitter=0)
    assert [plan.gap(n) for n in range(5)] == [10, 20, 40, 40, 40]


def test_settings_that_cannot_be() -> None:
    for wrong in ({"gaps": ()}, {"gaps": (0.0,)}, {"jitter": 1.0}, {"attempts": 0}, {"age": 0}, {"returned": "all"}):
        with pytest.raises(ValueError):
            QueueSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (None, {"FAILURE", "DELAY"}),
        ({"NEVER"}, set()),
        ({"SUCCESS"}, {"SUCCESS"}),
        ({"SUCCESS", "DELAY"}, {"SUCCESS", "DELAY"}),
    ],
)
def test_notify_is_honoured(notify: set[str] | None, told: set[str]) -> None:
    recipient = Recipient(JOE, notify=frozenset(notify) if notify is not None else None)
    events = ("SUCCESS", "FAILURE", "DELAY")
    assert {event for event in events if wants(Envelope(ANN, Peer(""), "id"), recipient, event)} == told
    assert not any(wants(Envelope(None, Peer(""), "id"), recipient, event) for event in events)


def test_a_success_that_the_next_server_tells_is_not_told_by_us() -> None:
    envelope, recipient = Envelope(ANN, Peer(""), "id"), Recipient(JOE, notify=frozenset({"SUCCESS"}))
    assert owes_success_notice(envelope, recipient, Delivered())
    assert not owes_success_notice(envelope, recipient, Delivered(will_notify=True))


@pytest.mark.parametrize(
    ("outcomes", "is_dead"),
    [
        ([Delayed(DEAD)], True),
        ([Delayed(Status("4.4.3", "SERVFAIL"))], True),
        ([Delayed(Status("4.3.2", "shutting down"))], True),
        ([Delayed(Status("4.0.0", "too busy", 421))], True),
        ([Delayed(Status("4.7.1", "Greylisted", 451))], False),
        ([Delayed(Status("4.4.7", "expired"))], False),
        ([Delayed(DEAD), Delivered()], False),
        ([Failed(Status("5.4.4", "no such host"))], False),
        ([], False),
    ],
)
def test_which_outcomes_mean_a_dead_host(outcomes: list[Outcome], is_dead: bool) -> None:
    assert is_unreachable(outcomes) is is_dead


# --- lanes -----------------------------------------------------------------------------------------------------------


def lanes(**more: object) -> Lanes:
    return Lanes(QueueSettings(**more), lambda times: 60.0 * (times + 1))  # type: ignore[arg-type]


def job(destination: str) -> Job:
    message, recipient = queued()
    return Job(message, (recipient,), destination)


def test_destinations_are_served_in_turn() -> None:
    all_lanes = lanes(destination_start=2, destination_most=2)
    for destination in ["a"] * 5 + ["b"] * 5 + ["c"]:
        all_lanes.put(job(destination))
    begun = []
    while pair := all_lanes.begin():
        begun.append(pair[0].name)
    assert begun == ["a", "b", "c", "a", "b"]
    assert sorted(all_lanes.busy()) == ["a", "b"]
    all_lanes.end(all_lanes.lane("b"))
    assert [pair[0].name for pair in iter(all_lanes.begin, None)] == ["b"]


def test_a_lane_dies_after_three_strikes_and_is_asked_ever_more_seldom() -> None:
    all_lanes = lanes()
    lane = all_lanes.lane("a")
    assert [all_lanes.unreachable(lane, DEAD, now) for now in (0, 1, 2)] == [False, False, True]
    assert lane.is_dead(61.9) and not lane.is_dead(62) and lane.room == 1
    assert not all_lanes.unreachable(lane, DEAD, 3), "one that was under way says nothing new"
    assert all_lanes.unreachable(lane, DEAD, 62)
    assert lane.dead_until == 62 + 120
    assert lane.why() == Delayed(DEAD)
    all_lanes.reached(lane, 182)
    assert not lane.is_dead(182)


def test_each_failure_narrows_and_a_round_of_successes_widens() -> None:
    all_lanes = lanes(dead_after=100)
    lane = all_lanes.lane("a")
    rooms = []
    for now in range(6):
        all_lanes.unreachable(lane, DEAD, now)
        rooms.append(lane.room)
    assert rooms == [4, 3, 2, 1, 1, 1]
    for now in range(1000):
        all_lanes.reached(lane, now)
    assert lane.room == 20


def test_one_success_between_failures_keeps_a_lane_alive() -> None:
    all_lanes = lanes()
    lane = all_lanes.lane("a")
    for now in range(20):
        assert not all_lanes.unreachable(lane, DEAD, now)
        if now % 2:
            all_lanes.reached(lane, now)


def test_lanes_that_are_of_no_use_are_forgotten() -> None:
    all_lanes = lanes()
    for number in range(100):
        all_lanes.reached(all_lanes.lane(f"host{number}"), 1000.0)
    all_lanes.put(job("waits"))
    all_lanes.sweep(1000.0)
    assert len(all_lanes) == 101
    all_lanes.sweep(1000.0 + 2 * 3600)
    assert [lane.name for lane in all_lanes] == ["waits"]


@given(
    st.lists(
        st.tuples(st.sampled_from(("put", "begin", "end", "bad", "good", "off")), st.sampled_from("abc")), max_size=60
    )
)
@settings(max_examples=200)
def test_whatever_happens_no_job_is_lost_and_no_lane_overrun(story: list[tuple[str, str]]) -> None:
    all_lanes = lanes(destination_start=2, destination_most=4)
    put = taken = 0
    running: Counter[str] = Counter()
    for now, (what, name) in enumerate(story):
        lane = all_lanes.lane(name)
        if what == "put":
            all_lanes.put(job(name))
            put += 1
        elif what == "begin":
            pair = all_lanes.begin()
            if pair is not None:
                taken += 1
                running[pair[0].name] += 1
                assert running[pair[0].name] <= pair[0].room <= 4
        elif what == "end" and running[name]:
            running[name] -= 1
            all_lanes.end(lane)
        elif what == "bad":
            all_lanes.unreachable(lane, DEAD, now)
        elif what == "good":
            all_lanes.reached(lane, now)
        elif what == "off":
            taken += len(all_lanes.put_off(lane))
    for name in "abc":
        for _ in range(running[name]):
            all_lanes.end(all_lanes.lane(name))
    while pair := all_lanes.begin():
        taken += 1
        all_lanes.end(pair[0])
    assert taken == put
    assert all_lanes.busy() == []


# --- words -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_told_with_its_codes_once() -> None:
    assert answer(Status("5.1.1", "No such user", 550)) == "550 5.1.1 No such user"
    assert answer(Status("5.1.1", "5.1.1 No such user", 550)) == "550 5.1.1 No such user"
    assert answer(Status("5.1.1", "550 5.1.1 No such user", 550)) == "550 5.1.1 No such user"
    assert answer(Status("5.4.7", "Greylisted", 451)) == "451 Greylisted"
    assert answer(Status("4.4.1", "Connection refused")) == "4.4.1 Connection refused"


@given(st.text(max_size=2000))
@settings(max_examples=200)
def test_words_of_strangers_stay_on_one_line(text: str) -> None:
    for made in (one_line(text), ascii_line(text)):
        assert len(made.encode()) <= 800
        assert not set(made) & set("\r\n\0\t\x1b\x85\u2028\u2029\u202e")
    field = folded("Diagnostic-Code", f"smtp; {ascii_line(text)}")
    assert field.endswith("\r\n") and all(line[:1] in " D" for line in field.split("\r\n"))


def test_an_id_is_given_once_an_hour_but_to_reports() -> None:
    ids = Remembered()
    envelope = Envelope(ANN, Peer(""), "x", received_at=5.0)
    assert ids.unique(envelope, 0.0) is envelope
    ids.remember("x", 0)
    assert ids.unique(envelope, 0.0).trace_id == "x.2"
    ids.remember("x.2", 1)
    assert ids.unique(envelope, 0.0).trace_id == "x.3"
    assert ids.unique(Envelope(None, Peer("", service="queue"), "x"), 0.0).trace_id == "x"
    ids.remember("y", 4000)
    assert ids.unique(envelope, 0.0).trace_id == "x"


def test_only_id_and_time_of_an_envelope_are_changed() -> None:
    ids = Remembered()
    ids.remember("x", 0)
    peer = Peer("192.0.2.1", login="ann")
    full = Envelope(ANN, peer, "x", "8BITMIME", True, 70, "HDRS", "an id", "ann@home.example", True)
    assert all(getattr(full, one.name) != one.default for one in fields(Envelope) if one.name != "received_at")
    changed = ids.unique(full, 7.0)
    assert changed == replace(full, trace_id="x.2") and changed.received_at == 7.0
    assert ids.unique(replace(full, received_at=5.0), 7.0).received_at == 5.0
