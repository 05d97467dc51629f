"""Signing: a delivery target that puts DKIM signatures on what it hands on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from twisted_mail_kit.delivery.aside import aside
from twisted_mail_kit.delivery.dkimcanon import RelaxedBody
from twisted_mail_kit.delivery.dkimkeys import DKIMKey
from twisted_mail_kit.delivery.dkimsettings import DKIMSettings
from twisted_mail_kit.delivery.dkimsignature import author_domain, signature_fields, signatures_of
from twisted_mail_kit.delivery.intake import NO_SPACE
from twisted_mail_kit.delivery.submission import is_submission
from twisted_mail_kit.errors import TryLater, Unavailable
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IDestinations
from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.outcome import Outcome

_LONGEST_HEADER: Final = 256 * 1024  # what the pipeline lets through


def is_our_own(envelope: Envelope) -> bool:
    """It comes from somebody who logged in, or from the server itself: bounces."""
    return is_submission(envelope) or envelope.peer.service == "queue"


@implementer(IDeliveryTarget)
class Signing:
    """Signs (RFC 6376, RFC 8463) on the way to `target`.

    A message gets a signature of each key of the domain in From, or of the nearest domain above it that has keys. It
    passes as it is when there is no such key, when it has a signature of that domain and selector already, and when
    `is_ours` says that a stranger wrote it: a forged From that comes in and is forwarded must not go out with our
    word for it. All that the target answers or raises comes through as it is, and so does what it knows of
    destinations.

    Only unsigned mail flows straight through; else the message is kept, as in the pipeline, until it is whole.
    """

    log = Logger()

    def __init__(
        self,
        target: IDeliveryTarget,
        keys: Sequence[DKIMKey],
        reactor: Any,
        settings: DKIMSettings | None = None,
        spool: Path | None = None,
        is_ours: Callable[[Envelope], bool] = is_our_own,
    ) -> None:
        self.target = target
        self.reactor = reactor
        self.settings = settings or DKIMSettings()
        self.spool = spool
        self.is_ours = is_ours
        self._keys: dict[str, list[DKIMKey]] = {}
        for key in keys:
            self._keys.setdefault(key.domain, []).append(key)
        if IDestinations.providedBy(target):
            alsoProvides(self, IDestinations)

    async def begin(self, envelope: Envelope) -> IDelivery:
        """What the target says of the sender."""
        delivery = await self.target.begin(envelope)
        if not self._keys or not self.is_ours(envelope):
            return delivery
        return _Transaction(self, delivery, envelope)

    def destination_of(self, recipient: Recipient) -> str:
        """What the target says, where it provides IDestinations."""
        destination: str = self.target.destination_of(recipient)  # type: ignore[attr-defined]
        return destination

    def keys_for(self, headers: Headers) -> list[DKIMKey]:
        """The keys that are to sign a message."""
        domain = author_domain(headers)
        while domain:
            if domain in self._keys:
                there = signatures_of(headers)
                return [key for key in self._keys[domain] if (key.domain, key.selector) not in there]
            domain = domain.partition(".")[2]
        return []


@implementer(IDelivery)
class _Transaction:
    """One message. First its header section is gathered; it decides whether the rest is gathered or passes."""

    def __init__(self, signing: Signing, delivery: IDelivery, envelope: Envelope) -> None:
        self._signing = signing
        self._delivery = delivery
        self._envelope = envelope
        self._head: bytearray | None = bytearray()
        self._headers = Headers(b"")
        self._keys: list[DKIMKey] = []
        self._body = RelaxedBody()
        self._content = Content(signing.spool, signing.settings.memory)

    async def add_recipient(self, recipient: Recipient) -> None:
        await self._delivery.add_recipient(recipient)

    async def write(self, octets: bytes) -> None:
        head = self._head
        if head is None:
            await self._go_on(octets)
            return
        searched = max(0, len(head) - 3)
        head += octets
        end = head.find(b"\r\n\r\n", searched)
        if end >= 0 or len(head) > _LONGEST_HEADER or head[:1] == b"\r":
            await self._decide(end)

    async def commit(self) -> Sequence[Outcome]:
        try:
            if self._head is not None:
                await self._decide(len(self._head))  # there is no body, and no empty line either
            if self._keys:
                await self._sign()
        except Exception:
            await self.abort()
            raise
        finally:
            self._content.close()
        return await self._delivery.commit()

    async def abort(self) -> None:
        self._content.close()
        await self._delivery.abort()

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _decide(self, end: int) -> None:
        """The header section ends at `end`; -1: it is none that anybody would sign."""
        assert self._head is not None
        octets, self._head = bytes(self._head), None
        # A line that begins with a space would become a part of our own field; an empty one ends the section at once.
        if end >= 0 and octets[:1] not in (b" ", b"\t", b"\r"):
            self._headers = Headers(octets[: end + 2])
            self._keys = self._signing.keys_for(self._headers)
        if not self._keys:
            if octets:
                await self._delivery.write(octets)
            return
        self._body.feed(octets[end + 4 :])
        await self._keep(octets)

    async def _go_on(self, octets: bytes) -> None:
        if not self._keys:
            await self._delivery.write(octets)
            return
        self._body.feed(octets)
        await self._keep(octets)

    async def _keep(self, octets: bytes) -> None:
        """Raises TryLater where the disk is full, Unavailable where it fails."""
        self._content.write(octets)
        if self._content.is_due:
            try:
                await aside(self._signing.reactor, self._content.flush)
            except OSError as problem:
                self._signing.log.error("the spool directory takes no more: {problem}", problem=problem)
                if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise TryLater(NO_SPACE) from problem
                raise Unavailable("the spool directory fails") from problem

    async def _sign(self) -> None:
        """Hand on the message, signatures on top."""
        signing, keys = self._signing, self._keys
        digest = self._body.digest()
        now = signing.reactor.seconds()
        make = partial(signature_fields, keys, self._headers, digest, signing.settings, now)
        await self._delivery.write(await aside(signing.reactor, make))
        for octets in self._content.chunks():
            await self._delivery.write(octets)
        signing.log.info(
            "{trace_id} signed for {domain} by {selectors}",
            trace_id=self._envelope.trace_id,
            domain=keys[0].domain,
            selectors=[key.selector for key in keys],
        )
