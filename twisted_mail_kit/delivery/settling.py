"""Giving one message to all its targets so that none of its recipients is lost.

An SMTP session has one reply for all recipients. While all of them have the message, or none, that reply is true. It
cannot be where some have it and others do not. Then:

1. who could not get it yet is tried again a few times, after the short delays of the settings: a lock or a full batch
   passes. A try uses the same token (trace id and account), so nobody gets the message twice;
2. who still did not get it is handed to `leftovers`, the queue, where there is one, which tries on or bounces;
3. where there is none, the message is answered with the error: the client, which has it still, sends it again later,
   or tells its author. Those who had it already get it once more: a duplicate, never a loss.

Tokens that would survive a second sending (of sender, Message-ID and a hash of the octets) were thought of and left: a
copy that is sent twice on purpose would be swallowed in silence.

LMTP has a reply for each recipient (RFC 2033 4.2), so its outcomes are told as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted.internet.task import deferLater

from twisted_mail_kit.delivery.local import together
from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import IDeliveryTarget
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.content import Assembled
from twisted_mail_kit.mail.destination import Local
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.structure import Structure

if TYPE_CHECKING:
    from twisted_mail_kit.delivery.pipeline import Pipeline
    from twisted_mail_kit.delivery.routing import Route

LOOP = Status("5.4.6", "Routing loop detected", 554)

End = Local | Recipient
"""Where a copy ends up: an account of ours, or a recipient elsewhere."""


@dataclass(slots=True)
class _Shape:
    """The message as one kind of target gets it."""

    message: Assembled
    structure: Structure | None = None
    body: str = ""


class Settlement:
    """One message's delivery to all its ends."""

    def __init__(self, pipeline: Pipeline, envelope: Envelope, looping: set[int]) -> None:
        self._pipeline = pipeline
        self._envelope = envelope
        self._looping = looping
        self._local: _Shape | None = None
        self._outward: _Shape | None = None

    def take_local(self, message: Assembled, structure: Structure) -> None:
        """The message for accounts of ours."""
        self._local = _Shape(message, structure)

    def take_outward(self, message: Assembled, body: str) -> None:
        """The message for others, and what its content is to be declared as."""
        self._outward = _Shape(message, body=body)

    async def settle(self, routes: Sequence[Route]) -> list[Outcome]:
        """Deliver. One outcome for each route. Raises Refused or TryLater, for all."""
        one_reply = self._envelope.peer.service != "lmtp"
        if self._looping and (one_reply or len(self._looping) == len(routes)):
            raise Refused(LOOP)
        only = routes[0] if len(routes) == 1 and not self._looping else None
        if only is not None and len(only.local) == 1 and not only.outward:
            return await self._deliver_here(only.local)  # nearly all mail has one recipient, who is one account
        ends: dict[End, Outcome | None] = {}
        for index, route in enumerate(routes):
            if index not in self._looping:
                ends.update(dict.fromkeys(_ends(route)))
        became = await self._deliver(list(ends))
        if one_reply and _is_mixed(became):
            became = await self._mend(became)
        return [
            Failed(LOOP) if index in self._looping else _worst([became[end] for end in _ends(route)])
            for index, route in enumerate(routes)
        ]

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _deliver(self, ends: Sequence[End]) -> dict[End, Outcome]:
        """Everywhere at the same time."""
        places = [end for end in ends if isinstance(end, Local)]
        recipients = [end for end in ends if isinstance(end, Recipient)]
        became: dict[End, Outcome] = {}
        if places and not recipients:
            became.update(zip(places, await self._deliver_here(places), strict=True))
        elif ends:
            router = self._pipeline.router
            assert router.outbound is not None and self._outward is not None
            envelope = self._envelope
            if self._outward.body != envelope.body:
                envelope = replace(envelope, body=self._outward.body)
            tasks = [self._hand_over(router.outbound, envelope, recipients, self._outward.message)]
            if places:
                tasks.append(self._deliver_here(places))
            done = await together(tasks)
            became.update(zip([*recipients, *places], [one for part in done for one in part], strict=True))
        return became

    async def _deliver_here(self, places: list[Local]) -> list[Outcome]:
        assert self._local is not None and self._local.structure is not None
        return await self._pipeline.local.deliver(self._envelope, places, self._local.message, self._local.structure)

    async def _hand_over(
        self, target: IDeliveryTarget, envelope: Envelope, recipients: Sequence[Recipient], message: Assembled
    ) -> list[Outcome]:
        """Give the message to another target. What it raises becomes the outcome of those concerned."""
        became: list[Outcome | None] = [None] * len(recipients)
        delivery = None
        try:
            delivery = await target.begin(envelope)
            taken = []
            for index, recipient in enumerate(recipients):
                try:
                    await delivery.add_recipient(recipient)
                    taken.append(index)
                except Refused as no:
                    became[index] = Failed(no.status)
                except TryLater as no:
                    became[index] = Delayed(no.status)
            if taken:
                for octets in message.chunks():
                    await delivery.write(octets)
                for index, outcome in zip(taken, await delivery.commit(), strict=True):
                    became[index] = outcome
            else:
                await delivery.abort()
            return [one or Delayed(self._temporary()) for one in became]
        except Exception as problem:
            outcome = self._what_became(problem)
            if delivery is not None:
                await delivery.abort()
            return [one or outcome for one in became]

    async def _mend(self, became: dict[End, Outcome]) -> dict[End, Outcome]:
        """Some have it, others do not: see the top of this page. Gives outcomes that one reply can tell, or raises."""
        pipeline = self._pipeline
        for seconds in pipeline.settings.retries:
            delayed = [end for end, outcome in became.items() if isinstance(outcome, Delayed)]
            if not delayed:
                break
            await deferLater(pipeline.reactor, seconds, lambda: None)
            became = {**became, **await self._deliver(delayed)}
        missing = [end for end, outcome in became.items() if not isinstance(outcome, Delivered)]
        if missing and pipeline.leftovers is not None:
            shape = self._local or self._outward
            assert shape is not None
            recipients = [_as_recipient(end) for end in missing]
            taken = await self._hand_over(pipeline.leftovers, self._envelope, recipients, shape.message)
            became = {**became, **dict(zip(missing, taken, strict=True))}
        for kind, error in ((Delayed, TryLater), (Failed, Refused)):
            for end, outcome in became.items():
                if isinstance(outcome, kind):
                    pipeline.log.warn(
                        "{trace_id} is answered with an error: others have it, {end} does not",
                        trace_id=self._envelope.trace_id,
                        end=end,
                    )
                    raise error(outcome.status)
        return became

    def _what_became(self, problem: Exception) -> Outcome:
        if isinstance(problem, Refused):
            return Failed(problem.status)
        if isinstance(problem, TryLater):
            return Delayed(problem.status)
        self._pipeline.log.failure(
            "handing on {trace_id} failed, reference {trace_id}", trace_id=self._envelope.trace_id
        )
        return Delayed(self._temporary())

    def _temporary(self) -> Status:
        return Status("4.3.0", f"Cannot be delivered now, reference {self._envelope.trace_id}", 451)


def _ends(route: Route) -> list[End]:
    return [*route.local, *route.outward]


def _is_mixed(became: dict[End, Outcome]) -> bool:
    delivered = sum(isinstance(outcome, Delivered) for outcome in became.values())
    return 0 < delivered < len(became)


def _worst(outcomes: Sequence[Outcome]) -> Outcome:
    """What one recipient is told who leads to several: Delayed, so that nothing is lost, before Failed."""
    for kind in (Delayed, Failed):
        for outcome in outcomes:
            if isinstance(outcome, kind):
                return outcome
    return outcomes[0]


def _as_recipient(end: End) -> Recipient:
    if isinstance(end, Recipient):
        return end
    local, _, domain = end.account.rpartition("@")
    return Recipient(Address(local, domain))
