"""Which number a refusal counts in, where it is about a limit."""

from __future__ import annotations

from twisted_mail_kit.errors import LimitReached
from twisted_mail_kit.imap.outcomes import Refusal
from twisted_mail_kit.imap.wire.events import BadCommand
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.instruments import Number

NUMBERS: dict[str, Number] = {
    # Of the wire, by their names in WireLimits:
    "line": limits.IMAP_LINE,
    "literal": limits.IMAP_LITERAL,
    "message": limits.IMAP_MESSAGE_SIZE,
    "nesting": limits.IMAP_NESTING,
    "search_keys": limits.IMAP_SEARCH_KEYS,
    "set_ranges": limits.IMAP_SET_RANGES,
    "wildcards": limits.IMAP_WILDCARDS,
    # Of commands, by their settings:
    "name_depth": limits.IMAP_NAME,
    "name_length": limits.IMAP_NAME,
    # What a store says, or a command, with LimitReached:
    "mailboxes": limits.IMAP_MAILBOXES,
    "levels in a mailbox name": limits.IMAP_NAME,
    "keywords": limits.IMAP_KEYWORDS,
    "a keyword's length": limits.IMAP_KEYWORDS,
    "sessions of this account": limits.IMAP_SESSIONS_PER_ACCOUNT,
}
"""By the `limit` that refusals carry. A text may be worded anew; these names may not."""


def limit_of(problem: Exception | BadCommand) -> tuple[str, Number] | None:
    """What was too much, in words, and its number; None: the refusal is about something else."""
    if not isinstance(problem, Refusal | BadCommand | LimitReached):
        return None
    number = NUMBERS.get(problem.limit)
    if number is None:
        return None
    return problem.limit if isinstance(problem, LimitReached) else problem.text, number
