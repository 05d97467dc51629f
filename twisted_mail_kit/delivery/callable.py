"""A Python function as a delivery target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from zope.interface import implementer

from twisted_mail_kit.delivery.intake import Intake
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget
from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Delivered, Outcome

Function = Callable[[Envelope, Sequence[Recipient], Content], Awaitable[Sequence[Outcome] | None]]


@implementer(IDeliveryTarget)
class FunctionTarget:
    """Calls ``await function(envelope, recipients, content)`` for each whole message::

        async def keep(envelope, recipients, content):
            await database.insert(content.read(0, content.size))

        target = FunctionTarget(keep, reactor)

    When it returns, all recipients have the message (or what the outcomes say that it returns, one for each). When it
    raises `Refused` or `TryLater`, nobody has; any other exception is a temporary failure. `content` can be read only
    until it returns.
    """

    def __init__(self, function: Function, reactor: Any, spool: Path | None = None, memory: int = 256 * 1024) -> None:
        self.function = function
        self.reactor = reactor
        self.spool = spool
        self.settings = DeliverySettings(memory=memory)

    async def begin(self, envelope: Envelope) -> IDelivery:
        """Every sender is welcome."""
        return _Call(self, envelope)


@implementer(IDelivery)
class _Call:
    def __init__(self, target: FunctionTarget, envelope: Envelope) -> None:
        self._function = target.function
        self._envelope = envelope
        self._recipients: list[Recipient] = []
        self._intake = Intake(target.reactor, b"", target.spool, target.settings)

    async def add_recipient(self, recipient: Recipient) -> None:
        self._recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        await self._intake.write(octets)

    async def commit(self) -> Sequence[Outcome]:
        try:
            outcomes = await self._function(self._envelope, tuple(self._recipients), self._intake.content)
        finally:
            self._intake.content.close()
        return [Delivered()] * len(self._recipients) if outcomes is None else outcomes

    async def abort(self) -> None:
        self._intake.content.close()
