"""How much of anything one command may hold."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class WireLimits:
    """Sizes are in octets. What is over a limit is BAD at once; before more of it is read."""

    line: int = 64 * 1024
    """A command without its literals. A longer one ends the connection."""
    literal: int = 64 * 1024
    """One literal in a command, other than APPEND's message. A longer LITERAL+ ends the connection."""
    command: int = 1024 * 1024
    """A command with all its literals, other than APPEND's message."""
    message: int = 50 * 1024 * 1024
    """APPEND's message. A longer one is NO [TOOBIG], and ends the connection where it is a LITERAL+."""
    nesting: int = 100
    """Parentheses within each other, and levels of a body section's part number."""
    search_keys: int = 1000
    """Keys of one SEARCH, all together."""
    set_ranges: int = 10_000
    """Ranges of one sequence set."""
    wildcards: int = 10
    """``*`` and ``%`` of one LIST, all together."""
