"""The reference spool in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_mail_kit.errors import BlobNotFound, Unavailable
from twisted_mail_kit.mail.queued import TraceEvent
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.testing.contracts.spool_bench import NOW, lease, put, put_blob, queued, said, settle

DAY = 86400.0


def now(coroutine: Any) -> Any:
    """What it gives, without a reactor that runs."""
    answers: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(answers.append)
    assert answers, "it waits for something"
    if isinstance(answers[0], Failure):
        answers[0].raiseException()
    return answers[0]


def test_everything_is_done_when_the_call_returns() -> None:
    spool = MemorySpool(Clock())
    message = now(put(spool, "m1", "a.example"))
    (taken,) = now(lease(spool))
    assert now(spool.read_blob(message.blob_id, 0, 7)) == b"Subject"
    now(settle(spool, [taken], next_try=NOW + 1))
    assert now(spool.next_due()) == NOW + 1
    assert now(spool.change("m1", is_held=True)) == now(spool.remove("m1")) == 1
    now(spool.close())


def test_timelines_and_octets_that_nobody_wants_are_forgotten() -> None:
    clock = Clock()
    spool = MemorySpool(clock)
    left, blob_id = now(put_blob(spool)), now(put_blob(spool))
    now(spool.record([TraceEvent("m1", 0.0, "queued", "", "", "")]))
    clock.advance(6 * DAY)
    for number in range(3):
        now(spool.record([TraceEvent("m2", 6 * DAY, "queued", "", "", "")]))
        now(put(spool, f"n{number}", "a.example"))
    assert now(spool.trace("m1"))
    clock.advance(2 * DAY)
    now(spool.record([TraceEvent("m2", 8 * DAY, "delivered", "", "", "")]))
    assert not now(spool.trace("m1")) and len(now(spool.trace("m2"))) == 4
    for one in (left, blob_id):
        with pytest.raises(BlobNotFound):
            now(spool.read_blob(one, 0, 1))


def test_a_process_that_was_killed_writes_nothing_any_more() -> None:
    spool = MemorySpool(Clock())
    now(put(spool, "m1", "a.example"))
    (taken,) = now(lease(spool, "one"))
    again = spool.reopened()
    with pytest.raises(Unavailable):
        now(settle(spool, [taken]))
    assert now(lease(again, "two")) == []
    assert said(now(lease(again, "one"))) == [("m1", "a.example", (0,))]
    assert now(queued(again)) == {"m1": [0]}
