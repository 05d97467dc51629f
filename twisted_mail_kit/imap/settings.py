"""What an operator can set for IMAP, each with its default."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge

from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.net.factory import ConnectionLimits


@frozen(kw_only=True)
class IMAPSettings:
    """The table ``[imap]``. Sizes are octets, times seconds."""

    message_size: int = field(default=50 * 1024 * 1024, validator=ge(1))
    """The largest message that APPEND takes."""
    line_size: int = field(default=64 * 1024, validator=ge(1024))
    """A command without its literals; a longer one is answered BAD."""
    literal_size: int = field(default=64 * 1024, validator=ge(1024))
    """One literal in a command, other than APPEND's message."""
    nesting: int = field(default=100, validator=ge(10))
    """Parentheses within each other."""
    search_keys: int = field(default=1000, validator=ge(10))
    """Keys of one SEARCH."""
    set_ranges: int = field(default=10_000, validator=ge(100))
    """Ranges of one sequence set."""
    list_wildcards: int = field(default=10, validator=ge(1))
    """``*`` and ``%`` of one LIST."""
    login_time: float = field(default=60.0, validator=ge(1))
    """From the greeting until the login is done."""
    idle_time: float = field(default=30 * 60.0, validator=ge(1))
    """Silence after login before the session is logged out; RFC 3501 5.4 asks for 30 minutes at least."""
    bad_commands_before_login: int = field(default=20, validator=ge(1))
    """Commands answered BAD or NO before login; then the connection ends."""
    bad_commands: int = field(default=100, validator=ge(1))
    """Commands answered BAD, one after the other, after login; then the connection ends."""
    sessions_per_account: int = field(default=50, validator=ge(1))
    """Logged in at the same time."""
    views: int = field(default=1024 * 1024 * 1024, validator=ge(1024 * 1024))
    """Octets that a listener's open mailboxes may hold in memory together, some 20 a message; when a SELECT needs more,
    those that nobody has selected any more go first, then it is answered NO [UNAVAILABLE] (one of a thousand messages
    is always opened)."""
    search_memory: int = field(default=64 * 1024 * 1024, validator=ge(0))
    """Octets that a listener's indexes for SEARCH may hold in memory together; 0: there are none, and every SEARCH
    reads all messages."""
    search_disk: int = field(default=2 * 1024 * 1024 * 1024, validator=ge(0))
    """Octets that these indexes may have in the state folder, some 1,000 a small message; those of mailboxes that were
    searched in least lately are removed first. 0: none is kept there."""
    connections: ConnectionLimits = field(factory=lambda: ConnectionLimits(per_address=100))
    """How many connections are taken."""
    mailboxes: int = field(default=10_000, validator=ge(1))
    """Mailboxes of one account."""
    keywords: int = field(default=200, validator=ge(0))
    """Different keywords of one account that clients may make."""
    keyword_length: int = field(default=100, validator=ge(1))
    """Characters of a keyword."""
    name_depth: int = field(default=20, validator=ge(1))
    """Levels of a mailbox name."""
    name_length: int = field(default=255, validator=ge(16))
    """Octets of one level of a mailbox name, in UTF-8."""

    def wire_limits(self) -> WireLimits:
        """The limits that the parser keeps."""
        return WireLimits(
            line=self.line_size,
            literal=self.literal_size,
            message=self.message_size,
            nesting=self.nesting,
            search_keys=self.search_keys,
            set_ranges=self.set_ranges,
            wildcards=self.list_wildcards,
        )
