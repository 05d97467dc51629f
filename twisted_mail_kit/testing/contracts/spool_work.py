"""Promises of a spool about work: it is leased to one at a time, in turn, and settled."""

from __future__ import annotations

import dataclasses

from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.queued import Settled
from twisted_mail_kit.testing.contracts.spool_bench import (
    DONE,
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


class WorkPromises(SpoolBench):
    """What the queue lives by."""

    @spool_promise
    async def test_what_is_due_is_leased_and_what_is_not_waits(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        await put(spool, "m2", "a.example", next_try=NOW + 1)
        assert said(await lease(spool)) == [("m1", "a.example", (0,))]
        assert said(await lease(spool, now=NOW + 1)) == [("m2", "a.example", (0,))]

    @spool_promise
    async def test_a_lease_is_the_recipients_of_one_message_for_one_destination(self, spool: ISpool) -> None:
        message = await put(spool, "m1", "a.example", "b.example", "a.example")
        leases = await lease(spool)
        assert sorted(said(leases)) == [("m1", "a.example", (0, 2)), ("m1", "b.example", (1,))]
        assert {one.message for one in leases} == {message}
        assert {(one.owner, one.until) for one in leases} == {("one", NOW + 60)}
        assert [str(one.recipient.address) for one in leases[0].recipients] == ["joe0@a.example", "joe2@a.example"]

    @spool_promise
    async def test_what_is_leased_is_nobody_elses(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        assert await lease(spool, "one")
        assert not await lease(spool, "two")
        assert not await lease(spool, "one")

    @spool_promise
    async def test_a_lease_that_has_run_out_is_taken_by_another(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        await lease(spool, "one")
        assert not await lease(spool, "two", now=NOW + 59)
        assert said(await lease(spool, "two", now=NOW + 60)) == [("m1", "a.example", (0,))]

    @spool_promise
    async def test_a_lease_that_is_renewed_does_not_run_out(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example", "b.example")
        await lease(spool, "one")
        await put(spool, "m2", "c.example")
        await lease(spool, "two")
        await spool.renew("one", NOW + 600)
        assert said(await lease(spool, "three", now=NOW + 599)) == [("m2", "c.example", (0,))]
        assert len(await lease(spool, "three", now=NOW + 600)) == 2

    @spool_promise
    async def test_a_message_may_be_leased_as_it_is_added(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example", owner="one", until=NOW + 60)
        assert not await lease(spool, "one") and not await lease(spool, "two")
        assert await spool.next_due() == NOW + 60
        await spool.renew("one", NOW + 120)
        assert not await lease(spool, "two", now=NOW + 119)
        assert await lease(spool, "two", now=NOW + 120)

    @spool_promise
    async def test_a_message_that_is_added_again_is_the_same(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example", "b.example")
        await put(spool, "m1", "c.example")
        assert [one[1] for one in sorted(said(await lease(spool)))] == ["a.example", "b.example"]

    @spool_promise
    async def test_destinations_are_served_in_turn(self, spool: ISpool) -> None:
        for number in range(6):
            await put(spool, f"m{number}", "big.example", next_try=NOW - 60 + number)
        await put(spool, "n1", "small.example")
        await put(spool, "n2", "small.example", next_try=NOW - 1)
        leases = said(await lease(spool, limit=4))
        assert sorted(leases) == [
            ("m0", "big.example", (0,)),
            ("m1", "big.example", (0,)),
            ("n1", "small.example", (0,)),
            ("n2", "small.example", (0,)),
        ]

    @spool_promise
    async def test_they_are_served_in_turn_from_call_to_call(self, spool: ISpool) -> None:
        for destination in "abc":
            for number in range(3):
                await put(spool, f"{destination}{number}", f"{destination}.example")
        turns = [said(await lease(spool, limit=1))[0][1] for _ in range(9)]
        assert [len(set(turns[start : start + 3])) for start in (0, 3, 6)] == [3, 3, 3]

    @spool_promise
    async def test_the_oldest_of_a_destination_comes_first(self, spool: ISpool) -> None:
        for number in (3, 1, 2):
            await put(spool, f"m{number}", "a.example", next_try=NOW - 10 + number)
        assert [said(await lease(spool, limit=1))[0][0] for _ in range(3)] == ["m1", "m2", "m3"]

    @spool_promise
    async def test_busy_destinations_are_left_out(self, spool: ISpool) -> None:
        for number in range(5):
            await put(spool, f"m{number}", "busy.example", "free.example")
        assert {one[1] for one in said(await lease(spool, busy=["busy.example", "x"]))} == {"free.example"}
        assert len(await lease(spool)) == 5

    @spool_promise
    async def test_no_more_is_leased_than_was_asked_for(self, spool: ISpool) -> None:
        for number in range(5):
            await put(spool, f"m{number}", "a.example", "b.example")
        assert [len(await lease(spool, limit=limit)) for limit in (0, 3, 4, 9)] == [0, 3, 4, 3]

    @spool_promise
    async def test_a_recipient_that_is_done_with_leaves(self, spool: ISpool) -> None:
        message = await put(spool, "m1", "a.example", "b.example")
        leases = {one.recipients[0].destination: one for one in await lease(spool)}
        await settle(spool, [leases["a.example"]])
        assert await queued(spool) == {"m1": [1]}
        assert await spool.read_blob(message.blob_id, 0, 7) == b"Subject"
        await settle(spool, [leases["b.example"]])
        assert await queued(spool) == {}
        assert not await lease(spool, now=NOW + 1e6) and await spool.next_due() is None

    @spool_promise
    async def test_a_recipient_that_is_tried_again_waits_until_then(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example", "a.example")
        (taken,) = await lease(spool)
        await spool.settle(
            [Settled(taken.recipients[0], LATER, NOW + 300, delay_told=True), Settled(taken.recipients[1], DONE, None)]
        )
        waits = await recipient_of(spool, "m1")
        assert waits == dataclasses.replace(
            taken.recipients[0], next_try=NOW + 300, attempts=1, last=LATER, delay_told=True
        )
        assert await spool.next_due() == NOW + 300
        assert not await lease(spool, now=NOW + 299)
        (taken,) = await lease(spool, "two", now=NOW + 300)
        assert taken.recipients == (waits,)
        await settle(spool, [taken], next_try=NOW + 900)
        waits = await recipient_of(spool, "m1")
        assert waits.attempts == 2 and waits.delay_told

    @spool_promise
    async def test_settling_ends_the_lease(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        await settle(spool, await lease(spool, "one"), next_try=NOW)
        assert await lease(spool, "two")

    @spool_promise
    async def test_what_is_settled_twice_is_settled_once(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        leases = await lease(spool)
        await settle(spool, leases)
        await settle(spool, leases)
        await settle(spool, leases, next_try=NOW + 1)
        assert await queued(spool) == {}

    @spool_promise
    async def test_the_next_that_is_due_is_told(self, spool: ISpool) -> None:
        assert await spool.next_due() is None
        await put(spool, "m1", "a.example", next_try=NOW + 10)
        await put(spool, "m2", "b.example", next_try=NOW + 5)
        await put(spool, "m3", "c.example", next_try=NOW, is_held=True)
        assert await spool.next_due() == NOW + 5
        await lease(spool, now=NOW + 5)
        assert await spool.next_due() == NOW + 10
        await lease(spool, now=NOW + 10)
        assert await spool.next_due() == NOW + 65

    @spool_promise
    async def test_a_message_for_many_is_leased_piece_by_piece(self, spool: ISpool) -> None:
        await put(spool, "m1", *(f"d{number % 50}.example" for number in range(400)))
        leases = await lease(spool, limit=30) + await lease(spool, limit=30)
        assert len(leases) == 50 and len({one for piece in said(leases) for one in piece[2]}) == 400
        await settle(spool, leases)
        assert await queued(spool) == {}
