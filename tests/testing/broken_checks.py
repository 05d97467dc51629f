"""Checks, each with one fault."""

from __future__ import annotations

import time

import memory_parts as parts
from part_defects import breaks, later

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import Status


@breaks("the_door_is_provided")
class NeverGreeted(parts.Questions):
    greeted = None


@breaks("it_has_a_name_for_the_log")
class NameOfTwoLines(parts.Questions):
    name = "casino\nQUIT"


@breaks("a_plain_message_is_answered_at_each_step")
class SaysAccept(parts.Questions):
    async def recipient(self, envelope, recipient, destination):
        return "ACCEPT"


@breaks("a_plain_message_is_answered_at_each_step", "every_message_is_answered")
class BareLineEnd(parts.Questions):
    async def message(self, envelope, recipients, message):
        return b"X-Casino: no\n"


@breaks("what_it_accepts_passes_at_every_step", "made_again_it_answers_the_same")
class AcceptsOnce(parts.Questions):
    async def message(self, envelope, recipients, message):
        self.place.asked = getattr(self.place, "asked", 0) + 1
        if self.place.asked > 1:
            raise Refused(parts.NOT_WANTED)


@breaks("what_it_refuses_does_not_pass", "of_many_at_once_each_gets_his_own_answer")
class RefusesNothing(parts.Questions):
    async def message(self, envelope, recipients, message):
        return None


@breaks("what_it_refuses_does_not_pass")
class RefusesForNow(parts.Questions):
    async def message(self, envelope, recipients, message):
        raise TryLater(parts.NOT_WANTED)


@breaks("it_is_asked_at_the_end_alone_as_after_a_reload")
class RemembersTheSender(parts.Questions):
    async def sender(self, envelope):
        self.from_whom = envelope.sender

    async def message(self, envelope, recipients, message):
        assert self.from_whom is not None or not message
        return await super().message(envelope, recipients, message)


@breaks("transactions_that_are_given_up_leave_nothing_behind", "one_who_gives_up_is_in_nobodys_way")
class CountsOpenOnes(parts.Questions):
    open = 0

    async def sender(self, envelope):
        self.open += 1
        if self.open > 3:
            raise TryLater(Status("4.7.0", "Too many", 450))

    async def message(self, envelope, recipients, message):
        await later(0.001)
        self.open -= 1
        return await super().message(envelope, recipients, message)


@breaks("the_message_may_be_slow_to_read")
class ReadsAtOnce(parts.Questions):
    async def message(self, envelope, recipients, message):
        try:
            message.read(0, 10).send(None)
        except StopIteration:
            return
        raise RuntimeError("it waits")


@breaks("every_peer_is_answered")
class WantsAnAddress(parts.Questions):
    async def connected(self, peer):
        _first, *_ = (int(part) for part in peer.host.split("."))


@breaks("every_envelope_is_answered")
class WantsASender(parts.Questions):
    async def sender(self, envelope):
        envelope.sender.domain.encode()


@breaks("every_recipient_is_answered", "a_message_for_a_thousand_is_answered")
class OursOnly(parts.Questions):
    async def recipient(self, envelope, recipient, destination):
        self.seen = [*getattr(self, "seen", []), destination.account][-1000:]
        if len(self.seen) > 900:
            raise RuntimeError("too many")


@breaks("every_message_is_answered")
class WantsASubject(parts.Questions):
    async def message(self, envelope, recipients, message):
        return b"X-Subject: " + message.headers.get(b"Subject").strip()[:100] + b"\r\n"


@breaks("every_message_is_answered")
class TooMuchToSay(parts.Questions):
    async def message(self, envelope, recipients, message):
        return b"X-Long: " + b"x" * (message.size // 10) + b"\r\n"


@breaks("of_many_at_once_each_gets_his_own_answer")
class JudgesTheLast(parts.Questions):
    async def message(self, envelope, recipients, message):
        self.judged = message
        await later(0)
        return await super().message(envelope, recipients, self.judged)


@breaks("while_it_is_asked_nobody_is_held_up")
class ScansInTheReactor(parts.Questions):
    async def message(self, envelope, recipients, message):
        time.sleep(min(message.size, 1_000_000) / 2_000_000)


@breaks("one_who_gives_up_is_in_nobodys_way")
class LocksAndForgets(parts.Questions):
    is_busy = False

    async def message(self, envelope, recipients, message):
        if self.is_busy:
            raise TryLater(Status("4.3.0", "Busy", 451))
        self.is_busy = True
        await later(0.005)
        self.is_busy = False
        return await super().message(envelope, recipients, message)


@breaks("without_what_it_stands_on_nobody_is_refused_for_good")
class NoListNoMail(parts.Questions):
    async def message(self, envelope, recipients, message):
        if self.place.is_lost:
            raise Refused(parts.NOT_WANTED)
