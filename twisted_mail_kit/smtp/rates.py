"""How much mail an address may bring within a minute."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class RateBook:
    """Counts messages and recipients by source, over all connections of one listener."""

    log = Logger()

    def __init__(self, clock: IReactorTime, messages: int, recipients: int) -> None:
        self._clock = clock
        self._messages = messages
        self._recipients = recipients
        self._counts: Counter[tuple[str, str]] = Counter()
        self._minute = 0

    def may_send(self, source: str) -> bool:
        """Count a message; False: that is one too many."""
        return self._may(source, "messages", self._messages)

    def may_address(self, source: str) -> bool:
        """Count a recipient; False: that is one too many."""
        return self._may(source, "recipients", self._recipients)

    def _may(self, source: str, what: str, most: int) -> bool:
        minute = int(self._clock.seconds() // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        self._counts[source, what] += 1
        count = self._counts[source, what]
        if count == most + 1:  # once a minute, or the log is what the stranger fills
            self.log.info("too many {what} a minute from {source}", what=what, source=source)
        return count <= most
