"""Spools that are broken between processes: one that starts again, and several at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from broken_spools import SoundSpool, breaks
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.mail.queued import Settled
from twisted_mail_kit.testing.contracts.crowds import pause


@breaks("test_everything_is_there_when_it_is_opened_again")
class ARestartReleases(SoundSpool):
    """What was held is not held any more after a restart."""

    def found_again(self) -> None:
        for row in self.all_rows():
            row.recipient = replace(row.recipient, is_held=False)


@breaks("test_an_owner_that_starts_again_has_its_work_again_at_once")
class LeasesOfTheDead(SoundSpool):
    """Who starts again waits until what he had himself has run out."""

    def _take_over(self, owner: str) -> None:
        pass


@breaks("test_it_has_it_again_also_when_it_adds_or_renews_first")
class OnlyByLeasing(SoundSpool):
    """Who renews first renews what he does not know of."""

    async def renew(self, owner: str, until: float) -> None:
        self._owners.add(owner)
        await super().renew(owner, until)

    async def add(self, message: Any, recipients: Any, owner: str = "", *said: Any, **more: Any) -> None:
        if owner:
            self._owners.add(owner)
        await super().add(message, recipients, owner, *said, **more)


@breaks("test_who_comes_too_late_takes_nothing_from_another")
class TheLastWordCounts(SoundSpool):
    """Whoever settles settles, whose ever the lease is."""

    async def settle(self, settled: Sequence[Settled], events: Any = ()) -> None:
        for row in self.rows_of(settled):
            row.run = self._run
        await super().settle(settled, events)


@breaks("test_two_spools_in_the_same_place_share_the_work")
class EachForItself(SoundSpool):
    """What another does after this one was opened is never seen."""

    def __init__(self, beside: SoundSpool | None = None) -> None:
        super().__init__(beside)
        self._kept = copy.deepcopy(self._kept)


@breaks("test_closing_finishes_what_was_begun")
class LeavesInTheMiddle(SoundSpool):
    """Closing gives up what was begun."""

    async def add(self, *said: Any, **more: Any) -> None:
        await pause()
        await super().add(*said, **more)


@breaks("test_what_was_never_added_is_no_hindrance")
class StumblesOverHalfAMessage(SoundSpool):
    """What a crash has left of a message has to be removed by hand."""

    def reopened(self) -> Any:
        if self._state().loose:
            raise Unavailable("there is half a message")
        return super().reopened()


@breaks("test_everything_is_there_when_it_is_opened_again")
class ForgetsAll(SoundSpool):
    """A restart finds an empty queue."""

    def reopened(self) -> Any:
        return SoundSpool()


@breaks("test_an_owner_that_starts_again_has_its_work_again_at_once")
class WaitsForItsOwnLeases(SoundSpool):
    """Who starts again is taken for one that has been there all the time."""

    def found_again(self) -> None:
        self._owners = {"one"}
