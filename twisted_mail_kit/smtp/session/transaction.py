"""One message on its way through a session: its recipients, its octets, what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from twisted_mail_kit.interfaces import IDelivery
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Outcome
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.smtp.wire.data import LineEnds
from twisted_mail_kit.smtp.wire.replies import Reply, reply

_BARE = reply(550, "5.6.11", "Lines have to end in CR LF, and CR or LF are nowhere else")


class Transaction:
    """From MAIL to the last octet. After a `problem` the octets are heard, and forgotten."""

    def __init__(
        self,
        envelope: Envelope,
        delivery: IDelivery,
        message_size: int,
        bare_line_ends: Literal["refuse", "rewrite", "keep"],
        explain: Callable[[Exception, str], Reply],
    ) -> None:
        self.envelope = envelope
        self.recipients: list[Recipient] = []
        self.size = 0
        self.problem: Reply | None = None
        """Why the message will not be taken."""
        self.deadline: float | None = None
        """When its octets have to be here; None: they have not begun to come."""
        self._delivery = delivery
        self._message_size = message_size
        self._refuses_bare = bare_line_ends == "refuse"
        self._line_ends = None if envelope.body == "BINARYMIME" else LineEnds(bare_line_ends)
        self._explain = explain

    async def add(self, recipient: Recipient) -> None:
        """Raises what the delivery raises."""
        await self._delivery.add_recipient(recipient)
        self.recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        """The next octets; returns when more can be taken."""
        self.size += len(octets)
        if self.problem is not None:
            return
        if self.size > self._message_size:
            limits.SMTP_MESSAGE_SIZE.value += 1
            await self.refuse(reply(552, "5.3.4", f"More than {self._message_size} octets"))
            return
        if self._line_ends is not None:
            octets = self._line_ends.take(octets)
        await self._pass_on(octets)

    async def commit(self) -> Sequence[Outcome] | Reply:
        """An outcome a recipient, or the reply for all of them."""
        if self.problem is None and self._line_ends is not None:
            await self._pass_on(self._line_ends.finish())
        if self.problem is not None:
            return self.problem
        try:
            outcomes = await self._delivery.commit()
            if len(outcomes) != len(self.recipients):
                raise RuntimeError(f"{len(outcomes)} outcomes for {len(self.recipients)} recipients")
        except Exception as problem:
            await self.refuse(self._explain(problem, "delivery"))
            assert self.problem is not None
            return self.problem
        return outcomes

    async def refuse(self, problem: Reply) -> None:
        """It is not taken any more; let go of what the target has of it."""
        self.problem = problem
        await self.abort()

    async def abort(self) -> None:
        """Forget it. Never raises."""
        try:
            await self._delivery.abort()
        except Exception as problem:
            self._explain(problem, "abort")

    async def _pass_on(self, octets: bytes) -> None:
        if self._refuses_bare and self._line_ends is not None and self._line_ends.has_bare:
            await self.refuse(_BARE)
        elif octets:
            try:
                await self._delivery.write(octets)
            except Exception as problem:
                await self.refuse(self._explain(problem, "delivery"))
