"""What a submission server makes right, or sends back, in a message (RFC 6409 6 and 8)."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import Refused
from twisted_mail_kit.mail.dates import format_date
from twisted_mail_kit.mail.envelope import Envelope
from twisted_mail_kit.mail.headers import Headers, addresses
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.mail.part import Outline, Structure
from twisted_mail_kit.metrics import limits

_BCC = (b"bcc", b"resent-bcc")


@dataclass(frozen=True, slots=True)
class Correction:
    """How a submitted message is changed."""

    added: bytes = b""
    """Fields to put on top of its own."""
    left_out: tuple[tuple[int, int], ...] = ()
    """``[start:end)`` of fields in its header section that go, ascending."""
    body: str = "7BIT"
    """What its content is declared as from here on."""


def is_submission(envelope: Envelope) -> bool:
    """It comes from a user of ours, not from another server."""
    return envelope.peer.service in ("submission", "submissions") or (
        bool(envelope.peer.login) and envelope.peer.service != "lmtp"
    )


def correct(
    envelope: Envelope, headers: Headers, structure: Outline | Structure, settings: DeliverySettings, hostname: str
) -> Correction:
    """Check the format of a submitted message. Raises Refused, with the reason in its text."""
    if structure.longest_line > settings.longest_line:
        limits.SMTP_TEXT_LINE.value += 1
        raise Refused(Status("5.6.0", f"A line of the message is longer than {settings.longest_line} octets", 554))
    body = envelope.body
    if structure.has_8bit and body == "7BIT":
        if settings.undeclared_8bit == "refuse":
            raise Refused(Status("5.6.1", "8-bit content needs BODY=8BITMIME", 554))
        body = "8BITMIME"
    added = _originator(envelope, headers, settings)
    dates = headers.all(b"Date")
    if len(dates) > 1:
        raise Refused(Status("5.6.0", "The message has more than one Date field", 554))
    if not dates:
        if not settings.add_date:
            raise Refused(Status("5.6.0", "The message has no Date field", 554))
        added += b"Date: " + format_date(envelope.received_at or time.time()) + b"\r\n"
    if b"Message-ID" not in headers:
        if not settings.add_message_id:
            raise Refused(Status("5.6.0", "The message has no Message-ID field", 554))
        added += f"Message-ID: <{envelope.trace_id}.{secrets.token_hex(6)}@{hostname}>\r\n".encode()
    left_out: tuple[tuple[int, int], ...] = ()
    if settings.drop_bcc and (b"Bcc" in headers or b"Resent-Bcc" in headers):
        left_out = tuple((one.start, one.end) for one in headers.fields if one.name.lower() in _BCC)
    return Correction(added, left_out, body)


def _originator(envelope: Envelope, headers: Headers, settings: DeliverySettings) -> bytes:
    """RFC 5322 3.6.2: one From with somebody in it, and one Sender where From has several."""
    froms = headers.all(b"From")
    if len(froms) > 1:
        raise Refused(Status("5.6.0", "The message has more than one From field", 554))
    if len(headers.all(b"Sender")) > 1:
        raise Refused(Status("5.6.0", "The message has more than one Sender field", 554))
    if not froms:
        if settings.missing_from == "add" and envelope.sender is not None:
            return f"From: {envelope.sender}\r\n".encode()
        raise Refused(Status("5.6.0", "The message has no From field", 554))
    if not addresses(froms[0]):
        raise Refused(Status("5.6.0", "The From field has no valid address in it", 554))
    return b""
