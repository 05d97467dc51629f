"""What can be set about a connection to another server."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge


@frozen(kw_only=True)
class ClientTimes:
    """How long to wait for another server, in seconds (RFC 5321 4.5.3.2)."""

    connect: float = field(default=30.0, validator=ge(0.1))
    """For the connection."""
    greeting: float = field(default=300.0, validator=ge(0.1))
    """For its greeting (RFC 5321 4.5.3.2.1)."""
    hello: float = field(default=300.0, validator=ge(0.1))
    """For the answer to EHLO, HELO, LHLO, STARTTLS with its handshake, and each step of AUTH."""
    mail: float = field(default=300.0, validator=ge(0.1))
    """For the answer to MAIL, and to RSET (RFC 5321 4.5.3.2.2)."""
    rcpt: float = field(default=300.0, validator=ge(0.1))
    """For the answer to each RCPT (RFC 5321 4.5.3.2.3)."""
    data: float = field(default=120.0, validator=ge(0.1))
    """For the answer to DATA (RFC 5321 4.5.3.2.4)."""
    block: float = field(default=180.0, validator=ge(0.1))
    """For the other side to read on, while a message is sent (RFC 5321 4.5.3.2.5)."""
    final: float = field(default=600.0, validator=ge(0.1))
    """For the answer to the message (RFC 5321 4.5.3.2.6). A shorter time makes duplicates."""
    quit: float = field(default=5.0, validator=ge(0.1))
    """For the answer to QUIT, which nobody needs."""
