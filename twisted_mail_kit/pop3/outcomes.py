"""What happened, in POP3's words: the only file here that turns errors into replies."""

from __future__ import annotations

from typing import NamedTuple

from twisted_mail_kit.errors import (
    AccountNotFound,
    AuthenticationFailed,
    BadSyntax,
    BlobNotFound,
    LimitReached,
    MessageNotFound,
    TooManyLogins,
)


class Words(NamedTuple):
    """A response code (RFC 2449 8, RFC 3206; empty: none) and a text."""

    code: str
    text: str


_WORDS: tuple[tuple[type[Exception], Words], ...] = (
    # An account that the store does not have looks like a wrong password: nobody is told who has a mailbox here.
    (AuthenticationFailed, Words("AUTH", "Authentication failed")),
    (AccountNotFound, Words("AUTH", "Authentication failed")),
    (TooManyLogins, Words("SYS/TEMP", "Too many logins at present, try again later")),
    (LimitReached, Words("SYS/TEMP", "A limit is reached, try again later")),
    (BadSyntax, Words("", "That is not of the right form")),
    (BlobNotFound, Words("SYS/PERM", "The message is not there any more")),
    (MessageNotFound, Words("SYS/PERM", "The message is not there any more")),
)


def expected(problem: BaseException) -> Words | None:
    """The words for an error that can happen without anything being broken; None: it is to be logged, and `broken`."""
    return next((words for kind, words in _WORDS if isinstance(problem, kind)), None)


def broken(reference: str, what: str = "Something went wrong here, try again later") -> Words:
    """The words for whatever else came out of a door: temporary, and to be found in the log under the reference."""
    return Words("SYS/TEMP", f"{what} (reference {reference})")
