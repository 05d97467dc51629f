"""The relay: a delivery target that hands messages to the servers of their recipients' domains, now."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mail_kit.errors import Refused, TryLater, Unavailable
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IDestinations, IResolver
from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Failed, Outcome, Status
from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.smtp.client.message import OutgoingMessage
from twisted_mail_kit.smtp.relay.attempt import Attempt, Means
from twisted_mail_kit.smtp.relay.hosts import HostFinder
from twisted_mail_kit.smtp.relay.pool import Pool
from twisted_mail_kit.smtp.relay.routes import NextHop, Route, Routes, TargetRoute
from twisted_mail_kit.smtp.relay.settings import RelaySettings
from twisted_mail_kit.smtp.tlspolicy import TLSPolicies

NO_SPACE = Status("4.3.1", "Insufficient system storage", 452)


@implementer(IDeliveryTarget, IDestinations)
class Relay:
    """It keeps nothing: `commit` makes one attempt and says for each recipient what became of it, in the other
    server's words. What is Delayed is for whoever asked to try again: the queue.

    `routes` are looked at before those of the settings. `policies` None: opportunistic TLS, and DANE where the
    resolver vouches for it. `spool` is the folder for large messages. Call `stop` at the end.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        resolver: IResolver,
        hostname: str,
        settings: RelaySettings | None = None,
        policies: TLSPolicies | None = None,
        routes: Sequence[Route] = (),
        *,
        spool: Path | None = None,
        shuffler: random.Random | None = None,
    ) -> None:
        self.settings = settings = settings or RelaySettings()
        self.reactor = reactor
        self.spool = spool
        self.pool = Pool(reactor, settings.idle, settings.messages)
        self.routes = Routes([*routes, *settings.routes])
        finder = HostFinder(
            resolver, [hostname, *settings.own_names], shuffler or random.Random(), settings.ipv4, settings.ipv6
        )
        policies = policies or TLSPolicies(resolver, None, reactor, settings=settings.tls)
        self._means = Means(reactor, hostname, settings, finder, policies, self.pool)

    def destination_of(self, recipient: Recipient) -> str:
        """The domain, or the smarthost."""
        return self.routes.next_hop(recipient).destination

    async def begin(self, envelope: Envelope) -> IDelivery:
        """Every sender is welcome."""
        return _Transaction(self, envelope)

    async def stop(self) -> None:
        """Say goodbye over idle connections; those in use leave when their message is done."""
        await self.pool.close()

    async def attempt(self, hop: NextHop, message: OutgoingMessage, recipients: Sequence[Recipient]) -> list[Outcome]:
        """One message for recipients of one next hop. Never raises."""
        try:
            if isinstance(hop.route, TargetRoute):
                return await _hand_over(hop.route.target, message, recipients)
            return await Attempt(self._means, hop, message, recipients).run()
        except Exception:
            reference = new_trace_id(self.reactor.seconds())
            self.log.failure(
                "attempt for {destination} failed, reference {reference}",
                failure=Failure(),
                destination=hop.destination,
                reference=reference,
            )
            return [Delayed(Status("4.3.0", f"Something broke here, reference {reference}"))] * len(recipients)


@implementer(IDelivery)
class _Transaction:
    """One message: gathered, then sent to all its next hops at the same time."""

    def __init__(self, relay: Relay, envelope: Envelope) -> None:
        self._relay = relay
        self._envelope = envelope
        self._recipients: list[Recipient] = []
        self._content = Content(relay.spool, relay.settings.memory)
        self._has_8bit = False

    async def add_recipient(self, recipient: Recipient) -> None:
        self._recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        content = self._content
        content.write(octets)
        if not octets.isascii():
            self._has_8bit = True
        if content.is_due:
            try:
                await _aside(self._relay.reactor, content.flush)
            except OSError as problem:
                self._relay.log.error("the spool directory takes no more: {problem}", problem=problem)
                if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise TryLater(NO_SPACE) from problem
                raise Unavailable("the spool directory fails") from problem

    async def commit(self) -> Sequence[Outcome]:
        relay = self._relay
        message = OutgoingMessage(self._envelope, self._content, self._has_8bit)
        if len(self._recipients) == 1:
            try:
                return await relay.attempt(relay.routes.next_hop(self._recipients[0]), message, self._recipients)
            finally:
                self._content.close()
        groups: dict[tuple[str, int], tuple[NextHop, list[int]]] = {}
        for index, recipient in enumerate(self._recipients):
            hop = relay.routes.next_hop(recipient)
            groups.setdefault((hop.destination, id(hop.route)), (hop, []))[1].append(index)
        try:
            made = await _together(
                [
                    relay.attempt(hop, message, [self._recipients[index] for index in indices])
                    for hop, indices in groups.values()
                ]
            )
        finally:
            self._content.close()
        outcomes: dict[int, Outcome] = {}
        for (_, indices), some in zip(groups.values(), made, strict=True):
            outcomes.update(zip(indices, some, strict=True))
        return [outcomes[index] for index in range(len(self._recipients))]

    async def abort(self) -> None:
        self._content.close()


async def _hand_over(
    target: IDeliveryTarget, message: OutgoingMessage, recipients: Sequence[Recipient]
) -> list[Outcome]:
    """Into another target; what it raises is an outcome too."""
    outcomes: list[Outcome | None] = [None] * len(recipients)
    delivery: IDelivery | None = None
    try:
        delivery = await target.begin(message.envelope)
        for index, recipient in enumerate(recipients):
            try:
                await delivery.add_recipient(recipient)
            except Refused as refused:
                outcomes[index] = Failed(refused.status)
            except TryLater as later:
                outcomes[index] = Delayed(later.status)
        taken = [index for index, outcome in enumerate(outcomes) if outcome is None]
        if taken:
            for octets in message.chunks():
                await delivery.write(octets)
            for index, outcome in zip(taken, await delivery.commit(), strict=True):
                outcomes[index] = outcome
        else:
            await delivery.abort()
    except (Refused, TryLater) as problem:
        if delivery is not None:
            await delivery.abort()
        rest: Outcome = Failed(problem.status) if isinstance(problem, Refused) else Delayed(problem.status)
        return [outcome or rest for outcome in outcomes]
    except Exception:
        if delivery is not None:
            await delivery.abort()
        raise
    return [outcome for outcome in outcomes if outcome is not None]


async def _together(tasks: Sequence[Coroutine[Any, Any, list[Outcome]]]) -> list[list[Outcome]]:
    if len(tasks) == 1:
        return [await tasks[0]]
    done: list[list[Outcome]] = await gatherResults([Deferred.fromCoroutine(task) for task in tasks])
    return done


async def _aside(reactor: Any, work: Callable[[], None]) -> None:
    """Where the reactor has threads, in one of them."""
    if IReactorThreads.providedBy(reactor):
        await deferToThreadPool(reactor, reactor.getThreadPool(), work)
    else:
        work()
