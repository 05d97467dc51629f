"""Delivery status notifications: what a sender is told of a message, as a multipart/report (RFC 3464, RFC 6533)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.dates import format_date
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.headers import Headers, decode_text
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.mail.queued import QueuedMessage
from twisted_mail_kit.queue.returned import Part, header_section, headers_part, message_part, text_part
from twisted_mail_kit.queue.words import (
    answer,
    ascii_line,
    enhanced,
    folded,
    one_line,
    original_recipient,
    paragraph,
    plain_address,
)

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_MESSAGE_ID: Final = re.compile(rb"<[!-;=?-~]{1,500}>")
_SEVERITY: Final = {"failed": "5", "delayed": "4", "delivered": "2", "relayed": "2"}
_SUBJECTS: Final = {
    "failed": "Your message could not be delivered",
    "delayed": "Your message is delayed",
    "success": "Your message has arrived",
}


@frozen
class Told:
    """What is told of one recipient."""

    number: int
    recipient: Recipient
    action: str
    """RFC 3464 2.3.3: failed, delayed, delivered or relayed."""
    status: Status


@frozen
class Notice:
    """A report, ready for a delivery target."""

    envelope: Envelope
    recipient: Recipient
    octets: bytes


def make_notice(
    message: QueuedMessage,
    told: Sequence[Told],
    *,
    original: bytes = b"",
    full: bool = False,
    hostname: str,
    postmaster: str = "",
    now: float,
    retry_until: float | None = None,
) -> Notice:
    """One report about these recipients of a message, all with the same news: failed, delayed, or success.

    `original` is the message, whole where `full` says so, else its beginning with the header section in it; empty
    where it cannot be read. The report is deterministic but for `now`; so is its trace id even without: telling the
    same thing a second time, after a crash, is the same message to everybody who knows tokens.
    """
    sender = message.envelope.sender
    if sender is None or not told:
        raise ValueError("a report needs somebody to tell, and something")
    kind = told[0].action if told[0].action in ("failed", "delayed") else "success"
    trace_id = notice_id(message.id, kind, [one.number for one in told])
    section = header_section(original)
    headers = Headers(section)
    is_global = _is_global(message.envelope, sender, told)
    to = sender if is_global else plain_address(sender) or sender
    parts = [
        text_part(_explanation(kind, message, told, headers, hostname, postmaster, retry_until)),
        _status_part(message, told, hostname, now, retry_until, is_global),
    ]
    if original:
        whole = message_part(original, is_global) if full else None
        parts.append(whole or headers_part(section, is_global))
    boundary = f"=_{trace_id}.{hashlib.sha256(original).hexdigest()[:16]}"
    top = [
        f"From: Mail Delivery System <MAILER-DAEMON@{ascii_line(hostname)}>\r\n",
        f"To: <{one_line(str(to), 400)}>\r\n",
        f"Subject: {_SUBJECTS[kind]}\r\n",
        f"Date: {format_date(now).decode()}\r\n",
        f"Message-ID: <{trace_id}@{ascii_line(hostname)}>\r\n",
    ]
    known = _MESSAGE_ID.fullmatch(headers.get(b"Message-ID") or b"")
    if known:
        top += [f"{name}: {known[0].decode()}\r\n" for name in ("References", "In-Reply-To")]
    top += [
        # RFC 3834 5: nobody's holiday notice shall answer this.
        "Auto-Submitted: auto-replied\r\n",
        "MIME-Version: 1.0\r\n",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"\r\n',
    ]
    is_8bit = any(part.is_8bit for part in parts)
    if is_8bit:
        top.append("Content-Transfer-Encoding: 8bit\r\n")
    octets = "".join(top).encode("utf-8") + b"\r\n" + _joined(parts, boundary.encode())
    envelope = Envelope(
        sender=None,
        peer=Peer(host="", service="queue", is_local=True),
        trace_id=trace_id,
        body="8BITMIME" if is_8bit or not to.is_ascii else "7BIT",
        smtputf8=not to.is_ascii,
        received_at=now,
    )
    # RFC 3461 6.1: nobody is to be told of what becomes of a report.
    return Notice(envelope, Recipient(sender, notify=frozenset({"NEVER"})), octets)


def notice_id(message_id: str, kind: str, numbers: Sequence[int]) -> str:
    """A trace id that is always the same for the same news of the same recipients."""
    digest = hashlib.sha256(f"{message_id} {kind} {sorted(numbers)}".encode("utf-8", "replace")).digest()
    number = int.from_bytes(digest[:10], "big")
    tail = "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))
    # The first eight characters of a trace id are its time.
    return (message_id[:8] if re.fullmatch(r"[0-9a-z]{16}", message_id) else tail[:8]) + tail[8:]


# --- what a person reads ---------------------------------------------------------------------------------------------


def _explanation(
    kind: str,
    message: QueuedMessage,
    told: Sequence[Told],
    headers: Headers,
    hostname: str,
    postmaster: str,
    retry_until: float | None,
) -> list[str]:
    lines = paragraph(f"This is the mail server {one_line(hostname)}. {_opening(kind, len(told))}")
    lines.append("")
    for one in told:
        lines.append(f"  {one_line(str(one.recipient.address), 400)}")
        lines += _reason(one)
        lines.append("")
    if kind == "failed":
        lines += paragraph("It will not be tried again.")
    elif kind == "delayed":
        until = f" until {format_date(retry_until).decode()}" if retry_until is not None else ""
        sentence = f"You need not do anything: it will be tried again{until}. If that does not help, you will be told."
        lines += paragraph(sentence)
    lines += ["", "The message:", ""]
    for name in (b"Subject", b"Date", b"Message-ID"):
        value = headers.get(name)
        if value:
            lines += paragraph(f"{name.decode()}: {one_line(decode_text(value), 300)}", "  ")
    lines += [f"  Our reference: {ascii_line(message.id, 100)}", ""]
    lines += paragraph(f"Questions? Write to {one_line(postmaster or f'postmaster@{hostname}')}, with this report.")
    return lines


def _opening(kind: str, count: int) -> str:
    whom = "this recipient:" if count == 1 else "these recipients:"
    if kind == "failed":
        return f"I am sorry: your message could not be delivered to {whom}"
    if kind == "delayed":
        return f"Your message has not been given up, but could not be delivered yet to {whom}"
    return f"As you asked to be told: your message was delivered for {whom}"


def _reason(one: Told) -> list[str]:
    status, action = one.status, one.action
    if action == "delivered":
        return paragraph("It lies in the mailbox.", "    ")
    if action == "relayed":
        by = f"The server {one_line(status.remote, 200)}" if status.remote else "The next server"
        return paragraph(f"{by} has taken it, and does not tell what becomes of it there.", "    ")
    expired = action == "failed" and status.code == "5.4.7"
    lines = paragraph("It was tried for too long without success.", "    ") if expired else []
    last = "At the last try, the" if expired else "The"
    if status.remote:
        lines += paragraph(f"{last} server {one_line(status.remote, 200)} answered:", "    ")
    elif expired:
        lines += paragraph("What happened at the last try:", "    ")
    lines += paragraph(answer(status) or "(nothing)", "      ")
    if action == "failed":
        lines += paragraph(_advice(status.code), "    ")
    return lines


def _advice(code: str) -> str:
    """What the sender can do."""
    detail = code[1:]
    if detail in (".1.1", ".1.2", ".1.3", ".1.10", ".2.1", ".4.4"):
        return "Please check the address: it may be misspelt, or no longer in use."
    if detail == ".2.2":
        return "The mailbox is full. Please try again later, or reach the recipient in another way."
    if detail in (".3.4", ".2.3"):
        return "The message is too large for the recipient. Please send less, or in several parts."
    if detail == ".4.6":
        return "The mail goes in a circle. Please tell those who run the recipient's mail."
    if detail == ".4.7":
        return "Please try again later, or reach the recipient in another way."
    if detail.startswith(".7."):
        return "The recipient's server does not want this message. What it said above may tell you why."
    if detail.startswith(".6."):
        return "The recipient's server cannot take a message of this form."
    if detail.startswith(".4."):
        return "The recipient's server cannot be reached. Please check what stands behind the @ in the address."
    return "What the server said above may tell you why. Its people know more."


# --- what a program reads --------------------------------------------------------------------------------------------


def _status_part(
    message: QueuedMessage,
    told: Sequence[Told],
    hostname: str,
    now: float,
    retry_until: float | None,
    is_global: bool,
) -> Part:
    """RFC 3464 2, RFC 6533 3."""
    safe = one_line if is_global else ascii_line
    envelope = message.envelope
    groups = [folded("Reporting-MTA", f"dns; {ascii_line(hostname)}")]
    if envelope.envid:
        groups[0] = folded("Original-Envelope-Id", safe(envelope.envid, 200)) + groups[0]
    groups[0] += folded("Arrival-Date", format_date(envelope.received_at).decode())
    groups[0] += folded("X-Mailkit-Trace", ascii_line(message.id, 100))
    for one in told:
        fields = ""
        original = original_recipient(one.recipient.orcpt)
        if original is not None:
            fields += folded("Original-Recipient", f"{original[0]}; {safe(original[1])}")
        fields += folded("Final-Recipient", _typed(one.recipient.address, is_global))
        fields += folded("Action", one.action)
        fields += folded("Status", enhanced(one.status.code, _SEVERITY[one.action]))
        if one.status.remote:
            # `mx.example.org [192.0.2.1]`: the name is the MTA's, the address is for the person.
            fields += folded("Remote-MTA", f"dns; {ascii_line(one.status.remote, 300).partition(' ')[0]}")
        if one.action != "delivered" and one.status.text:
            # RFC 3464 2.3.6: the other side's words as they were; ours are none of SMTP's.
            kind = "smtp" if one.status.remote else "X-Mailkit"
            fields += folded("Diagnostic-Code", f"{kind}; {safe(answer(one.status))}")
        fields += folded("Last-Attempt-Date", format_date(now).decode())
        if one.action == "delayed" and retry_until is not None:
            fields += folded("Will-Retry-Until", format_date(retry_until).decode())
        groups.append(fields)
    octets = "\r\n".join(groups).encode("utf-8")
    if not octets.isascii():
        header = b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"
        return Part(header, octets, is_8bit=True)
    return Part(b"Content-Type: message/delivery-status\r\n", octets)


def _typed(address: Address, is_global: bool) -> str:
    plain = plain_address(address)
    if plain is not None:
        return f"rfc822; {ascii_line(str(plain), 400)}"
    assert is_global
    return f"utf-8; {one_line(str(address), 400)}"


def _is_global(envelope: Envelope, sender: Address, told: Sequence[Told]) -> bool:
    """Whether the report needs RFC 6533: something in it has no form in ASCII."""
    addresses = [sender, *(one.recipient.address for one in told)]
    originals = [original_recipient(one.recipient.orcpt) for one in told]
    return (
        envelope.smtputf8
        or any(plain_address(one) is None for one in addresses)
        or any(one is not None and not one[1].isascii() for one in originals)
    )


def _joined(parts: Sequence[Part], boundary: bytes) -> bytes:
    pieces = []
    for part in parts:
        pieces += [b"--", boundary, b"\r\n", part.header, b"\r\n", part.body, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    return b"".join(pieces)
