"""What an SMTP or LMTP client can say, as values: the parser makes them, `smtp/session/` does them."""

from __future__ import annotations

from typing import NamedTuple

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.smtp.wire.replies import Reply


class Hello(NamedTuple):
    """HELO, EHLO (RFC 5321 4.1.1.1) or LHLO (RFC 2033 4.1)."""

    verb: str
    name: str


class StartTls(NamedTuple):
    """RFC 3207."""


class Auth(NamedTuple):
    """RFC 4954 4; `initial` as it was sent, in base64; None where there is none."""

    mechanism: str
    initial: bytes | None


class Mail(NamedTuple):
    """MAIL FROM (RFC 5321 4.1.1.2) with the parameters of RFC 1870, 3030, 3461, 4954, 6152, 6531, 8689."""

    sender: Address | None
    has_utf8: bool = False
    """The path has octets outside ASCII."""
    size: int | None = None
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    """Decoded."""
    auth: str = ""
    """Decoded; ``<>`` is kept so."""
    require_tls: bool = False


class Rcpt(NamedTuple):
    """RCPT TO (RFC 5321 4.1.1.3) with the parameters of RFC 3461."""

    address: Address
    has_utf8: bool = False
    notify: frozenset[str] | None = None
    orcpt: str = ""


class Data(NamedTuple):
    """RFC 5321 4.1.1.4. Say 354 and tell the wire: `ServerWire.expect_data`; the message comes as `Content`."""


class Bdat(NamedTuple):
    """RFC 3030 2. Its octets follow as `Content`, in any case."""

    size: int
    is_last: bool


class Rset(NamedTuple):
    """RFC 5321 4.1.1.5."""


class Noop(NamedTuple):
    """RFC 5321 4.1.1.9."""


class Help(NamedTuple):
    """RFC 5321 4.1.1.8."""


class Vrfy(NamedTuple):
    """RFC 5321 4.1.1.6."""


class Expn(NamedTuple):
    """RFC 5321 4.1.1.7."""


class Quit(NamedTuple):
    """RFC 5321 4.1.1.10."""


class Content(NamedTuple):
    """The next octets of a message, without dot-stuffing; with `is_last`, the end of DATA, or of one BDAT."""

    octets: bytes
    is_last: bool


class Response(NamedTuple):
    """A line of an AUTH exchange, as it was sent, in base64 or ``*``."""

    octets: bytes


class Unknown(NamedTuple):
    """A command that we do not know."""

    reply: Reply


class Bad(NamedTuple):
    """A command that cannot be understood."""

    reply: Reply
    loses_step: bool = False
    """What follows may not be a command at all, so the session has to end."""


class BadLine(NamedTuple):
    """A line that is too long, or does not end in CR LF."""

    reply: Reply
    is_too_long: bool = False


Command = Hello | StartTls | Auth | Mail | Rcpt | Data | Bdat | Rset | Noop | Help | Vrfy | Expn | Quit
Event = Command | Content | Response | Unknown | Bad | BadLine
