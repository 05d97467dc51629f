"""Lines for the timelines of messages."""

from __future__ import annotations

from twisted_mail_kit.mail.outcome import Delayed, Delivered, Outcome
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, TraceEvent
from twisted_mail_kit.queue.words import answer, one_line


def said(
    message: QueuedMessage,
    now: float,
    event: str,
    recipient: QueuedRecipient | None = None,
    text: str = "",
    remote: str = "",
) -> TraceEvent:
    """One line."""
    address = one_line(str(recipient.recipient.address), 400) if recipient is not None else ""
    return TraceEvent(message.id, now, event, address, one_line(remote, 300), one_line(text))


def brought(message: QueuedMessage, now: float, recipient: QueuedRecipient, outcome: Outcome) -> TraceEvent:
    """What an attempt brought for one recipient, in the other side's words."""
    return said(message, now, word(outcome), recipient, answer(outcome.status), outcome.status.remote)


def word(outcome: Outcome) -> str:
    """What a timeline and a log call it."""
    if isinstance(outcome, Delivered):
        return "delivered"
    return "delayed" if isinstance(outcome, Delayed) else "failed"
