"""A delivery target that gives all mail to one address, whomever it was for."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Outcome


@implementer(IDeliveryTarget)
class Redirect:
    """What stands in for the way out where nothing may leave the house: each message goes to `address`, once."""

    log = Logger()

    def __init__(self, target: IDeliveryTarget, address: Address) -> None:
        self.target = target
        self.address = address

    async def begin(self, envelope: Envelope) -> IDelivery:
        """As the target says."""
        return _Redirected(await self.target.begin(envelope), self.address, envelope)


@implementer(IDelivery)
class _Redirected:
    def __init__(self, inner: IDelivery, address: Address, envelope: Envelope) -> None:
        self._inner = inner
        self._address = address
        self._trace_id = envelope.trace_id
        self._count = 0

    async def add_recipient(self, recipient: Recipient) -> None:
        if not self._count:
            await self._inner.add_recipient(Recipient(self._address))
        self._count += 1
        Redirect.log.info(
            "{trace_id} for {recipient} is put into the mailbox of {address}",
            trace_id=self._trace_id,
            recipient=recipient.address,
            address=self._address,
        )

    async def write(self, octets: bytes) -> None:
        await self._inner.write(octets)

    async def commit(self) -> Sequence[Outcome]:
        outcomes = await self._inner.commit()
        return [outcomes[0]] * self._count if self._count else []

    async def abort(self) -> None:
        await self._inner.abort()
