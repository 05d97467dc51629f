"""A message on its way into the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_mail_kit.interfaces import IBlobWriter, IDelivery
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Delivered, Outcome, Status

if TYPE_CHECKING:
    from twisted_mail_kit.queue.queue import Queue

QUEUED = Delivered(Status("2.0.0", "queued"))


@implementer(IDelivery)
class Intake:
    """Writes the octets into the spool while they come; keeps those of a small message in memory too, for its first
    attempt."""

    def __init__(self, queue: Queue, envelope: Envelope) -> None:
        self._queue = queue
        self._envelope = envelope
        self._recipients: list[Recipient] = []
        self._writer: IBlobWriter | None = None
        self._pieces: list[bytes] | None = []
        self._size = 0

    async def add_recipient(self, recipient: Recipient) -> None:
        """Every recipient is taken: where it leads is found out at the attempt."""
        self._recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        """Raises what the spool raises."""
        self._size += len(octets)
        if self._pieces is not None:
            if self._size <= self._queue.settings.memory:
                self._pieces.append(octets)
            else:
                self._pieces = None
        await self._begun().write(octets)

    async def commit(self) -> Sequence[Outcome]:
        """Durable when this returns."""
        if not self._recipients:
            await self.abort()
            return []
        writer = self._begun()
        try:
            blob_id = await writer.commit()
            octets = None if self._pieces is None else b"".join(self._pieces)
            await self._queue.take(self._envelope, self._recipients, blob_id, self._size, octets)
        except BaseException:
            await writer.abort()
            raise
        return [QUEUED] * len(self._recipients)

    async def abort(self) -> None:
        """Nothing was queued."""
        self._pieces = None
        if self._writer is not None:
            await self._writer.abort()

    def _begun(self) -> IBlobWriter:
        if self._writer is None:
            self._writer = self._queue.spool.new_blob(self._envelope.size)
        return self._writer
