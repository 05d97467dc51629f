"""What can be set about an SMTP, submission or LMTP listener."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen
from attrs.validators import ge, in_

from twisted_mail_kit.net.factory import ConnectionLimits


@frozen(kw_only=True)
class SMTPSettings:
    """Sizes are in octets, times in seconds."""

    message_size: int = field(default=50 * 1024 * 1024, validator=ge(1))
    """The greatest message that is taken; told as SIZE. 552 5.3.4 above it."""
    recipients: int = field(default=1000, validator=ge(100))
    """The most recipients of one message. 452 4.5.3 above it. RFC 5321 4.5.3.1.8 asks for 100 at least."""
    messages: int = field(default=100, validator=ge(1))
    """The most messages over one connection; 421 above it, and the client may come again."""
    errors: int = field(default=20, validator=ge(1))
    """Errors that a client may make without a message being delivered; 421 4.7.0 at the next one."""
    unknown_commands: int = field(default=3, validator=ge(1))
    """Unknown commands, overlong lines and lines that do not end in CR LF; 421 4.7.0 at the next one."""
    junk_commands: int = field(default=100, validator=ge(1))
    """NOOP, RSET, VRFY, HELP, EHLO … without a message being delivered; 421 4.7.0 at the next one."""
    messages_per_minute: int = field(default=300, validator=ge(1))
    """Messages from one IPv4 address or IPv6 /64; 450 4.7.1 above it. Loopback and LMTP are not counted."""
    recipients_per_minute: int = field(default=1000, validator=ge(1))
    """Recipients from one IPv4 address or IPv6 /64; 450 4.7.1 above it. Loopback and LMTP are not counted."""
    line_length: int = field(default=2048, validator=ge(512))
    """The longest command line, with its CR LF. 500 5.5.2 above it."""
    auth_line_length: int = field(default=12288, validator=ge(512))
    """The longest line of an AUTH exchange (RFC 4954 4)."""
    time_to_greet: float = field(default=30.0, validator=ge(0.1))
    """From our greeting to the client's EHLO. 421 4.4.2 after it, as with the other times."""
    time_between_commands: float = field(default=300.0, validator=ge(0.1))
    """From our reply to the next command."""
    time_in_data: float = field(default=180.0, validator=ge(0.1))
    """Within a message, without any octets coming."""
    time_for_message: float = field(default=1800.0, validator=ge(0.1))
    """For the octets of one whole message."""
    greeting_delay: float = field(default=0.0, validator=ge(0))
    """How long to wait before the greeting, to see who talks first."""
    reject_unauth_pipelining: bool = True
    """Whether a client that speaks before the greeting, before the answer to EHLO, or before 354, is sent away with
    554. LMTP clients may."""
    unknown_recipient_delay: float = field(default=1.0, validator=ge(0))
    """The third recipient that is refused over a connection waits so long for its answer, the next one twice as long,
    and so on up to ten seconds. Not with LMTP."""
    bare_line_ends: Literal["refuse", "rewrite", "keep"] = field(
        default="refuse", validator=in_(("refuse", "rewrite", "keep"))
    )
    """What is done with a message that has an LF without CR, or a CR without LF: 550 5.6.11, make CR LF of it, or take
    it as it is. In no case does one end the message."""
    offer_requiretls: bool = False
    """Whether REQUIRETLS (RFC 8689) is offered under TLS; only where the way onwards keeps the promise."""
    transcript: bool = False
    """Whether the log gets every command and every reply, at the level debug; no passwords and no messages."""
    connections: ConnectionLimits = field(factory=ConnectionLimits)
    """How many connections are taken."""
