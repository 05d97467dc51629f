"""The owner's way out, as a worker has it: a delivery target at the other end of the line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from zope.interface import implementer

from twisted_mail_kit.interfaces import Envelope, IDelivery, IDeliveryTarget, Outcome, Recipient
from twisted_mail_kit.workers.line import Line
from twisted_mail_kit.workers.remote_store import PIECE


@implementer(IDeliveryTarget)
class RemoteTarget:
    """Hands messages to the owner's target; what that one answers and raises is answered and raised here."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._numbers = count(1)

    async def begin(self, envelope: Envelope) -> IDelivery:
        """See IDeliveryTarget."""
        number = next(self._numbers)
        await self.line.ask("begin_delivery", number, envelope)
        return _Delivery(self.line, number)


@implementer(IDelivery)
class _Delivery:
    """One message on its way to the owner."""

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._number = number
        self._pieces: list[bytes] = []
        self._held = 0
        self._is_over = False

    async def add_recipient(self, recipient: Recipient) -> None:
        await self._line.ask("add_recipient_delivery", self._number, recipient)

    async def write(self, octets: bytes) -> None:
        for start in range(0, len(octets), PIECE):
            piece = bytes(octets[start : start + PIECE])
            self._pieces.append(piece)
            self._held += len(piece)
            if self._held >= PIECE:
                await self._line.ask("write_delivery", self._number, self._gathered())

    async def commit(self) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self._line.ask("commit_delivery", self._number, self._gathered())
        self._is_over = True
        return outcomes

    async def abort(self) -> None:
        self._give_up()

    def __del__(self) -> None:
        self._give_up()

    def _give_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._line.mention("abort_delivery", self._number)

    def _gathered(self) -> bytes:
        octets, self._pieces, self._held = b"".join(self._pieces), [], 0
        return octets
