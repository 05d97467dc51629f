"""A small house for delivery tests: a store, a directory, a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.delivery.local import LocalDelivery
from twisted_mail_kit.delivery.pipeline import Pipeline
from twisted_mail_kit.delivery.routing import Router
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import AccountNotFound
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget
from twisted_mail_kit.mail.address import Address, parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delivered, Outcome
from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.stores.memory import MemoryStore

STRANGER = Peer(host="192.0.2.7", service="smtp", name="mx.example.net", esmtp=True)
JOE = Peer(host="192.0.2.8", service="submission", name="laptop", esmtp=True, tls="TLSv1.3 X", login="joe@ours.example")
LMTP = Peer(host="", service="lmtp", name="mx", esmtp=True, is_local=True)
PLAIN = b"From: ann@theirs.example\r\nSubject: hello\r\n\r\nHello Joe\r\n"


@implementer(IDeliveryTarget)
class Outside:
    """A way out that keeps what it gets."""

    def __init__(self, outcomes: dict[str, list[Outcome]] | None = None) -> None:
        self.sent: list[tuple[Envelope, list[str], bytes]] = []
        self.outcomes = outcomes or {}

    async def begin(self, envelope: Envelope) -> IDelivery:
        return _Sending(self, envelope)


@implementer(IDelivery)
class _Sending:
    def __init__(self, outside: Outside, envelope: Envelope) -> None:
        self.outside, self.envelope = outside, envelope
        self.recipients: list[str] = []
        self.octets = b""

    async def add_recipient(self, recipient: Recipient) -> None:
        self.recipients.append(str(recipient.address))

    async def write(self, octets: bytes) -> None:
        self.octets += octets

    async def commit(self) -> Sequence[Outcome]:
        self.outside.sent.append((self.envelope, self.recipients, self.octets))
        planned = self.outside.outcomes
        return [planned[one].pop(0) if planned.get(one) else Delivered() for one in self.recipients]

    async def abort(self) -> None:
        pass


class House:
    """joe and ann live at ours.example."""

    def __init__(
        self,
        outbound: Any = None,
        checks: Sequence[Any] = (),
        aliases: dict[str, Any] | None = None,
        store: Any = None,
        spool: Any = None,
        leftovers: Any = None,
        reactor: Any = None,
        **settings: Any,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        reactor = reactor or self.clock
        self.store = MemoryStore(self.clock) if store is None else store
        self.settings = DeliverySettings(**settings)
        self.directory = Directory(
            ["ours.example", "bücher.example"], {"joe@ours.example", "ann@ours.example"}, aliases
        )
        self.pipeline = Pipeline(
            hostname="mx.ours.example",
            router=Router(self.directory.domains.values(), self.directory, self.settings, outbound),
            local=LocalDelivery(self.store, reactor, self.settings, self.directory),
            reactor=reactor,
            checks=checks,
            settings=self.settings,
            spool=spool,
            leftovers=leftovers,
        )

    def envelope(self, peer: Peer = STRANGER, sender: str | None = "ann@theirs.example", **more: Any) -> Envelope:
        address = parse_address(sender) if sender else None
        now = self.clock.seconds()
        return Envelope(address, peer, new_trace_id(now), received_at=now, **more)

    async def send(
        self, *recipients: str | Address, octets: bytes = PLAIN, envelope: Envelope | None = None, chop: int = 0
    ) -> Sequence[Outcome]:
        delivery = await self.pipeline.begin(envelope or self.envelope())
        for one in recipients:
            await delivery.add_recipient(Recipient(parse_address(one) if isinstance(one, str) else one))
        step = chop or len(octets) or 1
        for start in range(0, len(octets), step):
            await delivery.write(octets[start : start + step])
        return await delivery.commit()

    async def mail(self, account: str = "joe@ours.example", folder: str = "INBOX") -> list[tuple[Any, bytes]]:
        """(row, octets) of all messages of a folder; none where there is no account."""
        try:
            opened = await self.store.open_account(account)
        except AccountNotFound:
            return []
        for mailbox in await opened.mailboxes():
            if mailbox.name == (folder,):
                rows = await opened.messages(mailbox.id)
                return [(row, await opened.read_blob(row.blob_id, 0, row.size + 1)) for row in rows]
        return []
