"""Promises of a check: at each step it says nothing, Refused or TryLater, and at the end perhaps a header field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_mail_kit.delivery.received import checked_fields
from twisted_mail_kit.errors import Refused, TryLater, Unavailable
from twisted_mail_kit.interfaces import ICheck, IReceivedMessage
from twisted_mail_kit.mail.destination import Local
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.testing.contracts.part import (
    PartBench,
    at_once,
    given_up,
    is_no,
    nobody_held_up,
    part_promise,
    what_became,
)
from twisted_mail_kit.testing.contracts.promise import running_reactor
from twisted_mail_kit.testing.contracts.sessions import (
    JOE,
    MESSAGES,
    PEERS,
    PLAIN,
    STRANGER,
    envelope,
    envelopes,
    received,
    recipients,
    who,
)

MOST_FIELDS = 64 * 1024
"""Octets of header fields that one check puts on a message, at most."""
TO_JOE = (Recipient(JOE), Local("joe@example.org"))


class CheckBench(PartBench):
    """How a check is made, and a message that it lets pass, and one that it does not."""

    accepts: bytes | None = None
    """A message of ann@example.net to joe@example.org that passes; None: a plain one, of which nothing is promised."""
    refuses: bytes | None = None
    """One that does not."""

    def make_check(self, tmp_path: Path) -> Any:
        """Give an ICheck. An awaitable of one will do."""
        raise NotImplementedError("write make_check(self, tmp_path)")

    def _make(self) -> Any:
        return self.make_check(self.tmp_path)

    def unwanted(self) -> bytes:
        """A message that is refused."""
        if self.refuses is None:
            pytest.skip("the contract has no message that the check refuses: whether it does was not looked at")
        return self.refuses


async def asked_of_all(
    part: Any, octets: bytes, about: Envelope | None = None, to: tuple[Any, ...] = (TO_JOE,)
) -> bytes | Exception | None:
    """What became of a message, asked about at every step, as a server does; its fields, or what was raised."""
    about = about or envelope()

    async def ask() -> bytes | None:
        await part.connected(about.peer)
        await part.greeted(about.peer)
        await part.sender(about)
        for recipient, destination in to:
            await part.recipient(about, recipient, destination)
        fields: bytes | None = await part.message(about, who(to), received(octets))
        return fields

    return await what_became(ask())


def is_an_answer(came: object, name: str) -> None:
    """Nothing, a no that can be said, or whole header fields."""
    is_no(came)
    if came is None or isinstance(came, Exception):
        return
    assert isinstance(came, bytes), f"{came!r} are no header fields"
    assert len(came) <= MOST_FIELDS, f"{len(came)} octets of header fields"
    try:
        checked_fields(came, name)
    except Unavailable:
        raise AssertionError(f"{came[:200]!r} are no whole header fields, ended by CR LF") from None


class QuestionPromises(CheckBench):
    """What is asked every day."""

    @part_promise
    async def test_the_door_is_provided(self, part: Any) -> None:
        verifyObject(ICheck, part)

    @part_promise
    async def test_it_has_a_name_for_the_log(self, part: Any) -> None:
        assert isinstance(part.name, str) and part.name.strip() == part.name != ""
        assert part.name.isprintable() and len(part.name) <= 100

    @part_promise
    async def test_a_plain_message_is_answered_at_each_step(self, part: Any) -> None:
        for came in (
            await what_became(part.connected(STRANGER)),
            await what_became(part.greeted(STRANGER)),
            await what_became(part.sender(envelope())),
            await what_became(part.recipient(envelope(), *TO_JOE)),
        ):
            is_no(came)
            assert came is None or isinstance(came, Exception), f"{came!r} means nothing at this step"
        is_an_answer(await what_became(part.message(envelope(), who([TO_JOE]), received(PLAIN))), part.name)

    @part_promise
    async def test_what_it_accepts_passes_at_every_step(self, part: Any) -> None:
        if self.accepts is None:
            pytest.skip("the contract has no message that the check accepts: whether it does was not looked at")
        for _ in range(2):
            came = await asked_of_all(part, self.accepts)
            is_an_answer(came, part.name)
            assert not isinstance(came, Exception), f"it says {came}"

    @part_promise
    async def test_what_it_refuses_does_not_pass(self, part: Any) -> None:
        for _ in range(2):
            came = await asked_of_all(part, self.unwanted())
            assert isinstance(came, (Refused, TryLater)), f"it passes: {came!r}"
            is_no(came)

    @part_promise
    async def test_it_is_asked_at_the_end_alone_as_after_a_reload(self, part: Any) -> None:
        is_an_answer(await what_became(part.message(envelope(), who([TO_JOE]), received(PLAIN))), part.name)

    @part_promise
    async def test_transactions_that_are_given_up_leave_nothing_behind(self, part: Any) -> None:
        before = await asked_of_all(part, self.accepts or PLAIN)
        for number in range(3):  # MAIL, RCPT, RSET
            await what_became(part.sender(envelope(number=number)))
            await what_became(part.recipient(envelope(number=number), *TO_JOE))
        after = await asked_of_all(part, self.accepts or PLAIN)
        assert isinstance(before, Exception) or not isinstance(after, Exception), f"it passed before, and now: {after}"

    @part_promise
    async def test_the_message_may_be_slow_to_read(self, part: Any) -> None:
        slow = _Slow(self.accepts or PLAIN)
        came = await what_became(part.message(envelope(), who([TO_JOE]), slow))
        is_an_answer(came, part.name)


class HostileQuestionPromises(CheckBench):
    """What strangers say."""

    level = "hostile"

    @part_promise
    async def test_every_peer_is_answered(self, part: Any) -> None:
        for peer in PEERS:
            for came in (await what_became(part.connected(peer)), await what_became(part.greeted(peer))):
                is_no(came)

    @part_promise
    async def test_every_envelope_is_answered(self, part: Any) -> None:
        for about in envelopes():
            is_no(await what_became(part.sender(about)))
            is_an_answer(await what_became(part.message(about, who([TO_JOE]), received(PLAIN))), part.name)

    @part_promise
    async def test_every_recipient_is_answered(self, part: Any) -> None:
        for about in envelopes()[:4]:
            for recipient, destination in recipients():
                is_no(await what_became(part.recipient(about, recipient, destination)))

    @part_promise
    async def test_every_message_is_answered(self, part: Any) -> None:
        for name, octets in MESSAGES.items():
            for about in (envelope(), envelope(peer=PEERS[2])):
                came = await what_became(part.message(about, who([TO_JOE]), received(octets)))
                try:
                    is_an_answer(came, part.name)
                except AssertionError as problem:
                    raise AssertionError(f"of the message {name!r}: {problem}") from (
                        came if isinstance(came, Exception) else None
                    )

    @part_promise
    async def test_a_message_for_a_thousand_is_answered(self, part: Any) -> None:
        is_an_answer(await asked_of_all(part, PLAIN, to=(TO_JOE,) * 1000), part.name)


class CrowdedQuestionPromises(CheckBench):
    """Many at once."""

    level = "crowds"

    @part_promise
    async def test_of_many_at_once_each_gets_his_own_answer(self, part: Any) -> None:
        good, bad = self.accepts or PLAIN, self.refuses or MESSAGES["no text"]
        came = await at_once(
            asked_of_all(part, bad if number % 2 else good, envelope(number=number)) for number in range(20)
        )
        for number, one in enumerate(came):
            is_an_answer(one, part.name)
            if self.refuses is not None and number % 2:
                assert isinstance(one, (Refused, TryLater)), f"message {number} passes: {one!r}"
            if self.accepts is not None and not number % 2:
                assert not isinstance(one, Exception), f"message {number} does not pass: {one}"

    @part_promise
    async def test_while_it_is_asked_nobody_is_held_up(self, part: Any) -> None:
        async with nobody_held_up(self):
            for octets in (PLAIN, MESSAGES["a long line"], MESSAGES["parentheses"], MESSAGES["many fields"]):
                await asked_of_all(part, octets)

    @part_promise
    async def test_one_who_gives_up_is_in_nobodys_way(self, part: Any) -> None:
        before = await asked_of_all(part, self.accepts or PLAIN)
        for number in range(5):
            await given_up(asked_of_all(part, PLAIN, envelope(number=number)), 0)
        after = await asked_of_all(part, self.accepts or PLAIN)
        assert isinstance(before, Exception) or not isinstance(after, Exception), f"it passed before, and now: {after}"


class KeptQuestionPromises(CheckBench):
    """Made again, and left without a file."""

    level = "kept"

    @part_promise
    async def test_made_again_it_answers_the_same(self, part: Any) -> None:
        again = await self.made_again()
        for octets in (self.accepts or PLAIN, self.refuses or PLAIN):
            one, other = await asked_of_all(part, octets), await asked_of_all(again, octets)
            assert isinstance(one, Refused) == isinstance(other, Refused)
        await self.closed(part)
        await self.closed(part)
        is_an_answer(await asked_of_all(again, PLAIN), again.name)

    @part_promise
    async def test_without_what_it_stands_on_nobody_is_refused_for_good(self) -> None:
        part = await what_became(self._broken())
        if isinstance(part, Exception):
            return  # then the server does not begin
        for octets in (PLAIN, self.accepts or PLAIN):
            came = await asked_of_all(part, octets)
            assert not isinstance(came, Refused), f"it is said for good: {came}"

    async def _broken(self) -> Any:
        return await self.opened(self.make_broken(self.tmp_path))


@implementer(IReceivedMessage)
class _Slow:
    """A large message, on a slow disk."""

    def __init__(self, octets: bytes) -> None:
        message = received(octets)
        self.headers, self.size, self._message = message.headers, message.size, message

    async def read(self, offset: int, size: int) -> bytes:
        await deferLater(running_reactor(), 0.001, lambda: None)
        return await self._message.read(offset, size)
