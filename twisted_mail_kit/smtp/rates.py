"""How much mail an address may bring within a minute."""

from __future__ import annotations

from twisted.logger import Logger

from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.instruments import Number
from twisted_mail_kit.net.shared import Shared


class RateBook:
    """Counts messages and recipients by source, over all connections of one service."""

    log = Logger()

    def __init__(self, shared: Shared, service: str, messages: int, recipients: int) -> None:
        self._shared = shared
        self._service = service
        self._messages = messages
        self._recipients = recipients

    def may_send(self, source: str) -> bool:
        """Count a message; False: that is one too many."""
        return self._may(source, "messages", self._messages, limits.SMTP_MESSAGES_PER_MINUTE)

    def may_address(self, source: str) -> bool:
        """Count a recipient; False: that is one too many."""
        return self._may(source, "recipients", self._recipients, limits.SMTP_RECIPIENTS_PER_MINUTE)

    def _may(self, source: str, what: str, most: int, limit: Number) -> bool:
        count = self._shared.note((self._service, what, source))
        if count == most + 1:  # once a minute, or the log is what the stranger fills
            self.log.info("too many {what} a minute from {source}", what=what, source=source)
        if count > most:
            limit.value += 1
        return count <= most
