"""What can be set about POP3."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt

from twisted_mail_kit.net.factory import ConnectionLimits


@frozen(kw_only=True)
class POP3Settings:
    """A POP3 listener."""

    connections: ConnectionLimits = field(factory=ConnectionLimits)
    """How many connections there may be, from whom."""
    login_time: float = field(default=60.0, validator=gt(0))
    """Seconds from the connection to a successful login; then it is closed."""
    idle_time: float = field(default=600.0, validator=gt(0))
    """Seconds of silence after login; then the connection is closed and nothing is deleted. RFC 1939 asks for at
    least ten minutes."""
    line_length: int = field(default=512, validator=ge(255))
    """Octets of a command, with its line end."""
    response_length: int = field(default=12288, validator=ge(255))
    """Octets of a line within AUTH, with its line end."""
    errors: int = field(default=20, validator=ge(1))
    """Wrong commands and refused logins a connection; then it is closed."""
    lock: bool = True
    """One session an account at a time, within this process; a second one is refused with [IN-USE]."""
    mark_seen: bool = True
    r"""Messages that were retrieved get \Seen at QUIT, so that IMAP and web mail show them as read."""
    page: int = field(default=1000, validator=ge(1))
    """Rows asked of the store at once."""
    read_ahead: int = field(default=16 * 1024 * 1024, validator=ge(0))
    """Octets of messages that may be held for clients that take one after the other, before they ask for them: of all
    sessions together, 96 KB each at most."""
    chunk: int = field(default=64 * 1024, validator=ge(1))
    """Octets of a message asked of the store at once."""
