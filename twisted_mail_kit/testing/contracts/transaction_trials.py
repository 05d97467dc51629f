"""Promises of a delivery target on bad days: strangers' envelopes, many at once, a client that goes, a lost disk."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import Delivered, Failed
from twisted_mail_kit.testing.contracts.part import at_once, is_no, nobody_held_up, part_promise, what_became
from twisted_mail_kit.testing.contracts.promise import running_reactor
from twisted_mail_kit.testing.contracts.sessions import MESSAGES, PLAIN, envelope, envelopes, recipients
from twisted_mail_kit.testing.contracts.transactions import DeliveryBench, Transaction, all_have_it


def letter(number: int, size: int = 0) -> bytes:
    """A message unlike all others."""
    return b"Subject: message %d\r\n\r\n" % number + b"%08d\r\n" % number * (size // 10) + b"end %d\r\n" % number


class _Strange(DeliveryBench):
    level = "hostile"

    @part_promise
    async def test_every_envelope_is_answered(self, part: Any) -> None:
        for about in envelopes():
            is_no(await what_became(Transaction(part, about).deliver(self.recipients[:1], PLAIN)))

    @part_promise
    async def test_every_recipient_is_answered_and_none_is_a_path(self, part: Any) -> None:
        outside = _names(self.tmp_path.parent)
        for number, (recipient, _) in enumerate(recipients()):
            open_one = await Transaction(part, envelope(number=number)).begin()
            came = await what_became(open_one.delivery.add_recipient(recipient))
            is_no(came)
            if isinstance(came, Exception):
                await open_one.delivery.abort()
                continue
            open_one.taken.append(str(recipient.address))
            is_no(await what_became(_rest(open_one, PLAIN)))
        assert _names(self.tmp_path.parent) == outside, "something was written outside of its place"

    @part_promise
    async def test_every_message_is_answered_and_arrives_as_it_is(self, part: Any) -> None:
        to, wanted = self.recipients[0], []
        for number, octets in enumerate(MESSAGES.values()):
            came = await what_became(Transaction(part, envelope(number=number)).deliver([to], octets))
            is_no(came)
            if not isinstance(came, Exception) and isinstance(came[0], Delivered):
                wanted.append((to, octets))
        await self.copies_are(*wanted)

    @part_promise
    async def test_one_recipient_many_times_has_as_many_outcomes(self, part: Any) -> None:
        all_have_it(await Transaction(part).deliver([self.recipients[0]] * 3, PLAIN))


class _Crowd(DeliveryBench):
    level = "crowds"

    @part_promise
    async def test_messages_that_come_at_once_do_not_mix(self, part: Any) -> None:
        one, other, *_ = self.recipients
        open_ones = []
        for number in range(8):
            to = [(one,), (other,), (one, other)][number % 3]
            open_ones.append(await Transaction(part, envelope(number=number)).begin(*to))
        for start in range(3):  # a piece of each, in turn
            for number, open_one in enumerate(open_ones):
                whole = letter(number, 3000)
                await open_one.write(whole[start * 1000 : (start + 1) * 1000 if start < 2 else None])
        for outcomes in await at_once(open_one.commit() for open_one in open_ones):
            assert not isinstance(outcomes, Exception), outcomes
            all_have_it(outcomes)
        wanted = [(to, letter(number, 3000)) for number, open_one in enumerate(open_ones) for to in open_one.taken]
        await self.copies_are(*wanted)

    @part_promise
    async def test_a_large_message_holds_nobody_up(self, part: Any) -> None:
        whole = letter(1, 4_000_000)
        async with nobody_held_up(self):
            pieces = [whole[start : start + 65_536] for start in range(0, len(whole), 65_536)]
            all_have_it(await Transaction(part).deliver(self.recipients[:1], *pieces))

    @part_promise
    async def test_one_that_is_given_up_in_the_middle_is_delivered_whole_or_not_at_all(self, part: Any) -> None:
        to, whole = self.recipients[0], letter(1, 200_000)
        for pause in (0.0, 0.001, 0.005):
            open_one = await Transaction(part).begin(to)
            await open_one.write(whole)
            committing: Deferred[Any] = Deferred.fromCoroutine(open_one.commit())
            committing.addErrback(lambda _: None)
            await deferLater(running_reactor(), pause, lambda: None)
            committing.cancel()
            await what_became(open_one.delivery.abort())
        all_have_it(await Transaction(part, envelope(number=9)).deliver([to], letter(9)))
        last = 0
        for name, octets in await self.copies():
            last += octets.endswith(letter(9))
            assert name == to.lower() and octets.endswith((whole, letter(9))), "it is there in part"
        assert last == 1

    @part_promise
    async def test_a_client_that_goes_in_the_middle_leaves_nothing_behind(self, part: Any) -> None:
        for _ in range(3):
            writing = await Transaction(part).begin(self.recipients[0])
            came: Deferred[Any] = Deferred.fromCoroutine(writing.write(letter(1, 100_000)))
            came.addErrback(lambda _: None)
            came.cancel()
            await writing.delivery.abort()
        await self.copies_are()
        all_have_it(await Transaction(part, envelope(number=9)).deliver(self.recipients[:1], PLAIN))
        await self.copies_are((self.recipients[0], PLAIN))

    @part_promise
    async def test_one_that_is_lost_without_a_word_leaves_nothing_behind(self, part: Any) -> None:
        for number in range(3):
            lost = await Transaction(part, envelope(number=number)).begin(self.recipients[0])
            await lost.write(letter(number, 100_000))
            del lost
        gc.collect()
        all_have_it(await Transaction(part, envelope(number=9)).deliver(self.recipients[:1], PLAIN))
        await self.copies_are((self.recipients[0], PLAIN))


class _Kept(DeliveryBench):
    level = "kept"

    @part_promise
    async def test_what_was_delivered_is_there_when_it_is_made_again(self, part: Any) -> None:
        all_have_it(await Transaction(part, envelope(number=1)).deliver(self.recipients[:1], letter(1)))
        again = await self.made_again()
        all_have_it(await Transaction(again, envelope(number=2)).deliver(self.recipients[:1], letter(2)))
        all_have_it(await Transaction(part, envelope(number=3)).deliver(self.recipients[:1], letter(3)))
        await self.closed(part)
        await self.closed(part)
        all_have_it(await Transaction(again, envelope(number=4)).deliver(self.recipients[:1], letter(4)))
        await self.copies_are(*((self.recipients[0], letter(number)) for number in (1, 2, 3, 4)))

    @part_promise
    async def test_without_what_it_stands_on_mail_has_to_wait_and_is_not_lost(self) -> None:
        part = await what_became(self._broken())
        if isinstance(part, Exception):
            return  # then the server does not begin
        came = await what_became(Transaction(part).deliver(self.recipients, PLAIN))
        assert not isinstance(came, Refused), f"it is refused for good: {came}"
        if isinstance(came, TryLater):
            is_no(came)
        elif not isinstance(came, Exception):
            for outcome in came:
                assert not isinstance(outcome, Delivered), "it says Delivered, and has nowhere to put it"
                assert not isinstance(outcome, Failed), "it fails for good, and the sender is told so"

    async def _broken(self) -> Any:
        return await self.opened(self.make_broken(self.tmp_path))


class TransactionTrials(_Strange, _Crowd, _Kept):
    """All of it."""


async def _rest(open_one: Transaction, octets: bytes) -> object:
    await open_one.write(octets)
    return await open_one.commit()


def _names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())
