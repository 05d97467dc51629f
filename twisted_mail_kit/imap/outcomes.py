"""What went wrong, in IMAP's words: response codes of RFC 3501 and RFC 5530."""

from __future__ import annotations

from twisted_mail_kit import errors
from twisted_mail_kit.imap.wire.events import BadCommand


class Refusal(Exception):
    """A tagged NO: the command was understood, and is not done."""

    status: bytes = b"NO"

    def __init__(self, text: str, code: bytes = b"", limit: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.limit = limit
        """Which limit it is about, by `reached`'s name for it; nothing: about none."""


class Mistake(Refusal):
    """A tagged BAD: the command makes no sense here."""

    status = b"BAD"


def refusal_of(event: BadCommand) -> Refusal:
    """The tagged answer to a command that broke off in the middle."""
    refusal = Refusal(event.text, event.code, event.limit)
    refusal.status = event.status
    return refusal


_WORDS: dict[type[Exception], tuple[bytes, str]] = {
    errors.TooManyLogins: (b"UNAVAILABLE", "Too many logins, try again later"),
    errors.AuthenticationFailed: (b"AUTHENTICATIONFAILED", "Authentication failed"),
    errors.AccountNotFound: (b"AUTHENTICATIONFAILED", "Authentication failed"),
    errors.MechanismNotSupported: (b"CANNOT", "No such mechanism"),
    errors.MailboxNotFound: (b"NONEXISTENT", "No such mailbox"),
    errors.MailboxExists: (b"ALREADYEXISTS", "There is such a mailbox already"),
    errors.MessageNotFound: (b"EXPUNGEISSUED", "Some of the messages no longer exist"),
    errors.BlobNotFound: (b"EXPUNGEISSUED", "Some of the messages no longer exist"),
    errors.Forbidden: (b"CANNOT", "That is never done here"),
    errors.OverQuota: (b"OVERQUOTA", "No room"),
    errors.LimitReached: (b"LIMIT", "Too many"),
    errors.StateMismatch: (b"INUSE", "Somebody else was quicker, try again"),
}


def refusal_for(problem: Exception) -> Refusal | None:
    """How a client is told; None: it is unexpected, to be logged and told with a reference."""
    if isinstance(problem, Refusal):
        return problem
    for kind in type(problem).__mro__:
        words = _WORDS.get(kind)
        if words is not None:
            return Refusal(words[1], words[0])
    return None


def unexpected(problem: BaseException, reference: str) -> Refusal:
    """For what nobody expected: temporary, with the reference under which the log knows more."""
    if isinstance(problem, errors.Unavailable | OSError):
        return Refusal(f"Not now, try again later (reference {reference})", b"UNAVAILABLE")
    return Refusal(f"Something broke here (reference {reference})", b"SERVERBUG")
