"""What happened, in SMTP's words: exceptions and outcomes to replies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from twisted_mail_kit import errors
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Outcome, Status
from twisted_mail_kit.smtp.wire.replies import Reply, reply

REPLIES: dict[type[BaseException], Reply] = {
    errors.OverQuota: reply(452, "4.2.2", "No room for it now"),
    errors.LimitReached: reply(452, "4.3.1", "A limit of the server is reached"),
    errors.AccountNotFound: reply(550, "5.1.1", "No such recipient here"),
    errors.TooManyLogins: reply(454, "4.7.0", "Too many logins now, try again later"),
    errors.AuthenticationFailed: reply(535, "5.7.8", "Wrong user name or password"),
    errors.MechanismNotSupported: reply(504, "5.5.4", "No such mechanism here"),
    errors.BadSyntax: reply(501, "5.5.2", "Malformed"),
    errors.Unavailable: reply(451, "4.3.0", "Not available now, try again later"),
}
"""An exception that is not here, and is no Refused or TryLater, is one that nobody expected."""

# Reply codes of enhanced codes that do not go with 550 and 451. RFC 5321 4.2.3 knows 452 and 552 as those of storage.
_CODES = {"4.2.2": 452, "4.3.1": 452, "4.5.3": 452, "5.2.2": 552, "5.2.3": 552, "5.3.4": 552}
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z", re.ASCII)


def reply_to(problem: BaseException, default: int = 0) -> Reply | None:
    """The reply to an exception from a door; None: it is an unexpected one. `default` is the code of a Refused that
    brings none of its own."""
    if isinstance(problem, errors.Refused):
        return _of_status(problem.status, 5, default)
    if isinstance(problem, errors.TryLater):
        return _of_status(problem.status, 4)
    for kind in type(problem).__mro__:
        known = REPLIES.get(kind)
        if known is not None:
            return known
    return None


def reply_to_outcome(outcome: Outcome, trace_id: str) -> Reply:
    """One recipient's reply, as LMTP gives it (RFC 2033 4.2)."""
    if isinstance(outcome, Delivered):
        return reply(250, "2.0.0", f"{trace_id} kept")
    return _of_status(outcome.status, 4 if isinstance(outcome, Delayed) else 5)


def fold(outcomes: Sequence[Outcome], trace_id: str) -> Reply:
    """All recipients' outcomes in SMTP's one reply.

    250 where at least one has the message: anything else would let the client send it again to those who have it, or
    bounce it for them. The target has to care for the rest, which a durable one (the queue, the pipeline) avoids or
    bounces. Else 4xx where one may still be delivered to, since the client keeps the message for all then; else 5xx.
    """
    for outcome in outcomes:
        if isinstance(outcome, Delivered):
            return reply_to_outcome(outcome, trace_id)
    for outcome in outcomes:
        if isinstance(outcome, Delayed):
            return reply_to_outcome(outcome, trace_id)
    return reply_to_outcome(outcomes[0], trace_id)


def _of_status(status: Status, severity: int, default: int = 0) -> Reply:
    enhanced = status.code if _ENHANCED.match(status.code) else f"{severity}.0.0"
    if enhanced[0] != str(severity):
        enhanced = f"{severity}{enhanced[1:]}"
    code = status.reply
    if code // 100 != severity:
        code = default or _CODES.get(enhanced, 550 if severity == 5 else 451)
    return reply(code, enhanced, status.text or "Refused")
