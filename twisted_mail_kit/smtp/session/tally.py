"""What a client has done so far over one connection, where there is a limit to it."""

from __future__ import annotations


class Tally:
    """Counts of one connection; they outlive STARTTLS."""

    def __init__(self) -> None:
        self.messages = 0
        """MAIL commands that were accepted."""
        self.errors = 0
        self.unknown = 0
        self.junk = 0
        self.refused = 0
        """Recipients."""
        self.is_crowded = False
        """It was told in the log that a message had too many recipients."""

    def delivered(self) -> None:
        """A message was delivered: whoever brings mail may make mistakes on the way."""
        self.errors = 0
        self.junk = 0
