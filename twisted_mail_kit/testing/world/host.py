"""A mail host of the world: a real SMTP session of ours on port 25, and faults around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import IDelivery, IReception
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.outcome import Delivered, Outcome, Status
from twisted_mail_kit.net.factory import ConnectionLimits
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.testing.world.faults import Behaviour, Fault, Kind
from twisted_mail_kit.testing.world.line import End
from twisted_mail_kit.testing.world.network import Admission
from twisted_mail_kit.testing.world.node import Node, NodeReactor

MANY = 1_000_000_000
SETTINGS = SMTPSettings(
    messages_per_minute=MANY,
    recipients_per_minute=MANY,
    connections=ConnectionLimits(per_address=MANY, per_listener=MANY, per_minute=MANY),
)
"""What a host's listener goes by, unless told otherwise: our defaults, without limits to how much may come."""


@define(eq=False)
class Receipt:
    """One message for one recipient that a host has taken."""

    time: float
    """Seconds since 1970 UTC."""
    host: str
    sender: str
    """Empty for a bounce."""
    recipient: str
    octets: bytes
    envelope: Envelope
    heard_at: float | None = None
    """When the client heard that it was taken; None: it has not, and is right to send it again."""

    @property
    def is_doubtful(self) -> bool:
        """The reply was lost, or has not arrived yet."""
        return self.heard_at is None

    @property
    def message_id(self) -> str:
        """The Message-ID field, with its angles; empty: none."""
        value = Headers(self.octets[: self.octets.find(b"\r\n\r\n") + 2]).get(b"Message-ID")
        return (value or b"").decode("ascii", "replace")


class Host(Node):
    """A machine that takes mail. `received` is what it took, each recipient by itself; `struck` counts its faults."""

    def __init__(
        self,
        world: Any,
        random: Random,
        name: str,
        addresses: Sequence[str],
        behaviour: Behaviour,
        target: IReception | None,
    ) -> None:
        super().__init__(world.network, random, name, addresses, behaviour.latency, behaviour.bandwidth)
        self.world = world
        self.behaviour = behaviour
        self.settings = SETTINGS
        self.target: IReception = target or Reception(self)
        self.received: list[Receipt] = []
        self.struck: dict[Kind | str, int] = {}
        self.ends: dict[tuple[str, int], End] = {}
        self.greylisted: dict[tuple[str, str, str], float] = {}
        self.boot = self.listen
        self.listen(self.reactor)

    def listen(self, reactor: NodeReactor) -> None:
        """On port 25 of its addresses."""
        certificates: Any = None if "STARTTLS" in self.behaviour.lacks else object()
        factory = make_factory("smtp", self.name, self.target, None, certificates, self.settings, reactor)
        for interface in dict.fromkeys("::" if ":" in one else "" for one in self.addresses):
            reactor.listenTCP(25, factory, interface=interface)

    def strikes(self, kind: Kind, about: str) -> bool:
        """Whether that fault strikes now; if so, the story tells."""
        now = self.world.now
        for fault in self.behaviour.faults:
            if fault.kind == kind and fault.is_on(now) and self.random.random() < fault.chance:
                self.note(kind, about)
                return True
        return False

    def note(self, what: str, about: str) -> None:
        """Count it, and tell it."""
        self.struck[what] = self.struck.get(what, 0) + 1
        self.world.tell(f"{self.name}: {what}, {about}")

    # --- what the network asks -------------------------------------------------------------------------------------

    def admit(self, source: str) -> Admission:
        """Faults of the connection itself."""
        if self.strikes("unreachable", source):
            return "unreachable"
        return "refused" if self.strikes("refused", source) else "accept"

    def greet(self, end: End) -> None:
        """Faults of the octets."""
        peer = end.there
        source = peer.host, peer.port  # type: ignore[attr-defined]
        self.ends[source] = end
        end.on_lost = lambda _: self.ends.pop(source, None)
        end.certificates = self.behaviour.certificates
        if self.strikes("slow", source[0]):
            end.way.bandwidth = end.other.way.bandwidth = 1000.0
        end.tls_breaks = self.strikes("tls-broken", source[0])
        if self.behaviour.lacks:
            end.on_write = self._leave_out

    def _leave_out(self, octets: bytes) -> bytes:
        """The answer to EHLO, without what this host lacks."""
        first, _, rest = octets.partition(b"\r\n")
        if not first.startswith(b"250-") or b" greets " not in first:
            return octets
        lacks = {word.upper().encode() for word in self.behaviour.lacks}
        words = [line[4:] for line in rest.split(b"\r\n") if line]
        words = [first[4:], *(word for word in words if word.split(b" ")[0].upper() not in lacks)]
        lines = [b"250-" + word for word in words[:-1]] + [b"250 " + words[-1]]
        return b"".join(line + b"\r\n" for line in lines)

    def end_of(self, peer: Peer) -> End | None:
        """Our transport of that client."""
        return self.ends.get((peer.host, peer.port))


