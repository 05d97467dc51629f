"""A way out with DKIM keys, what comes after it, and what a verifier says."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import dkim
from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_mail_kit.delivery.dkimkeys import DKIMKey, make_key
from twisted_mail_kit.delivery.signing import Signing
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delivered, Outcome, Status

RSA = DKIMKey("example.org", "rsa1", make_key("rsa"))
ED = DKIMKey("example.org", "ed1", make_key("ed25519"))
KEYS = [RSA, ED]
JOE = Peer(host="192.0.2.8", service="submission", login="joe@example.org", tls="x")
STRANGER = Peer(host="192.0.2.7", service="smtp")
NO = Status("5.1.1", "No such user", 550)
LATER = Status("4.2.1", "Later", 450)

HEADER = (
    b"From: Joe <joe@example.org>\r\nTo: ann@example.net\r\nSubject: hello\r\nDate: Mon, 23 Nov 2026 08:00:00 +0000\r\n"
)
PLAIN = HEADER + b"\r\nHello Ann\r\n"
MEGABYTE = HEADER + b"\r\n" + b"".join(b"%d \t line %b \r\n" % (n, b"x" * (n % 70)) for n in range(22_000))

CORPUS = {
    "plain": PLAIN,
    "folded": HEADER + b"X: 1\r\nReferences: <a@b>\r\n\t<c@d>  \r\n   <e@f>\r\nMIME-Version: 1.0\r\n \r\n\r\nhello\r\n",
    "folded from": b"From:\r\n =?utf-8?q?J=C3=B6?=\r\n\t<joe@example.org>\r\nSubject:\r\n x\r\n\r\nhi\r\n",
    "trailing spaces": HEADER + b"X-Y: z  \t \r\n\r\n a  b \t\r\n \r\nc\t\r\n\t\r\n \r\n",
    "empty body": HEADER + b"\r\n",
    "only a header": HEADER,
    "only line ends": HEADER + b"\r\n" + b"\r\n" * 50,
    "no line end at the end": HEADER + b"\r\nHello",
    "8-bit": b"Subject: gr\xc3\xbc\xc3\x9fe\r\n" + HEADER + b"\r\nGr\xc3\xbc\xc3\x9fe, und Latin-1: \xfc\xff\x80\r\n",
    "twice the same field": HEADER + b"Received: a\r\nTo: more@example.net\r\nComments: x\r\n\r\nhi\r\n",
    "list": HEADER
    + b"List-Id: <l.example.org>\r\nList-Unsubscribe: <https://x>\r\nSender: s@example.org\r\n\r\nhi\r\n",
    "dots": HEADER + b"\r\n.\r\n..\r\n.a\r\n",
    "1 MB": MEGABYTE,
}


@implementer(IDeliveryTarget)
class Next:
    """What comes after: keeps all, and answers as it is told."""

    def __init__(self, refuse: dict[str, Exception] | None = None, outcomes: Sequence[Outcome] = ()) -> None:
        self.refuse = refuse or {}
        self.outcomes = outcomes
        self.begun: list[Envelope] = []
        self.recipients: list[Recipient] = []
        self.pieces: list[bytes] = []
        self.ends: list[str] = []

    @property
    def octets(self) -> bytes:
        return b"".join(self.pieces)

    async def begin(self, envelope: Envelope) -> IDelivery:
        self.begun.append(envelope)
        self.may("begin")
        return _Delivery(self)

    def may(self, step: str) -> None:
        if step in self.refuse:
            raise self.refuse[step]


@implementer(IDelivery)
class _Delivery:
    def __init__(self, target: Next) -> None:
        self.target = target

    async def add_recipient(self, recipient: Recipient) -> None:
        self.target.may(str(recipient.address))
        self.target.recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        self.target.may("write")
        self.target.pieces.append(octets)

    async def commit(self) -> Sequence[Outcome]:
        self.target.may("commit")
        self.target.ends.append("commit")
        return self.target.outcomes or [Delivered()] * len(self.target.recipients)

    async def abort(self) -> None:
        self.target.ends.append("abort")


def envelope(peer: Peer = JOE) -> Envelope:
    return Envelope(parse_address("joe@example.org"), peer, "trace1")


def now() -> Clock:
    clock = Clock()
    clock.advance(time.time())
    return clock


async def through(message: bytes, chop: int = 65536, target: Next | None = None, **more: Any) -> bytes:
    target = target or Next()
    peer = more.pop("peer", JOE)
    signing = Signing(target, more.pop("keys", KEYS), more.pop("reactor", None) or now(), **more)
    delivery = await signing.begin(envelope(peer))
    await delivery.add_recipient(Recipient(parse_address("ann@example.net")))
    for at in range(0, len(message), chop):
        await delivery.write(message[at : at + chop])
    assert await delivery.commit() == [Delivered()]
    return target.octets


def zone(keys: Sequence[DKIMKey]) -> Any:
    records = {key.name + ".": key.record for key in keys}
    return lambda name, timeout=5: records.get(name.decode(), "").encode() or None


def verdicts(message: bytes, keys: Sequence[DKIMKey] = KEYS) -> list[bool]:
    """Of each DKIM-Signature, from the top."""
    count = len(re.findall(rb"(?mi)^DKIM-Signature:", message.partition(b"\r\n\r\n")[0]))
    if not message.endswith(b"\r\n"):
        message += b"\r\n"  # SMTP does that
    found = []
    for index in range(count):
        try:
            found.append(dkim.DKIM(message, minkey=1024).verify(index, dnsfunc=zone(keys)))
        except dkim.DKIMException:
            found.append(False)
    return found


def tags(message: bytes) -> list[dict[str, str]]:
    """Of each of our signatures."""
    fields = re.findall(rb"DKIM-Signature:(.*?\r\n)(?![ \t])", message, re.DOTALL)
    return [
        {name.strip(): "".join(value.split()) for name, _, value in (tag.partition("=") for tag in one.split(";"))}
        for one in (field.decode() for field in fields)
    ]
