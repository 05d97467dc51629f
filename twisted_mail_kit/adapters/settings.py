"""What can be set about parts of `twisted.mail` that a configuration mounts."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, matches_re

_OBJECT = matches_re(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@frozen(kw_only=True)
class MailboxSettings:
    """A realm that gives IMailboxPOP3 avatars."""

    object: str = field(validator=_OBJECT)
    """Where it is, ``shop.mail:service.portals``: a portal, a realm, or a mapping of domains to them; or a function
    without arguments that makes it, called once."""
    patience: float = field(default=60.0, validator=ge(0.1))
    """Seconds for each of its answers."""
    count_sizes: bool = False
    """Whether each message is read once, for the exact size that LIST should tell; without it what the mailbox says."""


@frozen(kw_only=True)
class LoginsSettings:
    """A twisted.cred checker or portal."""

    object: str = field(validator=_OBJECT)
    """Where it is, ``shop.mail:checker``: an ICredentialsChecker, a portal, or a mapping of domains to portals; or a
    function without arguments that makes it, called once."""
    patience: float = field(default=60.0, validator=ge(0.1))
    """Seconds for each of its answers, where it is a portal or a mapping."""
    cram_md5: bool = False
    """Whether CRAM-MD5 is offered, for clients that were set to it. It needs a checker that has passwords in clear
    text; in a connection without TLS it is not offered either."""


@frozen(kw_only=True)
class MessageDeliverySettings:
    """Whatever takes messages in `twisted.mail`."""

    object: str = field(validator=_OBJECT)
    """Where it is, ``shop.mail:service.smtpPortal``: an IMessageDeliveryFactory, an IMessageDelivery, a portal or a
    realm; or a function without arguments that makes it, called once."""
    patience: float = field(default=60.0, validator=ge(0.1))
    """Seconds for each of its answers."""
    received_header: bool = True
    """Whether its `receivedHeader` is asked for a field of its own, below ours."""
    line_length: int = field(default=1024 * 1024, validator=ge(998))
    """Octets of a line in a message, at most; 550 5.6.0 above it."""
