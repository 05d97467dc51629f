"""Bringing the news to senders: a bounce or a notice is made, and is durable with its target, or is owed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import IDeliveryTarget, ISpool
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient
from twisted_mail_kit.metrics.catalogue import QUEUE_REPORTS
from twisted_mail_kit.queue.notices import Notice, Told, make_notice
from twisted_mail_kit.queue.returned import HEADER_SECTION
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.queue.timeline import word

_CHUNK = 256 * 1024


class Bounces:
    """Makes reports and gives them to `target`, which is the pipeline as a rule."""

    log = Logger()

    def __init__(
        self, target: IDeliveryTarget | None, spool: ISpool, clock: Any, settings: QueueSettings, hostname: str
    ) -> None:
        self.target = target
        self.spool = spool
        self.clock = clock
        self.settings = settings
        self.hostname = hostname

    async def tell(
        self,
        message: QueuedMessage,
        news: Sequence[tuple[QueuedRecipient, Outcome]],
        retry_until: float | None = None,
    ) -> Outcome:
        """One report about all of them, who have the same kind of news.

        Delivered: the report is durable. Failed: it can never be brought, and that is in the log. Delayed: not now,
        it is still owed.
        """
        try:
            notice = await self._make(message, news, retry_until)
            outcome = await self._deliver(notice)
        except CancelledError:
            raise
        except Refused as no:
            outcome = Failed(no.status)
        except TryLater as no:
            outcome = Delayed(no.status)
        except Exception:
            self.log.failure("a report about {trace_id} could not be brought", trace_id=message.id)
            outcome = Delayed(Status("4.3.0", "The report could not be brought"))
        QUEUE_REPORTS[word(outcome)].value += 1
        if isinstance(outcome, Failed):
            self.log.warn(
                "the sender {sender} of {trace_id} cannot be told what became of it: {text}",
                sender=message.envelope.sender,
                trace_id=message.id,
                text=outcome.status.text,
            )
        return outcome

    async def _make(
        self, message: QueuedMessage, news: Sequence[tuple[QueuedRecipient, Outcome]], retry_until: float | None
    ) -> Notice:
        told = [Told(queued.number, queued.recipient, _action(outcome), outcome.status) for queued, outcome in news]
        # RFC 3461 4.3: RET is about failures only.
        wanted = message.envelope.ret or {"full": "FULL", "headers": "HDRS"}[self.settings.returned]
        full = wanted == "FULL" and told[0].action == "failed" and message.size <= self.settings.returned_size
        return make_notice(
            message,
            told,
            original=await self._read(message, message.size if full else HEADER_SECTION + 4),
            full=full,
            hostname=self.hostname,
            postmaster=self.settings.postmaster,
            now=self.clock.seconds(),
            retry_until=retry_until,
        )

    async def _read(self, message: QueuedMessage, most: int) -> bytes:
        """The beginning of the message. The news is brought without it, where it cannot be read."""
        pieces: list[bytes] = []
        wanted = min(most, message.size)
        try:
            while wanted:
                octets = await self.spool.read_blob(message.blob_id, sum(map(len, pieces)), min(_CHUNK, wanted))
                if not octets:
                    break
                pieces.append(octets)
                wanted -= len(octets)
        except CancelledError:
            raise
        except Exception as problem:
            self.log.warn(
                "{trace_id} is reported on without its header section: {problem}", trace_id=message.id, problem=problem
            )
        return b"".join(pieces)

    async def _deliver(self, notice: Notice) -> Outcome:
        if self.target is None:
            return Delayed(Status("4.3.5", "There is nobody to give reports to"))
        delivery = await self.target.begin(notice.envelope)
        try:
            await delivery.add_recipient(notice.recipient)
            await delivery.write(notice.octets)
            outcome: Outcome = (await delivery.commit())[0]
            return outcome
        except BaseException:
            await delivery.abort()
            raise


def _action(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return "failed"
    if isinstance(outcome, Delayed):
        return "delayed"
    assert isinstance(outcome, Delivered)
    # With another server's words it went to that server; else it lies in a mailbox of ours.
    return "relayed" if outcome.status.remote else "delivered"
