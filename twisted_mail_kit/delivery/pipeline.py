"""The pipeline: what an SMTP listener hands mail to. Checks at each step, then routing, then the targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.checks import Check
from twisted_mail_kit.delivery.intake import Intake, scan
from twisted_mail_kit.delivery.local import LocalDelivery
from twisted_mail_kit.delivery.received import ReceivedMessage, checked_fields
from twisted_mail_kit.delivery.routing import Route, Router
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.delivery.settling import Settlement
from twisted_mail_kit.delivery.submission import Correction, correct, is_submission
from twisted_mail_kit.errors import Refused
from twisted_mail_kit.interfaces import ICheck, IDelivery, IDeliveryTarget, IReception
from twisted_mail_kit.mail.content import Assembled, Room
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.headers import Headers, on_one_line
from twisted_mail_kit.mail.outcome import Outcome, Status
from twisted_mail_kit.mail.part import Outline, Structure
from twisted_mail_kit.mail.trace import delivered_to_field, received_field, return_path_field
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.net.turn import Turn

HEADER_TOO_LARGE = Status("5.3.4", "The header section is too large, or has too many fields", 552)
LOOP = Status("5.4.6", "Routing loop detected", 554)
NO_RECIPIENTS = Status("5.5.1", "No valid recipients", 554)


@implementer(IReception)
class Pipeline:
    """One for all listeners of a kit.

    The order at each step: our own rules first (routing, limits), then the checks in the order of the configuration.
    A check's Refused or TryLater ends the step; any other exception passes up, and the session takes it for a
    temporary failure.

    `outbound` of the router gets what is not ours. `leftovers`, the queue around local delivery, gets the recipients
    of a message that others of its recipients have already, and that cannot be delivered now; see `settling`.
    With a `turn`, messages that are whole at the same time are scanned and stored in a row.
    """

    log = Logger()

    def __init__(
        self,
        *,
        hostname: str,
        router: Router,
        local: LocalDelivery,
        reactor: Any,
        checks: Sequence[ICheck] = (),
        settings: DeliverySettings | None = None,
        spool: Path | None = None,
        leftovers: IDeliveryTarget | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.hostname = hostname
        self.router = router
        self.local = local
        self.reactor = reactor
        self.settings = settings or DeliverySettings()
        self.spool = spool
        self.leftovers = leftovers
        self.turn = turn
        self.room = Room(self.settings.memory_shared)
        self.on_connected = _steps(checks, "connected")
        self.on_greeted = _steps(checks, "greeted")
        self.on_sender = _steps(checks, "sender")
        self.on_recipient = _steps(checks, "recipient")
        self.on_message = _steps(checks, "message")

    async def connected(self, peer: Peer) -> None:
        """Before the greeting."""
        for _, check in self.on_connected:
            await check(peer)

    async def greeted(self, peer: Peer) -> None:
        """After HELO or EHLO."""
        for _, check in self.on_greeted:
            await check(peer)

    async def begin(self, envelope: Envelope) -> IDelivery:
        """After MAIL FROM."""
        for _, check in self.on_sender:
            await check(envelope)
        return _Transaction(self, envelope)


def _steps(checks: Sequence[ICheck], step: str) -> list[tuple[str, Callable[..., Any]]]:
    """The checks that have something to say at this step: one that inherited the empty answer costs nothing."""
    return [
        (check.name, getattr(check, step))
        for check in checks
        if getattr(type(check), step, None) is not getattr(Check, step)
    ]


@implementer(IDelivery)
class _Transaction:
    """One message on its way through."""

    def __init__(self, pipeline: Pipeline, envelope: Envelope) -> None:
        self._pipeline = pipeline
        self._envelope = envelope
        self._routes: list[Route] = []
        self._intake: Intake | None = None
        self._on_top = b""
        self._hop = b""
        self._received = b""

    async def add_recipient(self, recipient: Recipient) -> None:
        pipeline, envelope = self._pipeline, self._envelope
        route = await pipeline.router.route(envelope, recipient)
        for _, check in pipeline.on_recipient:
            await check(envelope, recipient, route.destination)
        self._routes.append(route)

    async def write(self, octets: bytes) -> None:
        await (self._intake or self._begun()).write(octets)

    async def commit(self) -> Sequence[Outcome]:
        if not self._routes:
            raise Refused(NO_RECIPIENTS)
        intake = self._intake or self._begun()
        try:
            if self._pipeline.turn is not None:
                await self._pipeline.turn.end()
            structure = intake.close() if any(route.local for route in self._routes) else None
            outline = structure or intake.outline()
            correction = self._judge(outline)
            fields = await self._ask_checks(outline) if self._pipeline.on_message else b""
            settlement = Settlement(self._pipeline, self._envelope, self._looping(outline.header))
            if structure is not None:
                local = self._assemble(self._on_top, fields, correction)
                if fields or correction.added or correction.left_out:
                    structure = await scan(self._pipeline.reactor, local, self._pipeline.settings.scan_limits())
                settlement.take_local(local, structure)
            if any(route.outward for route in self._routes):
                settlement.take_outward(self._assemble(self._hop, fields, correction), correction.body)
            return await settlement.settle(self._routes)
        finally:
            intake.content.close()

    async def abort(self) -> None:
        if self._intake is not None:
            self._intake.content.close()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _begun(self) -> Intake:
        """Recipients are known: what we put on top is too, and is scanned before the message."""
        pipeline, envelope = self._pipeline, self._envelope
        only = self._routes[0] if len(self._routes) == 1 else None
        # One recipient must not learn of another: RFC 5321 7.2.
        self._received = received_field(envelope, pipeline.hostname, only.recipient.address if only else None)
        self._hop = b""
        if only is not None and only.destination is not None:
            self._hop = delivered_to_field(only.recipient.address)
        # RFC 5321 4.4: Return-Path at final delivery only.
        self._on_top = return_path_field(envelope.sender) + self._hop
        settings = pipeline.settings
        self._intake = Intake(pipeline.reactor, self._on_top + self._received, pipeline.spool, settings, pipeline.room)
        return self._intake

    def _headers(self, structure: Outline | Structure) -> Headers:
        """Those that came, without ours."""
        assert self._intake is not None
        return Headers(structure.header.octets[len(self._intake.top) :])

    def _judge(self, structure: Outline | Structure) -> Correction:
        """Our own rules. Raises Refused."""
        pipeline, envelope = self._pipeline, self._envelope
        if structure.is_cut:
            limits.MIME.value += 1
            pipeline.log.info(
                "{trace_id} has more parts, levels or parameters than are looked at", trace_id=envelope.trace_id
            )
        if structure.header_overflow:
            limits.HEADER_SECTION.value += 1
            raise Refused(HEADER_TOO_LARGE)
        if structure.received_count - 1 >= pipeline.settings.hops:
            pipeline.log.warn("{trace_id} refused: it went through too many hops", trace_id=envelope.trace_id)
            limits.HOPS.value += 1
            raise Refused(LOOP)
        if is_submission(envelope):
            return correct(envelope, self._headers(structure), structure, pipeline.settings, pipeline.hostname)
        body = "8BITMIME" if structure.has_8bit and envelope.body == "7BIT" else envelope.body
        return Correction(body=body)

    async def _ask_checks(self, structure: Outline | Structure) -> bytes:
        """Ask the checks; the fields that they want on top."""
        assert self._intake is not None
        message = ReceivedMessage(self._headers(structure), self._intake.content)
        recipients = tuple(route.recipient for route in self._routes)
        fields = b""
        for name, check in self._pipeline.on_message:
            given = await check(self._envelope, recipients, message)
            if given:
                fields += checked_fields(given, name)
        return fields

    def _looping(self, headers: Headers) -> set[int]:
        """Indices of recipients that the message says it was delivered to already.

        `headers` are those that the scan has indexed, with our own field in front.
        """
        told = headers.index().get(b"delivered-to", ())
        if len(told) <= (1 if self._hop else 0):
            return set()
        been = {on_one_line(value).lower() for value in told[1 if self._hop else 0 :]}
        return {
            index
            for index, route in enumerate(self._routes)
            if route.destination is not None and str(route.recipient.address).lower().encode() in been
        }

    def _assemble(self, on_top: bytes, fields: bytes, correction: Correction) -> Assembled:
        """The message as it goes on: trace fields first, then what checks and correction add, then what came."""
        assert self._intake is not None
        content = self._intake.content
        ours = self._on_top + self._received
        top = on_top + fields + self._received + correction.added + self._intake.top[len(ours) :]
        start = 0
        for left, right in correction.left_out:
            top += content.read(start, left - start)
            start = right
        return Assembled(top, content, start)
