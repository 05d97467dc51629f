"""Addresses and refusals, from our words to those of `twisted.mail` and back."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.mail.smtp import Address as TheirAddress
from twisted.mail.smtp import AddressError, SMTPServerError

from twisted_mail_kit.errors import MailError, Refused, TryLater
from twisted_mail_kit.mail.address import Address, BadAddress
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.mail.outcome import Status

_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})[ \t]+(.*)", re.ASCII)
_UNSAFE = re.compile(r"[^\x20-\x7e]+")


def their_address(address: Address | None, hostname: str) -> TheirAddress:
    """A sender or recipient; None is the null return path. Raises Refused for one that `twisted.mail` cannot say:
    it has no SMTPUTF8 (RFC 6531). A domain's A-labels it can."""
    if address is None:
        return TheirAddress(b"")
    try:
        return TheirAddress(str(address.to_ascii()).encode("ascii"), hostname.encode("ascii"))
    except BadAddress as problem:
        raise Refused(Status("5.6.7", "An address outside ASCII cannot be taken here", 553)) from problem
    except AddressError as problem:
        raise Refused(Status("5.1.3", "That address cannot be taken here", 553)) from problem


def their_protocol(peer: Peer, hostname: str) -> Any:
    """What stands for the connection as a User's `protocol`: its `host`, and a `transport` that knows both ends. Not a
    protocol: it has no factory and cannot be written to. `peer` is all that we know."""
    there, here = _their_end(peer.host, peer.port), _their_end(peer.local_host, peer.local_port)
    transport = SimpleNamespace(getPeer=lambda: there, getHost=lambda: here)
    return SimpleNamespace(host=hostname.encode("ascii"), transport=transport, peer=peer)


def our_error(problem: Exception, enhanced: str) -> MailError | None:
    """What an exception out of an IMessageDelivery means; None: nobody expected it. `enhanced` is what the reply's
    enhanced code ends with (``1.0``: the address) where it brings none of its own."""
    if isinstance(problem, MailError):
        return problem
    if not isinstance(problem, SMTPServerError):
        return None
    code = problem.code
    text = problem.resp.decode("utf-8", "replace") if isinstance(problem.resp, bytes) else str(problem.resp)
    text = _UNSAFE.sub(" ", text).strip()[:400]
    if not isinstance(code, int) or code // 100 not in (4, 5):
        return None  # a refusal that is none
    found = _ENHANCED.match(text)
    if found is not None and found[1][0] == str(code // 100):
        status = Status(found[1], found[2], code)
    else:
        status = Status(f"{code // 100}.{enhanced}", text or "Refused", code)
    return TryLater(status) if code // 100 == 4 else Refused(status)


def _their_end(host: str, port: int) -> Any:
    if not host:
        return UNIXAddress(None)
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
