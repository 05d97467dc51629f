"""The reference spool in virtual time, and that the contract catches a spool which breaks a promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_mail_kit.errors import BlobNotFound, MailError, Unavailable
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, Settled, TraceEvent
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.testing.contracts.spool import SpoolContract
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


# --- broken ones -----------------------------------------------------------------------------------------------------

DEFECTS: list[tuple[type[MemorySpool], str]] = []


def breaks(*promises: str) -> Callable[[type[MemorySpool]], type[MemorySpool]]:
    """The spool has to be caught by each of these."""

    def note(broken: type[MemorySpool]) -> type[MemorySpool]:
        DEFECTS.extend((broken, promise) for promise in promises)
        return broken

    return note


class Leasing(MemorySpool):
    async def lease(
        self, owner: str, now: float, until: float, limit: int = 100, busy: Sequence[str] = ()
    ) -> Sequence[Lease]:
        return await super().lease(**self.asked(owner=owner, now=now, until=until, limit=limit, busy=busy))

    def asked(self, **asked: Any) -> dict[str, Any]:
        return asked


@breaks("test_what_is_due_is_leased_and_what_is_not_waits", "test_a_recipient_that_is_tried_again_waits_until_then")
class LeasesTooSoon(Leasing):
    def asked(self, **asked: Any) -> dict[str, Any]:
        return {**asked, "now": asked["now"] + 1}


@breaks("test_busy_destinations_are_left_out")
class BusyIgnored(Leasing):
    def asked(self, **asked: Any) -> dict[str, Any]:
        return {**asked, "busy": ()}


@breaks("test_no_more_is_leased_than_was_asked_for")
class OneMore(Leasing):
    def asked(self, **asked: Any) -> dict[str, Any]:
        return {**asked, "limit": asked["limit"] + 1}


@breaks("test_what_is_leased_is_nobody_elses", "test_what_is_due_is_leased_and_what_is_not_waits")
class LeasesTwice(Leasing):
    async def lease(self, owner: str, *rest: Any) -> Sequence[Lease]:  # type: ignore[override]
        self._owners.clear()
        self._run += 1
        return await super().lease(owner, *rest)


@breaks("test_destinations_are_served_in_turn", "test_they_are_served_in_turn_from_call_to_call")
class OldestFirst(MemorySpool):
    async def lease(
        self, owner: str, now: float, until: float, limit: int = 100, busy: Sequence[str] = ()
    ) -> Sequence[Lease]:
        leases: list[Lease] = []
        for destination in sorted(self._state().lines):
            others = [name for name in self._state().lines if name != destination]
            leases += await super().lease(owner, now, until, limit - len(leases), [*busy, *others])
        return leases


@breaks("test_a_lease_that_is_renewed_does_not_run_out")
class NeverRenewed(MemorySpool):
    async def renew(self, owner: str, until: float) -> None:
        pass


@breaks("test_a_lease_that_is_renewed_does_not_run_out")
class RenewedForAll(MemorySpool):
    async def renew(self, owner: str, until: float) -> None:
        for one in self._state().leased:
            await super().renew(one, until)


@breaks("test_a_message_may_be_leased_as_it_is_added")
class AddedUnleased(MemorySpool):
    async def add(
        self,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        owner: str = "",
        until: float = 0.0,
        events: Sequence[TraceEvent] = (),
    ) -> None:
        await super().add(message, recipients, events=events)


@breaks("test_a_timeline_begins_with_what_is_added")
class AddedInSilence(MemorySpool):
    async def add(
        self,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        owner: str = "",
        until: float = 0.0,
        events: Sequence[TraceEvent] = (),
    ) -> None:
        await super().add(message, recipients, owner, until)


@breaks("test_a_recipient_that_is_tried_again_waits_until_then")
class DelayToldAgain(MemorySpool):
    async def settle(self, settled: Sequence[Settled], events: Sequence[TraceEvent] = ()) -> None:
        for one in settled:
            row = self._state().rows.get(one.recipient.message_id, {}).get(one.recipient.number)
            if row is not None:
                row.recipient = replace(row.recipient, delay_told=False)
        await super().settle(settled, events)


@breaks("test_what_is_held_during_an_attempt_stays_held_after_it")
class HoldForgotten(MemorySpool):
    async def settle(self, settled: Sequence[Settled], events: Sequence[TraceEvent] = ()) -> None:
        for one in settled:
            await self.change(one.recipient.message_id, is_held=False, numbers=[one.recipient.number])
        await super().settle(settled, events)


@breaks("test_what_is_released_during_an_attempt_is_still_leased")
class ReleasedForAll(MemorySpool):
    async def change(self, message_id: str, next_try: Any = None, is_held: Any = None, numbers: Any = None) -> int:
        for row in self._state().rows.get(message_id, {}).values():
            self._state().give_back(row)
        return await super().change(message_id, next_try, is_held, numbers)


@breaks("test_the_next_that_is_due_is_told")
class LeasesNeverRunOut(MemorySpool):
    async def next_due(self) -> float | None:
        lines, rows = self._state().lines.values(), self._state().rows
        free = [ready for line in lines for ready, message_id, number in line if rows[message_id][number].owner is None]
        return min(free, default=None)


@breaks("test_octets_go_with_the_last_recipient", "test_recipients_are_removed_and_with_the_last_the_message")
class NothingLeaves(MemorySpool):
    async def remove(self, message_id: str, numbers: Sequence[int] | None = None) -> int:
        return len(self._chosen(message_id, numbers))

    async def settle(self, settled: Sequence[Settled], events: Sequence[TraceEvent] = ()) -> None:
        pass


@breaks("test_what_is_queued_is_listed_in_pages")
class OnePage(MemorySpool):
    async def messages(self, after: str = "", limit: int = 100) -> Any:
        return () if after else await super().messages(after, limit)


@breaks("test_a_timeline_is_told_in_order_also_when_the_message_has_gone")
class EventsOfSettlingLost(MemorySpool):
    async def settle(self, settled: Sequence[Settled], events: Sequence[TraceEvent] = ()) -> None:
        await super().settle(settled)


@breaks("test_a_message_that_is_added_again_is_the_same")
class AddedOver(MemorySpool):
    async def add(
        self,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        owner: str = "",
        until: float = 0.0,
        events: Sequence[TraceEvent] = (),
    ) -> None:
        await self.remove(message.id)
        await super().add(message, recipients, owner, until, events)


@breaks("test_an_owner_that_starts_again_has_its_work_again_at_once")
class WaitsForItsOwnLeases(MemorySpool):
    def reopened(self) -> MemorySpool:
        other = super().reopened()
        other._owners = {"one"}
        return other


@breaks("test_everything_is_there_when_it_is_opened_again")
class ForgetsAll(MemorySpool):
    def reopened(self) -> MemorySpool:
        return MemorySpool()


@pytest.mark.parametrize(("spool", "promise"), DEFECTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_spool_is_caught(spool: type[MemorySpool], promise: str, tmp_path: Path) -> Deferred[None]:
    class Contract(SpoolContract):
        def make_spool(self, tmp_path: Path) -> Any:
            return spool()

        def reopen(self, spool: Any) -> Any:
            return spool.reopened()

    kept: Deferred[None] = getattr(Contract(), promise)(tmp_path)

    def caught(failure: Any) -> None:
        assert issubclass(failure.type, (AssertionError, MailError, pytest.fail.Exception)), failure

    def missed(_: None) -> None:
        pytest.fail(f"{spool.__name__} was not caught by {promise}")

    return kept.addCallbacks(missed, caught)
