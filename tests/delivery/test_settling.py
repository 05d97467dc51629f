"""Mixed fates: no recipient is lost, and nobody gets a message twice where that can be helped."""

from __future__ import annotations

from typing import Any

import pytest
from delivery_world import JOE, LMTP, House, Outside
from twisted.internet.defer import Deferred

from twisted_mail_kit.delivery.callable import FunctionTarget
from twisted_mail_kit.delivery.catchall import Redirect
from twisted_mail_kit.errors import OverQuota, Refused, TryLater, Unavailable
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Status
from twisted_mail_kit.stores.memory import MemoryStore

LATER = Delayed(Status("4.4.1", "not now"))
NEVER = Failed(Status("5.1.1", "unknown there"))


class Moody(MemoryStore):
    """A store that fails for one account, a few times; `after` it has done the work where that is said."""

    def __init__(self, clock: Any, problem: Exception, times: int, after: bool = False) -> None:
        super().__init__(clock)
        self.problem, self.times, self.after = problem, times, after

    async def open_account(self, name: str, create: bool = False) -> Any:
        account = await super().open_account(name, create)
        return _Account(account, self) if name.startswith("ann") else account


class _Account:
    def __init__(self, inner: Any, store: Moody) -> None:
        self._inner, self._store = inner, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def apply(self, ops: Any, if_state: Any = None, token: Any = None) -> Any:
        fails = self._store.times > 0
        self._store.times -= 1
        if fails and not self._store.after:
            raise self._store.problem
        applied = await self._inner.apply(ops, if_state, token)
        if fails:
            raise self._store.problem
        return applied


def moody(problem: Exception, times: int, after: bool = False, **more: Any) -> House:
    house = House(**more)
    house.store = house.pipeline.local.store = Moody(house.clock, problem, times, after)
    return house


async def settled(house: House, sending: Any) -> Any:
    """Let the clock run until the answer is there."""
    result = Deferred.fromCoroutine(sending)
    for _ in range(100):
        if result.called:
            break
        house.clock.advance(0.5)
    return await result


BOTH = ("joe@ours.example", "ann@ours.example")


async def test_a_short_trouble_is_waited_out() -> None:
    house = moody(Unavailable("locked"), 2)
    assert await settled(house, house.send(*BOTH)) == [Delivered(), Delivered()]
    assert [len(await house.mail(one)) for one in BOTH] == [1, 1]


async def test_an_answer_that_was_lost_makes_no_second_copy() -> None:
    house = moody(RuntimeError("connection lost"), 2, after=True)
    assert await settled(house, house.send(*BOTH)) == [Delivered(), Delivered()]
    assert [len(await house.mail(one)) for one in BOTH] == [1, 1]


async def test_two_messages_of_the_same_octets_are_two() -> None:
    house = House()
    await house.send(*BOTH)
    await house.send(*BOTH)
    assert [len(await house.mail(one)) for one in BOTH] == [2, 2]


async def test_a_long_trouble_of_one_is_told_for_all_so_that_nobody_is_lost() -> None:
    house = moody(OverQuota("full"), 99)
    with pytest.raises(TryLater) as later:
        await settled(house, house.send(*BOTH))
    assert later.value.status.code == "4.2.2"
    house.store.times = 0
    await settled(house, house.send(*BOTH))
    assert len(await house.mail("ann@ours.example")) == 1
    assert len(await house.mail()) == 2  # the duplicate that this costs


async def test_the_queue_takes_who_was_left_over() -> None:
    queue = Outside()
    house = moody(OverQuota("full"), 99, leftovers=queue)
    assert await settled(house, house.send(*BOTH)) == [Delivered(), Delivered()]
    [(_, recipients, octets)] = queue.sent
    assert recipients == ["ann@ours.example"]
    assert octets == (await house.mail())[0][1]


async def test_lmtp_is_told_of_each_and_at_once() -> None:
    house = moody(OverQuota("full"), 99)
    outcomes = await house.send(*BOTH, envelope=house.envelope(LMTP))
    assert [type(one) for one in outcomes] == [Delivered, Delayed]


@pytest.mark.parametrize("problem", [OverQuota("x"), Unavailable("x"), KeyError("a bug")])
async def test_a_store_that_fails_delays_and_never_fails(problem: Exception) -> None:
    house = moody(problem, 99)
    [outcome] = await house.send("ann@ours.example")
    assert isinstance(outcome, Delayed)
    assert "bug" not in outcome.status.text


async def test_a_refusal_outside_is_told_though_others_have_it() -> None:
    house = House(outbound=Outside({"bob@theirs.example": [NEVER]}))
    envelope = house.envelope(JOE)
    octets = b"From: joe@ours.example\r\n\r\nhello\r\n"
    with pytest.raises(Refused):
        await settled(house, house.send("ann@ours.example", "bob@theirs.example", octets=octets, envelope=envelope))
    assert len(await house.mail("ann@ours.example")) == 1


async def test_a_delay_outside_is_tried_again_for_those_alone() -> None:
    outside = Outside({"bob@theirs.example": [LATER, LATER]})
    house = House(outbound=outside, aliases={"list": ["joe", "bob@theirs.example", "eve@theirs.example"]})
    assert await settled(house, house.send("list@ours.example")) == [Delivered()]
    assert [recipients for _, recipients, _ in outside.sent] == [
        ["bob@theirs.example", "eve@theirs.example"],
        ["bob@theirs.example"],
        ["bob@theirs.example"],
    ]
    assert len(await house.mail()) == 1


async def test_an_account_that_was_made_anew_gets_its_mail() -> None:
    house = House()
    await house.send("joe@ours.example")
    await house.store.remove_account("joe@ours.example")
    assert await house.send("joe@ours.example") == [Delivered()]
    assert len(await house.mail()) == 1


async def test_in_a_demo_all_goes_to_one_mailbox_once() -> None:
    house = House()
    house.pipeline.router.outbound = Redirect(house.pipeline.local, parse_address("ann@ours.example"))
    octets = b"From: joe@ours.example\r\n\r\nhello\r\n"
    outcomes = await house.send(
        "a@one.example", "b@two.example", "ann@ours.example", octets=octets, envelope=house.envelope(JOE)
    )
    assert outcomes == [Delivered()] * 3
    [(_, stored)] = await house.mail("ann@ours.example")
    assert stored.endswith(b"hello\r\n")


async def test_a_python_function_is_a_target() -> None:
    got: list[Any] = []

    async def keep(envelope: Any, recipients: Any, content: Any) -> None:
        got.append((str(recipients[0].address), content.read(0, content.size)))
        if len(got) > 1:
            raise TryLater(Status("4.3.0", "enough"))

    house = House()
    house.pipeline.router.outbound = FunctionTarget(keep, house.clock)
    octets = b"From: joe@ours.example\r\nDate: x\r\nMessage-ID: <x@y>\r\n\r\nhello\r\n"
    assert await house.send("a@one.example", octets=octets, envelope=house.envelope(JOE)) == [Delivered()]
    assert got[0][0] == "a@one.example"
    assert got[0][1].endswith(octets)
    [outcome] = await house.send("a@one.example", octets=octets, envelope=house.envelope(JOE))
    assert outcome == Delayed(Status("4.3.0", "enough"))
