"""Checks: questions asked of mail on its way in, one a file."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from twisted_mail_kit.interfaces import ICheck, IReceivedMessage
from twisted_mail_kit.mail.destination import Destination
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient


@implementer(ICheck)
class Check:
    """A check that asks nothing: inherit it, and write the methods that you care about. The others cost nothing."""

    name = "check"

    async def connected(self, peer: Peer) -> None:
        """A connection, before the greeting."""

    async def greeted(self, peer: Peer) -> None:
        """After HELO or EHLO."""

    async def sender(self, envelope: Envelope) -> None:
        """After MAIL FROM."""

    async def recipient(self, envelope: Envelope, recipient: Recipient, destination: Destination | None) -> None:
        """After RCPT TO; `destination` is None for an address that is not ours."""

    async def message(
        self, envelope: Envelope, recipients: Sequence[Recipient], message: IReceivedMessage
    ) -> bytes | None:
        """At the end of data. Answers header fields to put on top, whole lines ended by CR LF; or nothing."""
        return None
