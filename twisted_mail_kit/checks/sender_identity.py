"""Whoever logged in sends under addresses of his own only (RFC 6409 6.1)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from twisted_mail_kit.checks import Check
from twisted_mail_kit.checks.settings import SenderIdentitySettings
from twisted_mail_kit.errors import Refused
from twisted_mail_kit.interfaces import IAccounts, IReceivedMessage
from twisted_mail_kit.mail.address import Address, make_address
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.headers import Headers, parse_address_list
from twisted_mail_kit.mail.outcome import Status

NOT_YOURS = Status("5.7.1", "The sender address does not belong to this login", 553)
NOT_YOUR_FROM = Status("5.7.1", "The From address does not belong to this login", 553)


class SenderIdentity(Check):
    """Asks `IAccounts.may_send_as`. Says nothing of mail that comes without a login. The null return path may be used
    by everybody: receipts are sent with it (RFC 8098 3)."""

    log = Logger()
    name = "sender-identity"

    def __init__(self, accounts: IAccounts, settings: SenderIdentitySettings | None = None) -> None:
        self.accounts = accounts
        self.settings = settings or SenderIdentitySettings()

    async def sender(self, envelope: Envelope) -> None:
        """Raises Refused: 553 5.7.1."""
        login = envelope.peer.login
        if not login or envelope.sender is None or not self.settings.return_path:
            return
        if not await self.accounts.may_send_as(login, envelope.sender):
            self.log.info("{login} may not send as {sender}", login=login, sender=envelope.sender)
            raise Refused(NOT_YOURS)

    async def message(
        self, envelope: Envelope, recipients: Sequence[Recipient], message: IReceivedMessage
    ) -> bytes | None:
        """Every address in From and Sender counts, also one that cannot be understood. Raises Refused: 553 5.7.1."""
        login = envelope.peer.login
        if not login or not self.settings.header:
            return None
        headers = message.headers
        assert isinstance(headers, Headers)
        for value in (*headers.all(b"From"), *headers.all(b"Sender")):
            for one in parse_address_list(value):
                if one.domain is None:
                    continue  # where a group begins or ends
                address = _address(one.local, one.domain)
                if address is None or not await self.accounts.may_send_as(login, address):
                    self.log.info("{login} may not write {address} into From", login=login, address=address)
                    raise Refused(NOT_YOUR_FROM)
        return None


def _address(local: bytes | None, domain: bytes) -> Address | None:
    try:
        return make_address((local or b"").decode(), domain.decode())
    except ValueError:
        return None
