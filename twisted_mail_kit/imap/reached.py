"""Which limit a refusal is about."""

from __future__ import annotations

from twisted_mail_kit.errors import LimitReached
from twisted_mail_kit.imap.outcomes import Refusal
from twisted_mail_kit.imap.wire.events import BadCommand
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.instruments import Number

CODES = (b"LIMIT", b"TOOBIG")
_BY_TEXT = {
    "The line is too long": limits.IMAP_LINE,
    "The literal is too big": limits.IMAP_LITERAL,
    "The message is too big": limits.IMAP_MESSAGE_SIZE,
    "A part number is too deep": limits.IMAP_NESTING,
    "SEARCH keys are nested too deep": limits.IMAP_NESTING,
    "Too many SEARCH keys": limits.IMAP_SEARCH_KEYS,
    "Too many ranges in a set": limits.IMAP_SET_RANGES,
    "Too many wildcards": limits.IMAP_WILDCARDS,
    "The name has too many levels": limits.IMAP_NAME,
    "The name is too long": limits.IMAP_NAME,
    "Too many sessions of this account": limits.IMAP_SESSIONS_PER_ACCOUNT,
    # What a store says, or a command, with LimitReached:
    "mailboxes": limits.IMAP_MAILBOXES,
    "levels in a mailbox name": limits.IMAP_NAME,
    "keywords": limits.IMAP_KEYWORDS,
    "a keyword's length": limits.IMAP_KEYWORDS,
}


def limit_of(problem: Exception | BadCommand) -> tuple[str, Number] | None:
    """What was too much, in words, and its number; None: the refusal is about something else."""
    if isinstance(problem, Refusal | BadCommand):
        text = problem.text if problem.code in CODES else ""
    else:
        text = str(problem) if isinstance(problem, LimitReached) else ""
    found = _BY_TEXT.get(text)
    return None if found is None else (text, found)
