"""Promises of a spool to the operator: what is listed, held, changed, removed and traced."""

from __future__ import annotations

import pytest

from twisted_mail_kit.interfaces import ISpool, ISpoolCounts
from twisted_mail_kit.mail.queued import SpoolCounts, TraceEvent
from twisted_mail_kit.testing.contracts.spool_bench import (
    LATER,
    NOW,
    SpoolBench,
    lease,
    put,
    queued,
    recipient_of,
    said,
    settle,
    spool_promise,
)


class HandPromises(SpoolBench):
    """What `mailkit queue` does."""

    @spool_promise
    async def test_what_is_queued_is_listed_in_pages(self, spool: ISpool) -> None:
        for number in (3, 1, 4, 0, 2):
            await put(spool, f"m{number}", "b.example", "a.example", "b.example")
        pages, after = [], ""
        while page := await spool.messages(after, limit=2):
            pages.append([message.id for message, _ in page])
            after = page[-1][0].id
            assert all([one.number for one in recipients] == [0, 1, 2] for _, recipients in page)
        assert pages == [["m0", "m1"], ["m2", "m3"], ["m4"]]

    @spool_promise
    async def test_counts_say_what_a_walk_through_all_would(self, spool: ISpool) -> None:
        if not ISpoolCounts.providedBy(spool):
            pytest.skip("the spool does not provide ISpoolCounts: a monitor walks through all of it, once a minute")
        assert await spool.counts(NOW) == SpoolCounts(0, 0, None, 0, 0, 0)
        await put(spool, "m1", "a.example", "b.example", is_held=True)
        await put(spool, "m2", "a.example", "b.example", "c.example", next_try=NOW + 60)
        await put(spool, "m3", "a.example")
        await spool.change("m2", next_try=NOW, numbers=[0])
        await lease(spool, now=NOW - 1)  # what is being tried is due
        found = await spool.counts(NOW)
        stored = await spool.messages()
        assert found.messages == 3 and found.octets == sum(message.size for message, _ in stored)
        assert found.oldest == min(message.envelope.received_at for message, _ in stored)
        assert (found.due, found.waiting, found.held) == (2, 2, 2)
        assert (await spool.counts(NOW + 60)).waiting == 0
        await spool.remove("m1")
        assert (await spool.counts(NOW))[3:] == (2, 2, 0)

    @spool_promise
    async def test_what_is_held_is_not_tried_until_it_is_released(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example", "b.example", is_held=True)
        assert not await lease(spool, now=NOW + 1e6)
        assert await spool.change("m1", is_held=False, numbers=[1, 7]) == 1
        assert said(await lease(spool)) == [("m1", "b.example", (1,))]
        assert await spool.change("m1", is_held=False) == 2
        assert said(await lease(spool)) == [("m1", "a.example", (0,))]

    @spool_promise
    async def test_what_is_held_during_an_attempt_stays_held_after_it(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        leases = await lease(spool)
        assert await spool.change("m1", is_held=True) == 1
        assert await spool.next_due() is None
        await settle(spool, leases, next_try=NOW + 1)
        waits = await recipient_of(spool, "m1")
        assert waits.is_held and waits.last == LATER
        assert not await lease(spool, now=NOW + 1e6)

    @spool_promise
    async def test_what_is_released_during_an_attempt_is_still_leased(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        await lease(spool, "one")
        await spool.change("m1", is_held=True)
        await spool.change("m1", is_held=False)
        assert not await lease(spool, "two", now=NOW + 59)
        assert await lease(spool, "two", now=NOW + 60)

    @spool_promise
    async def test_the_next_try_can_be_changed(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example", "b.example", next_try=NOW + 3600)
        assert await spool.change("m1", next_try=NOW, numbers=[0]) == 1
        assert await spool.next_due() == NOW
        assert said(await lease(spool)) == [("m1", "a.example", (0,))]
        assert await spool.change("m1", next_try=NOW + 7200) == 2
        assert (await recipient_of(spool, "m1", 1)).next_try == NOW + 7200
        assert await spool.change("nobody", next_try=NOW) == 0

    @spool_promise
    async def test_recipients_are_removed_and_with_the_last_the_message(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example", "b.example", "a.example")
        leases = await lease(spool)
        assert await spool.remove("m1", [0, 1, 9]) == 2
        assert await queued(spool) == {"m1": [2]}
        assert await spool.remove("m1", []) == 0
        assert await spool.remove("m1") == 1
        assert await spool.remove("m1") == 0
        assert await queued(spool) == {} and await spool.next_due() is None
        await settle(spool, leases, next_try=NOW)
        assert await queued(spool) == {}

    @spool_promise
    async def test_a_timeline_is_told_in_order_also_when_the_message_has_gone(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        lines = [
            TraceEvent(
                "m1", NOW + number, event, "joe0@a.example", "mx.a.example [192.0.2.1]", f"4.0.0 \u00fc {number}"
            )
            for number, event in enumerate(("queued", "delayed", "delivered"))
        ]
        other = TraceEvent("m2", NOW, "queued", "", "", "")
        await spool.record([lines[0], other])
        leases = await lease(spool)
        await spool.settle([], [lines[1]])
        await settle(spool, leases)
        await spool.record([lines[2]])
        assert list(await spool.trace("m1")) == lines
        assert list(await spool.trace("m2")) == [other]
        assert list(await spool.trace("m3")) == []

    @spool_promise
    async def test_a_timeline_begins_with_what_is_added(self, spool: ISpool) -> None:
        line, other = TraceEvent("m1", NOW, "queued", "", "", "by us"), TraceEvent("m0", NOW, "queued", "", "", "as m1")
        await put(spool, "m1", "a.example", events=[line, other])
        await put(spool, "m1", "a.example", events=[line])
        assert list(await spool.trace("m1")) == [line]
        assert list(await spool.trace("m0")) == [other]
