"""The way out, whole: signatures, then the queue, then the relay with its resolver and its TLS policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mail_kit.delivery.dkimkeys import DKIMKey
from twisted_mail_kit.delivery.dkimsettings import DKIMSettings
from twisted_mail_kit.delivery.signing import Signing
from twisted_mail_kit.fittings import spool_folder
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IOutgoing, IResolver, ISpool
from twisted_mail_kit.mail.envelope import Envelope
from twisted_mail_kit.net.blocking import adapted
from twisted_mail_kit.net.dns.settings import ResolverSettings
from twisted_mail_kit.net.resolver import Resolver
from twisted_mail_kit.queue.desk import Desk
from twisted_mail_kit.queue.queue import Queue
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.queue.sqlite import SQLiteSpool
from twisted_mail_kit.smtp.relay.relay import Relay
from twisted_mail_kit.smtp.relay.settings import RelaySettings
from twisted_mail_kit.smtp.tlspolicy import TLSPolicies


@frozen(kw_only=True)
class OutgoingSettings:
    """What can be set about the way out."""

    queue: QueueSettings = field(factory=QueueSettings)
    relay: RelaySettings = field(factory=RelaySettings)
    dns: ResolverSettings = field(factory=ResolverSettings)
    signing: DKIMSettings = field(factory=DKIMSettings)
    keys: tuple[DKIMKey, ...] = ()


@implementer(IOutgoing)
class Outgoing:
    """Takes mail for other servers and brings it there: give it to `MailKit` as `outbound`.

    A message is durable in ``queue`` below `state_dir` before it is acknowledged. `spool` is another ISpool to keep it
    in; `resolver` another IResolver to ask.
    """

    def __init__(
        self,
        *,
        hostname: str,
        state_dir: Path,
        reactor: Any,
        settings: OutgoingSettings | None = None,
        spool: ISpool | None = None,
        resolver: IResolver | None = None,
    ) -> None:
        self.hostname = hostname
        self.state_dir = state_dir
        self.reactor = reactor
        self.settings = settings = settings or OutgoingSettings()
        self.resolver: IResolver = resolver or Resolver(reactor, settings=settings.dns)
        self.spool: ISpool = adapted(spool, reactor) if spool else SQLiteSpool(state_dir / "queue", reactor)
        self.relay = self._make_relay(settings)
        self.queue = Queue(self.spool, self.relay, reactor, settings.queue, hostname=hostname)
        self.desk = Desk(self.spool, self.queue)
        self._target = self._sign(settings.keys)

    # --- IDeliveryTarget -------------------------------------------------------------------------------------------

    async def begin(self, envelope: Envelope) -> IDelivery:
        """Into the queue, by way of the signatures."""
        return await self._target.begin(envelope)

    # --- IOutgoing -------------------------------------------------------------------------------------------------

    def start(self, bounces: IDeliveryTarget) -> None:
        """Begin to make attempts; reports to senders go to `bounces`."""
        self.queue.bounces = bounces
        self.queue.start()

    async def stop(self, seconds: float) -> None:
        """Give attempts so long to come to their end, say goodbye to other servers, close the spool."""
        await self.queue.stop(seconds)
        await self.relay.stop()
        await self._policies.stop()
        if isinstance(self.resolver, Resolver):
            await self.resolver.stop()
        await self.spool.close()

    def change(self, settings: OutgoingSettings, bounces: IDeliveryTarget) -> None:
        """From now on: these routes, these keys. The queue's own times and limits stay those of the start."""
        relay, policies = self.relay, self._policies
        self.relay = self._make_relay(settings)
        self.queue.target = self.relay
        self.queue.bounces = bounces
        self.settings = settings
        self._target = self._sign(settings.keys)
        Deferred.fromCoroutine(relay.stop())
        Deferred.fromCoroutine(policies.stop())

    # --- inside ----------------------------------------------------------------------------------------------------

    def _make_relay(self, settings: OutgoingSettings) -> Relay:
        self._policies = TLSPolicies(self.resolver, self._fetch, self.reactor, self.state_dir, settings.relay.tls)
        spool = spool_folder(self.state_dir)
        return Relay(self.reactor, self.resolver, self.hostname, settings.relay, self._policies, spool=spool)

    def _sign(self, keys: Sequence[DKIMKey]) -> IDeliveryTarget:
        if not keys:
            return self.queue
        return Signing(self.queue, keys, self.reactor, self.settings.signing, spool_folder(self.state_dir))

    async def _fetch(self, url: str) -> Any:
        # twisted.web takes a tenth of a second to import, and most servers never fetch a policy in their first minute.
        from twisted_mail_kit.net.fetch import Fetcher

        return await Fetcher(self.reactor, self.resolver)(url)
