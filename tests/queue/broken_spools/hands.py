"""Spools that are broken for the operator: lists, holds, changes, removals, timelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broken_spools import SoundSpool, breaks
from twisted_mail_kit.mail.queued import Settled


@breaks("test_what_is_queued_is_listed_in_pages")
class NoPages(SoundSpool):
    """Everything is listed, however little was asked for."""

    async def messages(self, after: str = "", limit: int = 100) -> Any:
        return await super().messages(after)


@breaks("test_counts_say_what_a_walk_through_all_would")
class HeldCountsAsWaiting(SoundSpool):
    """What is held is counted among what waits."""

    async def counts(self, now: float) -> Any:
        found = await super().counts(now)
        return found._replace(waiting=found.waiting + found.held, held=0)


@breaks("test_what_is_held_is_not_tried_until_it_is_released")
class HoldsNothing(SoundSpool):
    """What is held is tried."""

    async def add(self, message: Any, *said: Any, **more: Any) -> None:
        await super().add(message, *said, **more)
        await super().change(message.id, is_held=False)


@breaks("test_what_is_held_during_an_attempt_stays_held_after_it")
class SettlingReleases(SoundSpool):
    """What comes back from an attempt is not held."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        await super().settle(settled, events)
        for one in settled:
            await self.change(one.recipient.message_id, is_held=False, numbers=[one.recipient.number])


@breaks("test_what_is_released_during_an_attempt_is_still_leased")
class ReleasingEndsTheLease(SoundSpool):
    """What is released is free at once, whoever is at it."""

    async def change(self, message_id: str, *said: Any, is_held: bool | None = None, **more: Any) -> int:
        if is_held is False:
            for row in self._chosen(message_id, None):
                self._state().give_back(row)
        return await super().change(message_id, *said, is_held=is_held, **more)


@breaks("test_the_next_try_can_be_changed")
class NumbersIgnored(SoundSpool):
    """A change is for all recipients of the message."""

    async def change(self, message_id: str, *said: Any, numbers: Any = None, **more: Any) -> int:
        changed = await super().change(message_id, *said, **more)
        return changed if numbers is None else len(numbers)


@breaks("test_recipients_are_removed_and_with_the_last_the_message")
class RemovedAsAsked(SoundSpool):
    """So many are removed as were asked for."""

    async def remove(self, message_id: str, numbers: Any = None) -> int:
        removed = await super().remove(message_id, numbers)
        return removed if numbers is None else len(numbers)


@breaks("test_a_timeline_begins_with_what_is_added")
class AddedTwiceToldTwice(SoundSpool):
    """A message that is added again is told again."""

    async def add(self, message: Any, recipients: Any, owner: str = "", until: float = 0.0, events: Any = ()) -> None:
        await super().add(message, recipients, owner, until)
        await self.record(events)


@breaks("test_a_timeline_is_told_in_order_also_when_the_message_has_gone")
class ForgottenWithTheMessage(SoundSpool):
    """With the message goes its timeline."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        await super().settle(settled, events)
        kept = self._state()
        for one in settled:
            if one.recipient.message_id not in kept.messages:
                kept.events.pop(one.recipient.message_id, None)


@breaks("test_what_is_queued_is_listed_in_pages")
class OnePage(SoundSpool):
    """There is nothing behind the first page."""

    async def messages(self, after: str = "", limit: int = 100) -> Any:
        return () if after else await super().messages(after, limit)


@breaks("test_what_is_held_during_an_attempt_stays_held_after_it")
class HoldForgotten(SoundSpool):
    """What was held during an attempt is free before it is settled."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        for one in settled:
            await self.change(one.recipient.message_id, is_held=False, numbers=[one.recipient.number])
        await super().settle(settled, events)


@breaks("test_what_is_released_during_an_attempt_is_still_leased")
class ChangedForAll(SoundSpool):
    """Whatever is changed of a message ends all its leases."""

    async def change(self, message_id: str, *said: Any, **more: Any) -> int:
        for row in self._state().rows.get(message_id, {}).values():
            self._state().give_back(row)
        return await super().change(message_id, *said, **more)


@breaks("test_a_timeline_begins_with_what_is_added")
class AddedInSilence(SoundSpool):
    """The timeline of a message does not tell that it came."""

    async def add(self, message: Any, recipients: Any, owner: str = "", until: float = 0.0, events: Any = ()) -> None:
        await super().add(message, recipients, owner, until)


@breaks("test_a_timeline_is_told_in_order_also_when_the_message_has_gone")
class EventsOfSettlingLost(SoundSpool):
    """What is told with a settlement is lost."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        await super().settle(settled)
