"""Promises of a spool to processes: one that starts again, and several at a time."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, gatherResults

from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.queued import Lease, TraceEvent
from twisted_mail_kit.testing.contracts.spool_bench import (
    BODY,
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


class KeptSpoolPromises(SpoolBench):
    """All of it skips aloud where the spool is not persistent."""

    @spool_promise
    async def test_everything_is_there_when_it_is_opened_again(self, spool: ISpool) -> None:
        large = await put(spool, "m0", "a.example", octets=b"0123456789" * 30_000)
        await put(spool, "m1", "a.example", "b.example")
        await put(spool, "m2", "a.example", is_held=True)
        await put(spool, "m3", "c.example")
        taken = await lease(spool, limit=2)
        await settle(spool, taken[:1], next_try=NOW + 5)
        await settle(spool, taken[1:])
        line = TraceEvent("m1", NOW, "queued", "", "", "")
        await spool.settle([], [line])
        before, due = list(await spool.messages()), await spool.next_due()
        spool = await self.opened_again(spool)
        assert list(await spool.messages()) == before and await spool.next_due() == due
        assert list(await spool.trace("m1")) == [line]
        assert await spool.read_blob(large.blob_id, 299_990, 99) == b"0123456789"
        assert all([await spool.read_blob(message.blob_id, 0, 99) == BODY for message, _ in before[1:]])
        added = await put(spool, "m9", "d.example", octets=b"another")
        assert await spool.read_blob(added.blob_id, 0, 99) == b"another"

    @spool_promise
    async def test_an_owner_that_starts_again_has_its_work_again_at_once(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        await put(spool, "m2", "b.example", owner="one", until=NOW + 60)
        await put(spool, "m3", "c.example", next_try=NOW + 1)
        assert len(await lease(spool, "one")) == 1
        spool = await self.opened_again(spool)
        assert not await lease(spool, "two")
        assert sorted(said(await lease(spool, "one"))) == [("m1", "a.example", (0,)), ("m2", "b.example", (0,))]
        assert not await lease(spool, "one")

    @spool_promise
    async def test_it_has_it_again_also_when_it_adds_or_renews_first(self, spool: ISpool) -> None:
        await put(spool, "m1", "a.example")
        await lease(spool, "one")
        spool = await self.opened_again(spool)
        await put(spool, "m2", "b.example", owner="one", until=NOW + 60)
        await spool.renew("one", NOW + 60)
        assert said(await lease(spool, "one")) == [("m1", "a.example", (0,))]

    @spool_promise
    async def test_who_comes_too_late_takes_nothing_from_another(self, spool: ISpool) -> None:
        if not self.persistent:
            pytest.skip("not a persistent spool: each is for itself")
        other = await self.opened(self.make_spool(self.tmp_path))
        for message_id in ("m1", "m2"):
            await put(spool, message_id, f"{message_id}.example")
        late = await lease(spool, "one")
        taken = await lease(other, "two", now=NOW + 60)
        assert len(taken) == 2
        late.sort(key=lambda one: one.message.id)
        # It says "later" of what another is at: the other's word will count.
        await settle(spool, late[:1], next_try=NOW + 60)
        assert not await lease(spool, "one", now=NOW + 61)
        assert (await recipient_of(spool, "m1")).attempts == 0
        # It has delivered: that is so.
        await settle(spool, late[1:])
        assert await queued(other) == {"m1": [0]}
        await settle(other, taken, next_try=NOW + 100)
        assert await queued(spool) == {"m1": [0]}

    @spool_promise
    async def test_two_spools_in_the_same_place_share_the_work(self, spool: ISpool) -> None:
        if not self.persistent:
            pytest.skip("not a persistent spool: each is for itself")
        other = await self.opened(self.make_spool(self.tmp_path))
        for number in range(30):
            await put(other if number % 2 else spool, f"m{number:02}", f"d{number % 3}.example", "x.example")

        assert await queued(spool) == await queued(other) == {f"m{number:02}": [0, 1] for number in range(30)}

        async def work(one: ISpool, owner: str) -> list[Lease]:
            done: list[Lease] = []
            while leases := await lease(one, owner, limit=4):
                for taken in leases:
                    assert await one.read_blob(taken.message.blob_id, 0, 99) == BODY
                await settle(one, leases)
                done += leases
            return done

        both = await gatherResults(
            [Deferred.fromCoroutine(work(spool, "one")), Deferred.fromCoroutine(work(other, "two"))]
        )
        tried = [piece for done in both for piece in said(done)]
        assert len(tried) == len(set(tried)) == 60
        assert await queued(spool) == await queued(other) == {}

    @spool_promise
    async def test_closing_finishes_what_was_begun(self, spool: ISpool) -> None:
        begun = [Deferred.fromCoroutine(put(spool, f"m{number}", "a.example")) for number in range(10)]
        await begun[0]
        spool = await self.opened_again(spool)
        await gatherResults(begun, consumeErrors=True)
        assert len(await queued(spool)) == 10

    @spool_promise
    async def test_what_was_never_added_is_no_hindrance(self, spool: ISpool) -> None:
        for size in (10, 200_000):
            await spool.new_blob().write(b"x" * size)
            writer = spool.new_blob()
            await writer.write(b"x" * size)
            await writer.commit()
        spool = await self.opened_again(spool)
        await put(spool, "m1", "a.example")
        assert await queued(spool) == {"m1": [0]}
