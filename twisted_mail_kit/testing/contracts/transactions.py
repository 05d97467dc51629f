"""Promises of a delivery target that keep mail whole: recipients, octets, outcomes, abort."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import Delayed, Delivered, Failed, IDelivery, IDeliveryTarget, IDestinations, Outcome
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.testing.contracts.part import PartBench, can_be_said, is_no, part_promise, what_became
from twisted_mail_kit.testing.contracts.promise import finished
from twisted_mail_kit.testing.contracts.sessions import PLAIN, envelope

RECIPIENTS = ("ann@example.net", "bob@example.net")
Copy = tuple[str, bytes]
"""The address of one recipient, and what he got."""
_NUMBERS = count(1000)


class DeliveryBench(PartBench):
    """How a target is made, whom it delivers to, and how that is read back."""

    recipients: Sequence[str] = RECIPIENTS
    """Two addresses at least that it delivers to."""
    refuses = ""
    """An address that it does not deliver to; empty: none is known."""
    ends_lines = False
    """Whether bare CR and LF, and an end without a line end, become CR LF on the way, as SMTP has to have them."""

    def make_target(self, tmp_path: Path) -> Any:
        """Give an IDeliveryTarget. An awaitable of one will do."""
        raise NotImplementedError("write make_target(self, tmp_path)")

    def delivered(self, tmp_path: Path) -> Any:
        """What has been delivered by now, by targets that were made with this `tmp_path`: (address, octets) for each
        recipient of each message, in any order. An awaitable of it will do."""
        pytest.skip("the contract has no delivered(): what has come of it was not looked at")

    def _make(self) -> Any:
        return self.make_target(self.tmp_path)

    async def copies(self) -> list[Copy]:
        """What was delivered, by address; skips where it cannot be read back."""
        found = await finished(self.delivered(self.tmp_path))
        return sorted((str(address).lower(), self.as_sent(bytes(octets))) for address, octets in found)

    def as_sent(self, octets: bytes) -> bytes:
        """What the target makes of the octets, by `ends_lines`."""
        if not self.ends_lines:
            return octets
        octets = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
        return octets if octets.endswith(b"\r\n") else octets + b"\r\n"

    async def copies_are(self, *wanted: Copy) -> None:
        """This and nothing else was delivered, below trace fields perhaps."""
        found = await self.copies()
        assert [one for one, _ in found] == sorted(one.lower() for one, _ in wanted), "others have got it, or not all"
        for address, octets in sorted(wanted, key=lambda copy: -len(copy[1])):
            whole = self.as_sent(octets)
            mine = next((one for one in found if one[0] == address.lower() and one[1].endswith(whole)), None)
            assert mine is not None, f"{address} has not got {octets[-200:]!r} as it was written"
            found.remove(mine)


class Transaction:
    """One message, said as a server says it: recipients that are refused are left out."""

    def __init__(self, target: Any, about: Envelope | None = None) -> None:
        self.target = target
        self.about = about or envelope(number=next(_NUMBERS))
        self.taken: list[str] = []
        self.delivery: Any = None

    async def begin(self, *to: str) -> Transaction:
        """MAIL FROM and RCPT TO."""
        self.delivery = await self.target.begin(self.about)
        for one in to:
            await self.delivery.add_recipient(Recipient(parse_address(one)))
            self.taken.append(one)
        return self

    async def write(self, *pieces: bytes) -> Transaction:
        """The octets."""
        for octets in pieces:
            await self.delivery.write(octets)
        return self

    async def commit(self) -> list[Outcome]:
        """One outcome for each recipient."""
        outcomes = list(await self.delivery.commit())
        assert len(outcomes) == len(self.taken), f"{len(outcomes)} outcomes for {len(self.taken)} recipients"
        for outcome in outcomes:
            is_an_outcome(outcome)
        return outcomes

    async def deliver(self, to: Sequence[str], *pieces: bytes) -> list[Outcome]:
        """All of it."""
        await self.begin(*to)
        await self.write(*pieces)
        return await self.commit()


def is_an_outcome(outcome: object) -> None:
    """Delivered, Delayed or Failed, in words that can be said."""
    kinds = {Delivered: "2", Delayed: "4", Failed: "5"}
    assert type(outcome) in kinds, f"{outcome!r} is no outcome"
    can_be_said(outcome.status, kinds[type(outcome)])  # type: ignore[attr-defined]


def all_have_it(outcomes: Sequence[Outcome]) -> None:
    """Everybody has the message."""
    assert all(isinstance(one, Delivered) for one in outcomes), outcomes


class TransactionPromises(DeliveryBench):
    """What happens every day."""

    @part_promise
    async def test_the_doors_are_provided(self, part: Any) -> None:
        verifyObject(IDeliveryTarget, part)
        delivery = await part.begin(envelope())
        verifyObject(IDelivery, delivery)
        await delivery.abort()

    @part_promise
    async def test_a_message_is_delivered(self, part: Any) -> None:
        all_have_it(await Transaction(part).deliver(self.recipients[:1], PLAIN))
        await self.copies_are((self.recipients[0], PLAIN))

    @part_promise
    async def test_each_recipient_has_an_outcome_and_gets_the_message(self, part: Any) -> None:
        all_have_it(await Transaction(part).deliver(self.recipients, PLAIN))
        await self.copies_are(*((one, PLAIN) for one in self.recipients))

    @part_promise
    async def test_octets_arrive_as_they_were_written_whatever_the_pieces(self, part: Any) -> None:
        odd = b"Subject: x\r\n\r\n.\r\n..\r\nFrom here\r\n \t \r\n\0\xff\x80\r\n" + b"x" * 1200 + b"\r\n\r\n\r\n"
        large = PLAIN + b"0123456789abcdef" * 20_000 + b"\r\n"
        to, wanted = self.recipients[0], []
        for octets, size in ((odd, 1), (odd, len(odd)), (large, 4096), (large, 65_536), (large, len(large))):
            pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
            all_have_it(await Transaction(part).deliver([to], *pieces))
            wanted.append((to, octets))
        await self.copies_are(*wanted)

    @part_promise
    async def test_a_message_may_come_from_nobody(self, part: Any) -> None:
        all_have_it(await Transaction(part, envelope(None)).deliver(self.recipients[:1], PLAIN))
        await self.copies_are((self.recipients[0], PLAIN))

    @part_promise
    async def test_an_empty_message_is_a_message(self, part: Any) -> None:
        for pieces in ((), (b"",)):
            outcome = await what_became(Transaction(part).deliver(self.recipients[:1], *pieces))
            is_no(outcome)

    @part_promise
    async def test_without_recipients_nothing_is_delivered(self, part: Any) -> None:
        outcomes = await what_became(Transaction(part).deliver([], PLAIN))
        is_no(outcomes)
        await self.copies_are()

    @part_promise
    async def test_nothing_is_delivered_before_it_is_committed(self, part: Any) -> None:
        open_one = await Transaction(part).begin(*self.recipients)
        await open_one.write(PLAIN)
        await self.copies_are()
        all_have_it(await open_one.commit())
        await self.copies_are(*((one, PLAIN) for one in self.recipients))

    @part_promise
    async def test_what_is_aborted_at_any_time_is_not_delivered(self, part: Any) -> None:
        for to, pieces in (((), ()), (self.recipients, ()), (self.recipients, (PLAIN,)), ((), (PLAIN,))):
            open_one = await Transaction(part).begin(*to)
            await open_one.write(*pieces)
            await open_one.delivery.abort()
            await open_one.delivery.abort()
        await self.copies_are()

    @part_promise
    async def test_abort_may_be_said_more_than_once(self, part: Any) -> None:
        open_one = await (await Transaction(part).begin(self.recipients[0])).write(PLAIN)
        for _ in range(3):
            await open_one.delivery.abort()

    @part_promise
    async def test_abort_after_commit_takes_nothing_back(self, part: Any) -> None:
        open_one = await (await Transaction(part).begin(self.recipients[0])).write(PLAIN)
        all_have_it(await open_one.commit())
        await open_one.delivery.abort()
        await self.copies_are((self.recipients[0], PLAIN))

    @part_promise
    async def test_a_recipient_that_is_not_taken_leaves_the_others(self, part: Any) -> None:
        if not self.refuses:
            pytest.skip("the contract says of no address that it is not delivered to (refuses)")
        to = [self.recipients[0], self.refuses, self.recipients[1]]
        open_one = await Transaction(part).begin()
        for one in to:
            came = await what_became(open_one.delivery.add_recipient(Recipient(parse_address(one))))
            is_no(came)
            if not isinstance(came, (Refused, TryLater)):
                open_one.taken.append(one)
        outcomes = dict(zip(open_one.taken, await (await open_one.write(PLAIN)).commit(), strict=True))
        assert not isinstance(outcomes.pop(self.refuses, None), Delivered), f"{self.refuses} was said to have it"
        assert list(outcomes) == [to[0], to[2]]
        all_have_it(list(outcomes.values()))
        await self.copies_are((to[0], PLAIN), (to[2], PLAIN))


class DestinationPromises(DeliveryBench):
    """IDestinations."""

    level = "abilities"

    @part_promise
    async def test_a_destination_is_a_word_and_always_the_same(self, part: Any) -> None:
        if not IDestinations.providedBy(part):
            pytest.skip("it is no IDestinations: attempts are grouped by domain")
        verifyObject(IDestinations, part)
        for one in self.recipients:
            recipient = Recipient(parse_address(one))
            there = part.destination_of(recipient)
            assert isinstance(there, str) and there and there.isprintable() and len(there) <= 1000
            assert part.destination_of(recipient) == there
