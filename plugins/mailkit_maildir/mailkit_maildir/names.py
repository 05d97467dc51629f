"""The names of folders: ``.Sent.2024`` is ``("Sent", "2024")``, in modified UTF-7, as Dovecot writes them."""

from __future__ import annotations

import binascii
import re
from typing import Final

INBOX: Final = ""
"""The directory of the inbox, which is the account's own."""
ESCAPE: Final = ".mailkit-"
"""Begins the directory of a mailbox whose name no directory can have; the name is in a file in it."""
NAME_FILE: Final = "mailkit-name"
LONGEST: Final = 255
"""Octets of a directory's name."""

ROLES: Final = {
    "drafts": "drafts",
    "sent": "sent",
    "sent items": "sent",
    "sent messages": "sent",
    "trash": "trash",
    "deleted items": "trash",
    "deleted messages": "trash",
    "junk": "junk",
    "junk e-mail": "junk",
    "spam": "junk",
    "archive": "archive",
    "archives": "archive",
}
"""What folders are usually called."""

_TO_SHIFT = re.compile(r"&|[^\x20-\x7e]+")
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def encode(text: str) -> str:
    """Modified UTF-7 (RFC 3501 5.1.3)."""

    def shift(run: re.Match[str]) -> str:
        if run[0] == "&":
            return "&-"
        base64 = binascii.b2a_base64(run[0].encode("utf-16-be"), newline=False).decode("ascii")
        return "&" + base64.rstrip("=").replace("/", ",") + "-"

    return _TO_SHIFT.sub(shift, text)


def decode(name: str) -> str:
    """Text of modified UTF-7; what is not spelled as `encode` spells it stays as it is."""

    def unshift(run: re.Match[str]) -> str:
        if not run[1]:
            return "&"
        padded = run[1].replace(",", "/") + "=" * (-len(run[1]) % 4)
        return binascii.a2b_base64(padded).decode("utf-16-be")

    try:
        text = _SHIFTED.sub(unshift, name)
        return text if encode(text) == name else name
    except (ValueError, UnicodeError):
        return name


def directory_of(name: tuple[str, ...]) -> str | None:
    """The folder of a mailbox of that name; None where no directory can have the name, or Dovecot would not take it."""
    if name == ("INBOX",):
        return INBOX
    if name[0].upper() == "INBOX" and (name[0] != "INBOX" or len(name) == 1):
        return None
    for part in name:
        if not part or "." in part or "/" in part or part[0] == "~" or part != part.strip() or _CONTROL.search(part):
            return None
    directory = "." + ".".join(encode(part) for part in name)
    return None if len(directory) > LONGEST or directory.startswith(ESCAPE) else directory


def name_of(directory: str) -> tuple[str, ...]:
    """The name of the mailbox in that folder."""
    if directory == INBOX:
        return ("INBOX",)
    return tuple(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", decode(part)) for part in directory[1:].split("."))


def role_of(name: tuple[str, ...]) -> str | None:
    """What a mailbox of that name is usually for."""
    if name == ("INBOX",):
        return "inbox"
    below = name[1:] if name[0] == "INBOX" else name
    return ROLES.get(below[0].lower()) if len(below) == 1 else None