@implementer(IReception)
class Reception:
    """Where a host's sessions hand their mail: faults first, then `Host.received`."""

    def __init__(self, host: Host) -> None:
        self.host = host

    async def connected(self, peer: Peer) -> None:
        """mute, busy, unwelcome."""
        host = self.host
        if host.strikes("mute", peer.host):
            await Deferred()
        if host.strikes("busy", peer.host):
            raise TryLater(Status("4.3.2", "Too busy, come again", 421))
        if host.strikes("unwelcome", peer.host):
            raise Refused(Status("5.7.1", "You are not welcome here", 554))

    async def greeted(self, peer: Peer) -> None:
        """Nothing."""

    async def begin(self, envelope: Envelope) -> IDelivery:
        """mail-4xx, mail-5xx."""
        host, sender = self.host, f"<{envelope.sender or ''}>"
        if host.strikes("mail-4xx", sender):
            raise TryLater(Status("4.3.2", "No mail now", 451))
        if host.strikes("mail-5xx", sender):
            raise Refused(Status("5.7.1", "No mail from you", 550))
        return _Taking(host, envelope)


@implementer(IDelivery)
class _Taking:
    """One message on its way into a host."""

    def __init__(self, host: Host, envelope: Envelope) -> None:
        self.host = host
        self.envelope = envelope
        self.recipients: list[Recipient] = []
        self.pieces: list[bytes] = []
        self.is_cut = host.strikes("cut", f"<{envelope.sender or ''}>")
        if self.is_cut:
            self._arm()

    async def add_recipient(self, recipient: Recipient) -> None:
        host = self.host
        name = str(recipient.address)
        if name.lower() in host.behaviour.unknown:
            host.note("unknown", name)
            raise Refused(Status("5.1.1", "No such user here", 550))
        if host.behaviour.greylist is not None:
            triplet = self.envelope.peer.host, str(self.envelope.sender or ""), name
            now = host.reactor.seconds()
            if now - host.greylisted.setdefault(triplet, now) < host.behaviour.greylist:
                host.note("greylisted", name)
                raise TryLater(Status("4.7.1", "Greylisted, come again later", 451))
        if host.strikes("rcpt-4xx", name):
            raise TryLater(Status("4.2.1", "Mailbox is not available now", 450))
        if host.strikes("rcpt-5xx", name):
            raise Refused(Status("5.2.1", "Mailbox is closed", 550))
        self.recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        self.pieces.append(octets)

    async def commit(self) -> Sequence[Outcome]:
        host, envelope = self.host, self.envelope
        about = f"<{envelope.sender or ''}> to {', '.join(str(one.address) for one in self.recipients)}"
        end = host.end_of(envelope.peer)
        if self.is_cut:  # a message of few octets, or by BDAT: before the knife came down
            if end is not None:
                end.abortConnection()
            raise TryLater(Status("4.3.0", "Cut", 451))
        if host.strikes("data-4xx", about):
            raise TryLater(Status("4.3.0", "Not this message, not now", 451))
        if host.strikes("data-5xx", about):
            raise Refused(Status("5.7.1", "Not this message", 554))
        receipts = self._record()
        if end is not None:
            if host.strikes("lost-reply", about):
                if host.random.random() < 0.5:
                    end.abortConnection()
                else:
                    end.go_dark()
            else:
                end.tag(lambda: _heard(receipts, host.reactor.seconds()))
        return [Delivered() for _ in self.recipients]

    async def abort(self) -> None:
        pass

    def _record(self) -> list[Receipt]:
        host, envelope = self.host, self.envelope
        octets = b"".join(self.pieces)
        sender = str(envelope.sender or "")
        now = host.reactor.seconds()
        receipts = [
            Receipt(now, host.name, sender, str(recipient.address), octets, envelope) for recipient in self.recipients
        ]
        host.received += receipts
        for one in receipts:
            # A bounce's Message-ID is not of the seed's making.
            host.world.tell(f"{host.name}: took {one.message_id if sender else 'a bounce'} for {one.recipient}")
        host.world.took(receipts)
        return receipts

    def _arm(self) -> None:
        """Cut the connection soon after 354: real servers that fall over do so in the middle of the octets."""
        end = self.host.end_of(self.envelope.peer)
        if end is None:
            return
        after = self.host.random.randrange(1, 80)
        before = end.on_write

        def see(octets: bytes) -> bytes:
            if re.search(rb"(?m)^354", octets):
                end.cut_after = after
            return octets if before is None else before(octets)

        end.on_write = see


def _heard(receipts: list[Receipt], now: float) -> None:
    for one in receipts:
        one.heard_at = now


__all__ = ["Behaviour", "Fault", "Host", "Receipt", "Reception"]
