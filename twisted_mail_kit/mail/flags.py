"""IMAP's flags and special uses (RFC 3501 2.3.2, RFC 6154), in the spelling that we keep."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

SYSTEM_FLAGS: Final = frozenset({"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"})
r"""Those that a client may set. ``\Recent`` is not one of them."""

MAX_KEYWORD: Final = 100
"""Octets."""

_CANONICAL: Final = {flag.lower(): flag for flag in SYSTEM_FLAGS}
# RFC 3501 9: atom, which is any ASCII but ( ) { % * " \ ] controls and space.
_KEYWORD: Final = re.compile(rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]+')
# Keywords are compared without regard to case. RFC 8621 4.1.1 and the IANA registry write these in lower case, but
# clients show and compare `$Forwarded` in this spelling.
_WELL_KNOWN: Final = {
    keyword.lower(): keyword
    for keyword in ("$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing", "$Important", "$Submitted")
}


def parse_flag(octets: bytes) -> str:
    r"""The flag in the one spelling that we keep: ``\SEEN`` gives ``\Seen``; well-known keywords in theirs.

    Other keywords stay as they are. Raises ValueError for ``\Recent``, which a client cannot set, for other
    backslash flags, and for what is no atom or too long.
    """
    if octets[:1] == b"\\":
        flag = _CANONICAL.get(octets.decode("latin-1").lower())
        if flag is None:
            raise ValueError("no flag that a client can set")
        return flag
    if len(octets) > MAX_KEYWORD or not _KEYWORD.fullmatch(octets):
        raise ValueError("a keyword is an atom of at most 100 octets")
    keyword = octets.decode("ascii")
    return _WELL_KNOWN.get(keyword.lower(), keyword)


SPECIAL_USES: Final = MappingProxyType(
    {
        "all": "\\All",
        "archive": "\\Archive",
        "drafts": "\\Drafts",
        "flagged": "\\Flagged",
        "important": "\\Important",
        "junk": "\\Junk",
        "sent": "\\Sent",
        "trash": "\\Trash",
    }
)
r"""A mailbox's role (RFC 8621 2) -> its special use (RFC 6154 2, RFC 8457). The inbox has a name, and no use."""

_ROLES: Final = {use.lower(): role for role, use in SPECIAL_USES.items()}


def use_of_role(role: str | None) -> str | None:
    r"""``sent`` -> ``\Sent``; None where IMAP has no word for it."""
    return None if role is None else SPECIAL_USES.get(role)


def role_of_use(use: str) -> str | None:
    r"""``\Sent``, in any case -> ``sent``; None for a use that we do not know."""
    return _ROLES.get(use.lower())
