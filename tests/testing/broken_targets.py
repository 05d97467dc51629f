"""Delivery targets, each with one fault."""

from __future__ import annotations

import time
from typing import Any

import memory_parts as parts
from part_defects import breaks, later

from twisted_mail_kit.errors import TryLater
from twisted_mail_kit.interfaces import Delivered, Failed, Status


@breaks("the_doors_are_provided")
class CannotAbort(parts.Delivering):
    abort = None


@breaks("a_message_is_delivered", "a_message_may_come_from_nobody", "an_empty_message_is_a_message")
class SaysSoOnly(parts.Delivering):
    async def commit(self):
        if not b"".join(self.pieces):
            raise ValueError("empty")
        return [Delivered()] * len(self.to)


@breaks("each_recipient_has_an_outcome_and_gets_the_message")
class OneOutcomeForAll(parts.Delivering):
    async def commit(self):
        return list(await super().commit())[:1]


@breaks("each_recipient_has_an_outcome_and_gets_the_message")
class FirstRecipientOnly(parts.Delivering):
    async def commit(self):
        outcomes = list(await super().commit())
        del self.place.mail[1 - len(outcomes) or len(self.place.mail) :]
        return outcomes


@breaks("octets_arrive_as_they_were_written_whatever_the_pieces", "every_message_is_answered_and_arrives_as_it_is")
class StuffsDots(parts.Delivering):
    async def write(self, octets):
        await super().write(octets.replace(b"\n.", b"\n..").replace(b"\r.", b"."))


@breaks("a_message_may_come_from_nobody", "every_envelope_is_answered")
class FromSomebody(parts.Target):
    async def begin(self, envelope):
        str(envelope.sender.domain)
        return await super().begin(envelope)


@breaks("without_recipients_nothing_is_delivered")
class NeedsARecipient(parts.Delivering):
    async def commit(self):
        self.to = self.to or ["postmaster@example.net"]
        return await super().commit()


@breaks("nothing_is_delivered_before_it_is_committed", "what_is_aborted_at_any_time_is_not_delivered")
class DeliversAtOnce(parts.Delivering):
    async def write(self, octets):
        await super().write(octets)
        await super().commit()


@breaks("abort_may_be_said_more_than_once")
class AbortsOnce(parts.Delivering):
    async def abort(self):
        del self.pieces


@breaks("abort_after_commit_takes_nothing_back")
class TakesItBack(parts.Delivering):
    async def abort(self):
        self.place.mail.clear()


@breaks("a_recipient_that_is_not_taken_leaves_the_others")
class OneNoIsForAll(parts.Delivering):
    async def add_recipient(self, recipient):
        if recipient.address.local == "nobody":
            self.to.clear()
        await super().add_recipient(recipient)


@breaks("a_destination_is_a_word_and_always_the_same")
class EachItsOwn(parts.Target):
    def destination_of(self, recipient):
        return str(id(object())) + str(time.perf_counter())


@breaks("every_recipient_is_answered_and_none_is_a_path")
class NamesAreFiles(parts.Target):
    folder: Any = None

    async def begin(self, envelope):
        return _Filing(self, envelope)


class _Filing(parts.Delivering):
    async def add_recipient(self, recipient):
        await super().add_recipient(recipient)
        recipient.address.local.encode("ascii")


@breaks("one_recipient_many_times_has_as_many_outcomes")
class EachOnce(parts.Delivering):
    async def add_recipient(self, recipient):
        if str(recipient.address) not in self.to:
            await super().add_recipient(recipient)


@breaks("messages_that_come_at_once_do_not_mix")
class OneAtATime(parts.Target):
    async def begin(self, envelope):
        delivery = await super().begin(envelope)
        self.pieces = delivery.pieces = getattr(self, "pieces", [])
        return delivery


@breaks("a_large_message_holds_nobody_up")
class SyncsInTheReactor(parts.Delivering):
    async def commit(self):
        time.sleep(0.4 if len(self.pieces) > 10 else 0)
        return await super().commit()


@breaks("one_that_is_given_up_in_the_middle_is_delivered_whole_or_not_at_all")
class InTwoSteps(parts.Delivering):
    async def commit(self):
        whole = b"".join(self.pieces)
        self.place.mail += [(one, whole[:1000]) for one in self.to]
        await later(0.003)
        del self.place.mail[-len(self.to) :]
        self.place.mail += [(one, whole) for one in self.to]
        return [Delivered()] * len(self.to)


@breaks("a_client_that_goes_in_the_middle_leaves_nothing_behind")
class AbortDelivers(parts.Delivering):
    async def abort(self):
        await self.commit()


@breaks("one_that_is_lost_without_a_word_leaves_nothing_behind")
class OnlyThreeAtATime(parts.Target):
    open = 0

    async def begin(self, envelope):
        self.open += 1
        if self.open > 3:
            raise TryLater(Status("4.3.2", "Busy", 451))
        return await super().begin(envelope)


@breaks("what_was_delivered_is_there_when_it_is_made_again")
class NotKept(parts.Target):
    def __init__(self, place):
        super().__init__(place)
        place.mail.clear()


@breaks("without_what_it_stands_on_mail_has_to_wait_and_is_not_lost")
class LostWithTheDisk(parts.Delivering):
    async def commit(self):
        return [Delivered()] * len(self.to) if self.place.is_lost else await super().commit()


@breaks("without_what_it_stands_on_mail_has_to_wait_and_is_not_lost")
class FailsWithTheDisk(parts.Delivering):
    async def commit(self):
        status = Status("5.3.0", "No disk", 554)
        return [Failed(status)] * len(self.to) if self.place.is_lost else await super().commit()
