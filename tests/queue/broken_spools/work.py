"""Spools that are broken in their work: leased too often, too seldom, in the wrong order; settled wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from broken_spools import SoundSpool, breaks
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import Lease
from twisted_mail_kit.mail.queued import Settled
from twisted_mail_kit.testing.contracts.spool_bench import NOW


@breaks("test_what_is_due_is_leased_and_what_is_not_waits")
class NothingWaits(SoundSpool):
    """What is queued is due."""

    async def add(self, message: Any, recipients: Any, *said: Any, **more: Any) -> None:
        await super().add(message, [replace(one, next_try=0.0) for one in recipients], *said, **more)


@breaks("test_a_lease_is_the_recipients_of_one_message_for_one_destination")
class OneRecipientALease(SoundSpool):
    """Each recipient is an attempt of its own."""

    async def lease(self, *said: Any, **more: Any) -> Sequence[Lease]:
        leases = await super().lease(*said, **more)
        return [replace(one, recipients=(each,)) for one in leases for each in one.recipients]


@breaks("test_what_is_leased_is_nobody_elses")
class LeasesAreNotWrittenDown(SoundSpool):
    """Who asks first has work, and so has who asks next."""

    async def lease(self, *said: Any, **more: Any) -> Sequence[Lease]:
        leases = await super().lease(*said, **more)
        for row in self.all_rows():
            self._state().give_back(row)
        return leases


@breaks("test_a_lease_that_has_run_out_is_taken_by_another")
class LeasesForLife(SoundSpool):
    """A lease does not run out."""

    async def lease(self, owner: str, now: float, until: float, *said: Any, **more: Any) -> Sequence[Lease]:
        return await super().lease(owner, now, until + 1e9, *said, **more)


@breaks("test_a_lease_that_is_renewed_does_not_run_out")
class RenewsNothing(SoundSpool):
    """A lease runs out when it was to at first."""

    async def renew(self, owner: str, until: float) -> None:
        pass


@breaks("test_a_message_may_be_leased_as_it_is_added")
class OwnerIgnored(SoundSpool):
    """What is added belongs to nobody."""

    async def add(self, message: Any, recipients: Any, *said: Any, **more: Any) -> None:
        await super().add(message, recipients)


@breaks("test_a_message_that_is_added_again_is_the_same")
class AddedAnew(SoundSpool):
    """A message that is added again takes the place of the first."""

    async def add(self, message: Any, *said: Any, **more: Any) -> None:
        self._state().loose.setdefault(message.blob_id, 0.0)
        await self.remove(message.id)
        await super().add(message, *said, **more)


@breaks("test_destinations_are_served_in_turn", "test_they_are_served_in_turn_from_call_to_call")
class OneAfterTheOther(SoundSpool):
    """A destination is served when the one before has nothing left."""

    async def lease(self, owner: str, now: float, until: float, limit: int = 100, busy: Any = ()) -> Sequence[Lease]:
        leases: list[Lease] = []
        names = sorted(self._state().lines)
        for name in names:
            others = [*busy, *(one for one in names if one != name)]
            leases += await super().lease(owner, now, until, limit - len(leases), others)
        return leases


@breaks("test_they_are_served_in_turn_from_call_to_call")
class TurnsForgotten(SoundSpool):
    """Each call begins with the same destination."""

    async def lease(self, *said: Any, **more: Any) -> Sequence[Lease]:
        self._state().turns.clear()
        return await super().lease(*said, **more)


@breaks("test_the_oldest_of_a_destination_comes_first")
class TheNewestFirst(SoundSpool):
    """Who came last is tried first."""

    async def add(self, message: Any, recipients: Any, *said: Any, **more: Any) -> None:
        turned = [replace(one, next_try=2 * NOW - 20 - one.next_try) for one in recipients]
        await super().add(message, turned, *said, **more)


@breaks("test_busy_destinations_are_left_out")
class BusyIgnored(SoundSpool):
    """Busy destinations are tried too."""

    async def lease(self, owner: str, now: float, until: float, limit: int = 100, busy: Any = ()) -> Sequence[Lease]:
        return await super().lease(owner, now, until, limit)


@breaks("test_no_more_is_leased_than_was_asked_for")
class OneMore(SoundSpool):
    """There is always one more."""

    async def lease(self, owner: str, now: float, until: float, limit: int = 100, busy: Any = ()) -> Sequence[Lease]:
        return await super().lease(owner, now, until, limit + 1, busy)


@breaks("test_a_recipient_that_is_done_with_leaves")
class NobodyLeaves(SoundSpool):
    """Who was delivered to is tried again."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        await super().settle([replace(one, next_try=one.next_try or 0.0) for one in settled], events)


