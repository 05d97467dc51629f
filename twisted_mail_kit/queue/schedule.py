"""When to try again, when to tell the sender, and when to give up."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from random import Random

from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Outcome, Status
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient
from twisted_mail_kit.queue.settings import QueueSettings

_TOGETHER = 30

EXPIRED = "5.4.7"
"""RFC 3463: delivery time expired."""


class Schedule:
    """The settings as questions. Nothing here has a memory but the source of chance."""

    def __init__(self, settings: QueueSettings, random: Random) -> None:
        self.settings = settings
        self.random = random

    def gap(self, attempts: int) -> float:
        """Seconds from attempt number `attempts` (from 0) to the next one."""
        return self._vary(self.settings.gaps, attempts)

    def dead_gap(self, times: int) -> float:
        """Seconds for which a dead destination is left alone, after it was found dead so many times (from 0)."""
        return self._vary(self.settings.dead_gaps, times)

    def expires(self, message: QueuedMessage) -> float:
        """When the message is given up."""
        return message.envelope.received_at + self.settings.age

    def next_try(self, message: QueuedMessage, recipient: QueuedRecipient, now: float, not_before: float) -> float:
        """After an attempt at `now` that brought nothing, or was put off until `not_before`.

        The last one comes when the message expires, and not long after it."""
        later = now + self.gap(recipient.attempts)
        if not_before:
            # Those who are put off together come back together, and cost one look at the spool.
            later = ceil(max(later, not_before) / _TOGETHER) * _TOGETHER
        expires = self.expires(message)
        return expires if now < expires < later else later

    def judge(self, message: QueuedMessage, outcome: Outcome, now: float) -> Outcome:
        """The outcome of an attempt; a delay of a message that is too old is a failure, in the words of the delay."""
        if isinstance(outcome, Delayed) and now >= self.expires(message):
            return Failed(outcome.status._replace(code=EXPIRED))
        return outcome

    def owes_delay_notice(self, message: QueuedMessage, recipient: QueuedRecipient, now: float) -> bool:
        """The sender has waited long enough to be told, was not told yet, and wants to know."""
        patience = self.settings.delay_notice
        return (
            patience > 0
            and not recipient.delay_told
            and now >= message.envelope.received_at + patience
            and wants(message.envelope, recipient.recipient, "DELAY")
        )

    def _vary(self, gaps: Sequence[float], index: int) -> float:
        gap = gaps[min(max(index, 0), len(gaps) - 1)]
        share = self.settings.jitter
        return gap * self.random.uniform(1 - share, 1 + share) if share else gap


def wants(envelope: Envelope, recipient: Recipient, event: str) -> bool:
    """Whether the sender is to be told of SUCCESS, FAILURE or DELAY (RFC 3461 4.1). A null sender never is: there
    would be no end to it (RFC 5321 6.1)."""
    if envelope.sender is None:
        return False
    if recipient.notify is None:
        return event != "SUCCESS"
    return event in recipient.notify


def owes_success_notice(envelope: Envelope, recipient: Recipient, outcome: Delivered) -> bool:
    """The sender wants to know that it arrived, and the next server has not taken over to tell (RFC 3461 5.2.2)."""
    return wants(envelope, recipient, "SUCCESS") and not outcome.will_notify


def is_unreachable(outcomes: Sequence[Outcome]) -> bool:
    """The attempt did not even get to speak with the destination: it says nothing about the message.

    RFC 3463 3.5: x.4.x is about networks and routing; 4.4.6 and 4.4.7 would be about the message. x.3.2 is a server
    that is closed; 421 says the same in RFC 5321.
    """
    return bool(outcomes) and all(isinstance(one, Delayed) and _is_about_the_network(one.status) for one in outcomes)


def _is_about_the_network(status: Status) -> bool:
    if status.reply == 421:
        return True
    return status.code == "4.3.2" or (status.code.startswith("4.4.") and status.code not in ("4.4.6", "4.4.7"))
