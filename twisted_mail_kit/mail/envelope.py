"""The envelope: who sends to whom, over which connection, and what was asked for along with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted_mail_kit.mail.address import Address


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection, as far as is known by now. Made anew when more is known."""

    host: str
    """IP address as text, without scope; empty for a unix socket."""
    port: int = 0
    local_host: str = ""
    local_port: int = 0
    service: str = "smtp"
    """smtp, submission, lmtp, pop3, imap …: what the listener is for."""
    name: str = ""
    """What it called itself at HELO, EHLO or LHLO; empty before. Never to be trusted."""
    esmtp: bool = False
    """It said EHLO (or LHLO), not HELO."""
    tls: str = ""
    """Protocol and cipher as for a Received field, ``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty in clear text."""
    login: str = ""
    """The account's name after a successful AUTH; empty for a stranger."""
    is_local: bool = False
    """A loopback address or a unix socket: clear-text passwords do no harm."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT TO."""

    address: Address
    notify: frozenset[str] | None = None
    """RFC 3461 NOTIFY: ``{"NEVER"}`` or some of SUCCESS FAILURE DELAY; None: not said."""
    orcpt: str = ""
    """RFC 3461 ORCPT as given, ``rfc822;joe@example.org``; empty: not said."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One MAIL FROM and the connection it came over."""

    sender: Address | None
    """None is the null return path ``<>``."""
    peer: Peer
    trace_id: str
    """Follows the message through log, Received field, queue and bounces. See `mail.trace.new_trace_id`."""
    body: str = "7BIT"
    """``7BIT``, ``8BITMIME`` or ``BINARYMIME`` as declared (RFC 6152, RFC 3030)."""
    smtputf8: bool = False
    size: int | None = None
    """Octets as declared (RFC 1870)."""
    ret: str = ""
    """RFC 3461 RET: ``FULL``, ``HDRS`` or empty."""
    envid: str = ""
    """RFC 3461 ENVID, decoded; empty: not said."""
    auth: str = ""
    """RFC 4954 AUTH= parameter, decoded; empty: not said. Only to be believed of an authenticated peer."""
    require_tls: bool = False
    """RFC 8689."""
    received_at: float = field(default=0.0, compare=False)
    """Seconds since 1970 UTC."""