@breaks("test_a_recipient_that_is_tried_again_waits_until_then")
class TriedAgainAtOnce(SoundSpool):
    """The next attempt is due with the end of the last."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        await super().settle([replace(one, next_try=one.next_try and 0.0) for one in settled], events)


@breaks("test_a_recipient_that_is_tried_again_waits_until_then")
class AttemptsNotCounted(SoundSpool):
    """Every attempt is the first."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        await super().settle(settled, events)
        for row in self.rows_of(settled):
            row.recipient = replace(row.recipient, attempts=0)


@breaks("test_settling_ends_the_lease")
class SettledAndLeased(SoundSpool):
    """What was settled stays with its owner until his time is over."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        before = [(row, row.owner, row.until) for row in self.rows_of(settled)]
        await super().settle(settled, events)
        for row, owner, until in before:
            if row in self.all_rows():
                self._state().lend(row, owner, self._run, until)


@breaks("test_what_is_settled_twice_is_settled_once")
class SettledTwiceIsAnError(SoundSpool):
    """Who settles what is not there is told so."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        if len(self.rows_of(settled)) < len(settled):
            raise Unavailable("there is no such recipient")
        await super().settle(settled, events)


@breaks("test_the_next_that_is_due_is_told")
class HeldIsDue(SoundSpool):
    """The next that is due may be one that is held."""

    async def next_due(self) -> float | None:
        times = [row.recipient.next_try for row in self.all_rows() if row.recipient.is_held]
        return min([*times, *filter(None, [await super().next_due()])], default=None)


@breaks("test_a_message_for_many_is_leased_piece_by_piece")
class FiveAtMost(SoundSpool):
    """A lease has room for five recipients, and the others are leased to nobody."""

    async def lease(self, *said: Any, **more: Any) -> Sequence[Lease]:
        return [replace(one, recipients=one.recipients[:5]) for one in await super().lease(*said, **more)]


@breaks("test_what_is_due_is_leased_and_what_is_not_waits", "test_a_recipient_that_is_tried_again_waits_until_then")
class LeasesTooSoon(SoundSpool):
    """What is due in a second is due."""

    async def lease(self, owner: str, now: float, *said: Any, **more: Any) -> Sequence[Lease]:
        return await super().lease(owner, now + 1, *said, **more)


@breaks("test_what_is_leased_is_nobody_elses", "test_what_is_due_is_leased_and_what_is_not_waits")
class LeasesTwice(SoundSpool):
    """Whoever asks is taken for one that has started again."""

    async def lease(self, *said: Any, **more: Any) -> Sequence[Lease]:
        self._owners.clear()
        self._run += 1
        return await super().lease(*said, **more)


@breaks("test_a_lease_that_is_renewed_does_not_run_out")
class RenewedForAll(SoundSpool):
    """One who renews renews for all."""

    async def renew(self, owner: str, until: float) -> None:
        for one in self._state().leased:
            await super().renew(one, until)


@breaks("test_a_recipient_that_is_tried_again_waits_until_then")
class DelayToldAgain(SoundSpool):
    """That a delay was told of is forgotten with the next attempt."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        for row in self.rows_of(settled):
            row.recipient = replace(row.recipient, delay_told=False)
        await super().settle(settled, events)


@breaks("test_the_next_that_is_due_is_told")
class LeasesNeverRunOut(SoundSpool):
    """What is leased is never due."""

    async def next_due(self) -> float | None:
        lines, rows = self._state().lines.values(), self._state().rows
        free = [ready for line in lines for ready, message_id, number in line if rows[message_id][number].owner is None]
        return min(free, default=None)
