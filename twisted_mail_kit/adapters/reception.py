"""A delivery target, straight behind SMTP: without checks, routing and accounts of ours."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IReception
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.trace import received_field

NO_RECIPIENTS = Status("5.5.1", "No valid recipients", 554)


@implementer(IReception)
class Reception:
    """Whoever connects is welcome; the target alone says which senders and recipients are, and so what is relayed.

    Our Received field is put on top of each message (RFC 5321 4.4). Where some recipients have a message and others do
    not, SMTP's one reply says so, and whoever has it gets it again: a duplicate, never a loss. LMTP has a reply for
    each.
    """

    log = Logger()

    def __init__(self, target: IDeliveryTarget, hostname: str) -> None:
        self.target = target
        self.hostname = hostname

    async def connected(self, peer: Peer) -> None:
        """Anybody."""

    async def greeted(self, peer: Peer) -> None:
        """By any name."""

    async def begin(self, envelope: Envelope) -> IDelivery:
        """As the target says."""
        return _Transaction(await self.target.begin(envelope), envelope, self.hostname)


@implementer(IDelivery)
class _Transaction:
    def __init__(self, inner: IDelivery, envelope: Envelope, hostname: str) -> None:
        self._inner = inner
        self._envelope = envelope
        self._hostname = hostname
        self._recipients: list[Recipient] = []
        self._began = False

    async def add_recipient(self, recipient: Recipient) -> None:
        await self._inner.add_recipient(recipient)
        self._recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        if not self._began:
            self._began = True
            # One recipient must not learn of another: RFC 5321 7.2.
            only = self._recipients[0].address if len(self._recipients) == 1 else None
            field = received_field(self._envelope, self._hostname, only)
            # Else the first line would be taken for the rest of our field.
            octets = field + (b"\r\n" if octets[:1] in (b" ", b"\t") else b"") + octets
        await self._inner.write(octets)

    async def commit(self) -> Sequence[Outcome]:
        if not self._recipients:
            raise Refused(NO_RECIPIENTS)
        if not self._began:
            await self.write(b"")
        outcomes = await self._inner.commit()
        if self._envelope.peer.service != "lmtp" and any(isinstance(one, Delivered) for one in outcomes):
            self._say_what_is_missing(outcomes)
        return outcomes

    async def abort(self) -> None:
        await self._inner.abort()

    def _say_what_is_missing(self, outcomes: Sequence[Outcome]) -> None:
        for kind, error in ((Delayed, TryLater), (Failed, Refused)):
            for recipient, outcome in zip(self._recipients, outcomes, strict=True):
                if isinstance(outcome, kind):
                    Reception.log.warn(
                        "{trace_id} is answered with an error: others have it, {recipient} does not",
                        trace_id=self._envelope.trace_id,
                        recipient=recipient.address,
                    )
                    raise error(outcome.status)
