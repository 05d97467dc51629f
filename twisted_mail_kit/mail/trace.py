"""The trace of a message: its id in all logs, and the fields that we put on top of it (RFC 5321 4.4)."""

from __future__ import annotations

import re
import secrets
import time
from functools import lru_cache
from itertools import count
from random import Random

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.dates import format_date
from twisted_mail_kit.mail.envelope import Envelope

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]
_counter = count(secrets.randbits(20))
# An id has to be unlike any other, not unguessable; asking the system for random octets costs more than all the rest.
_random = Random(secrets.randbits(128))

PROGRAM = "twisted_mail_kit"

_DOMAIN = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}", re.ASCII)
_UNSAFE = re.compile(r"[^\x21-\x7e\u00a0-\ud7ff\ue000-\uffff\U00010000-\U0010ffff ]")


def new_trace_id(now: float) -> str:
    """Sixteen characters of a lower-case base-32 alphabet, sortable by time; `now` in seconds since 1970 UTC."""
    number = (int(now * 1000) & (1 << 42) - 1) << 38 | (next(_counter) & (1 << 20) - 1) << 18 | _random.getrandbits(18)
    # Hot path: two characters at a time.
    pairs = _PAIRS
    return (
        pairs[number >> 70]
        + pairs[number >> 60 & 1023]
        + pairs[number >> 50 & 1023]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def received_field(envelope: Envelope, hostname: str, recipient: Address | None = None) -> bytes:
    """The Received field of a message that came with this envelope (RFC 5321 4.4, RFC 3848, RFC 8314 4.3).

    `recipient` is told in its ``for`` clause: give it only where the message has no other, or one recipient learns of
    another. What the peer called itself is written only when it could be a domain name or an address literal.
    """
    peer = envelope.peer
    lines = [
        _from(peer.name, peer.host),
        f"\r\n\tby {hostname} ({PROGRAM}) with {_with(envelope)}",
    ]
    if peer.tls:
        lines.append(f"\r\n\t({_comment(peer.tls)})")
    lines.append(f"\r\n\tid {envelope.trace_id}")
    if recipient is not None:
        lines.append(f"\r\n\tfor <{_clean(recipient.local, recipient.domain)}>")
    lines.append("; ")
    date = format_date(envelope.received_at or time.time())
    return "".join(lines).encode("utf-8", "replace") + date + b"\r\n"


@lru_cache(maxsize=1024)
def _from(name: str, host: str) -> str:
    """Hot path: the same peers come again and again."""
    return f"Received: from {name if _DOMAIN.fullmatch(name) else 'unknown'} ({_literal(host)})"


def return_path_field(sender: Address | None) -> bytes:
    """What local delivery puts on top of all: whom a bounce would go to (RFC 5321 4.4)."""
    path = "" if sender is None else _clean(sender.local, sender.domain)
    return f"Return-Path: <{path}>\r\n".encode("utf-8", "replace")


def delivered_to_field(address: Address) -> bytes:
    """The address that the message was delivered to here; when it comes by again, it is in a loop."""
    return f"Delivered-To: {_clean(address.local, address.domain)}\r\n".encode("utf-8", "replace")


def _with(envelope: Envelope) -> str:
    """The registered name of the protocol: RFC 3848, and RFC 6531 4.3's for SMTPUTF8."""
    peer = envelope.peer
    if peer.service == "lmtp":
        word = "LMTP"
    elif not peer.esmtp:
        return "SMTP"
    else:
        word = "SMTP" if envelope.smtputf8 else "ESMTP"
    return ("UTF8" if envelope.smtputf8 else "") + word + ("S" if peer.tls else "") + ("A" if peer.login else "")


def _literal(host: str) -> str:
    if not host or not _DOMAIN.fullmatch(host):
        return "local socket"
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


def _comment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.:/ -]", "", text)


@lru_cache(maxsize=1024)
def _clean(local: str, domain: str) -> str:
    """Hot path: three times a message, and of the same people again and again."""
    # An Address that was parsed has no controls in it; one that a plugin made may.
    text = str(Address(local, domain))
    return _UNSAFE.sub("?", text) if _UNSAFE.search(text) else text


__all__ = ["PROGRAM", "delivered_to_field", "new_trace_id", "received_field", "return_path_field"]
