"""What every command needs: the states of RFC 3501 3, and the answer of one that went well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from twisted_mail_kit.errors import LimitReached
from twisted_mail_kit.imap.outcomes import Mistake
from twisted_mail_kit.imap.view import BadNumbers, View
from twisted_mail_kit.imap.wire.commands import Ranges
from twisted_mail_kit.mail.flags import parse_flag

if TYPE_CHECKING:
    from twisted_mail_kit.imap.server import OpenAccount

NOT_AUTHENTICATED: Final = 0
AUTHENTICATED: Final = 1
SELECTED: Final = 2

AT_ONCE = 2000
"""Messages of one transaction. A command that changes more makes several, so that whoever delivers to other accounts
does not wait for a million messages: RFC 3501 and RFC 6851 ask for no more than each message changed or not."""


class Completed(NamedTuple):
    """The tagged OK."""

    text: str
    code: bytes = b""
    """Response code without brackets."""
    is_fresh: bool = False
    """The store has said just now how the selected mailbox is: it need not be asked again what else is new."""


def read_flags(home: OpenAccount, flags: Iterable[bytes]) -> frozenset[str]:
    r"""Flags as the store knows them. BAD for ``\Recent``, which no client can set, and unknown system flags.

    Keywords are compared without regard to case (RFC 3501 9): one that is there in another spelling is meant.
    """
    try:
        given = list(map(parse_flag, flags))
    except ValueError:
        raise Mistake("There is a flag in it that clients cannot set") from None
    if all(flag.startswith("\\") for flag in given):
        return frozenset(given)
    known = home.keywords()
    spelled = {keyword.lower(): keyword for keyword in known}
    return frozenset(flag if flag in known else spelled.get(flag.lower(), flag) for flag in given)


def check_keywords(home: OpenAccount, flags: Iterable[str]) -> None:
    """Raises LimitReached: the account would have too many keywords, or one is too long."""
    settings = home.server.settings
    keywords = {flag for flag in flags if not flag.startswith("\\")}
    if not keywords:
        return
    if any(len(keyword) > settings.keyword_length for keyword in keywords):
        raise LimitReached("a keyword's length")
    known = home.keywords()
    if not keywords <= known and len(known | keywords) > settings.keywords:
        raise LimitReached("keywords")


def resolve(view: View, messages: Ranges, by_uid: bool) -> tuple[Sequence[int], bool]:
    """`View.resolve`; BAD for a sequence number that is not there."""
    try:
        return view.resolve(messages, by_uid)
    except BadNumbers:
        raise _no_such_number() from None


def resolve_spans(view: View, messages: Ranges, by_uid: bool) -> list[tuple[int, int]]:
    """`View.resolve_spans`, whether some were gone or not; BAD for a sequence number that is not there."""
    try:
        return view.resolve_spans(messages, by_uid)[0]
    except BadNumbers:
        raise _no_such_number() from None


def _no_such_number() -> Mistake:
    return Mistake("There is no message of such a number")
