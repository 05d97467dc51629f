"""Signing passes on what the target says, exactly."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from signing_world import (
    ED,
    KEYS,
    LATER,
    MEGABYTE,
    NO,
    PLAIN,
    Next,
    envelope,
    now,
    through,
    verdicts,
)
from zope.interface import implementer, verify

from twisted_mail_kit.delivery.dkimkeys import DKIMKey
from twisted_mail_kit.delivery.dkimsettings import DKIMSettings
from twisted_mail_kit.delivery.signing import Signing
from twisted_mail_kit.errors import Refused, TryLater, Unavailable
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IDestinations
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed

# --- IDelivery, exactly --------------------------------------------------------------------------------------------


async def test_it_is_a_target() -> None:
    signing = Signing(Next(), KEYS, now())
    assert verify.verifyObject(IDeliveryTarget, signing)
    assert verify.verifyObject(IDelivery, await signing.begin(envelope()))
    assert not IDestinations.providedBy(signing)


async def test_destinations_are_the_targets() -> None:
    @implementer(IDestinations)
    class Smarthost(Next):
        def destination_of(self, recipient: Recipient) -> str:
            return "smarthost for " + recipient.address.domain

    signing = Signing(Smarthost(), KEYS, now())
    assert verify.verifyObject(IDestinations, signing)
    assert signing.destination_of(Recipient(parse_address("a@b.example"))) == "smarthost for b.example"


async def test_the_sender_is_refused_by_the_target() -> None:
    with pytest.raises(Refused):
        await Signing(Next({"begin": Refused(NO)}), KEYS, now()).begin(envelope())


async def test_recipients_are_refused_by_the_target_and_outcomes_come_in_order() -> None:
    outcomes = [Failed(NO), Delivered(), Delayed(LATER)]
    target = Next({"b@x.example": Refused(NO), "d@x.example": TryLater(LATER)}, outcomes)
    delivery = await Signing(target, KEYS, now()).begin(envelope())
    for name in "abcde":
        recipient = Recipient(parse_address(f"{name}@x.example"), orcpt="rfc822;" + name)
        if name in "bd":
            with pytest.raises((Refused, TryLater)) as caught:
                await delivery.add_recipient(recipient)
            assert caught.value is target.refuse[f"{name}@x.example"]
        else:
            await delivery.add_recipient(recipient)
    assert [one.orcpt for one in target.recipients] == ["rfc822;a", "rfc822;c", "rfc822;e"]
    await delivery.write(PLAIN)
    assert await delivery.commit() is outcomes
    assert target.begun == [envelope()]
    assert target.ends == ["commit"]


@pytest.mark.parametrize("step", ["write", "commit"])
@pytest.mark.parametrize("error", [Refused(NO), TryLater(LATER), RuntimeError("x")])
async def test_what_the_target_raises_comes_through(step: str, error: Exception) -> None:
    target = Next({step: error})
    delivery = await Signing(target, KEYS, now()).begin(envelope())
    await delivery.write(PLAIN)
    with pytest.raises(type(error)) as caught:
        await delivery.commit()
    assert caught.value is error
    assert target.ends == (["abort"] if step == "write" else [])
    await delivery.abort()


@pytest.mark.parametrize("written", [b"", b"From: jo", PLAIN, MEGABYTE])
async def test_abort_is_passed_on_at_any_time_and_twice(written: bytes, tmp_path: Path) -> None:
    target = Next()
    delivery = await Signing(target, KEYS, now(), spool=tmp_path).begin(envelope())
    if written:
        await delivery.write(written)
    await delivery.abort()
    await delivery.abort()
    assert target.ends == ["abort", "abort"]
    assert target.pieces == []


async def test_a_large_message_goes_to_the_spool(tmp_path: Path) -> None:
    signed = await through(MEGABYTE, spool=tmp_path, settings=DKIMSettings(memory=1000))
    assert verdicts(signed) == [True, True]
    assert list(tmp_path.iterdir()) == []


async def test_a_spool_that_fails_is_no_reason_to_lose_mail(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await through(MEGABYTE, spool=tmp_path / "none", settings=DKIMSettings(memory=1000))


async def test_signing_does_not_hold_up_the_reactor() -> None:
    from twisted.internet import reactor

    where: list[int] = []

    class Slow:
        """An RSA key, to all who ask."""

        def sign(self, digest: bytes) -> bytes:
            where.append(threading.get_ident())
            return ED.private.sign(digest)

        def public_key(self) -> Any:
            return ED.private.public_key()

    assert verdicts(await through(PLAIN, reactor=reactor, keys=[DKIMKey("example.org", "ed1", Slow())])) == [True]
    assert where and where[0] != threading.get_ident()
