"""Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3) or UTF-8 (RFC 6855), ``/`` between levels."""

from __future__ import annotations

import binascii
import re
from functools import lru_cache

from twisted_mail_kit.imap.wire.commands import Path

SEPARATOR = "/"
LONGEST_NAME = 1000
"""Octets of a name on the wire."""

# A level that itself contains the separator (JMAP may make such) is told with U+2215 in its place, and what clients
# call U+2215 is that level. So clients can list it, open it and make it, whatever they do with the octets between.
_SLASH_IN_LEVEL = "\N{DIVISION SLASH}"

_TO_SHIFT = re.compile(r"&|[^\x20-\x7e]+")
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*+)-")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class BadName(ValueError):
    """No mailbox can have that name; the text is fit for a client."""


def encode(text: str) -> bytes:
    """Modified UTF-7 of any text without lone surrogates."""
    return _TO_SHIFT.sub(_shift, text).encode("ascii")


def _shift(run: re.Match[str]) -> str:
    if run[0] == "&":
        return "&-"
    base64 = binascii.b2a_base64(run[0].encode("utf-16-be"), newline=False)
    return "&" + base64.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def decode(octets: bytes) -> str:
    """Text of modified UTF-7, strictly: raises BadName for anything that `encode` would not give."""
    try:
        if b"&" not in octets:
            text = octets.decode("ascii")
        else:
            pieces = []
            at = 0
            while (shift := octets.find(b"&", at)) >= 0:
                pieces.append(octets[at:shift].decode("ascii"))
                run = _SHIFTED.match(octets, shift)
                if run is None:
                    raise BadName("Mailbox name is not modified UTF-7")
                pieces.append(_unshift(run[1]))
                at = run.end()
            pieces.append(octets[at:].decode("ascii"))
            text = "".join(pieces)
        # One name has one spelling. Others (printable ASCII in base64, stray bits, needless shifts) are how names get
        # past a comparison; RFC 3501 5.1.3 forbids them.
        if encode(text) != octets:
            raise BadName("Mailbox name is not modified UTF-7")
    except (UnicodeError, binascii.Error):
        raise BadName("Mailbox name is not modified UTF-7") from None
    return text


def _unshift(base64: bytes) -> str:
    if not base64:
        return "&"
    padded = base64.replace(b",", b"/") + b"=" * (-len(base64) % 4)
    return binascii.a2b_base64(padded).decode("utf-16-be")


def text_from_wire(octets: bytes, utf8: bool = False) -> str:
    """A reference or a pattern of LIST: any text without control characters. Raises BadName."""
    if len(octets) > LONGEST_NAME:
        raise BadName("Mailbox name is too long")
    if utf8:
        try:
            text = octets.decode("utf-8")
        except UnicodeError:
            raise BadName("Mailbox name is not UTF-8") from None
    else:
        text = decode(octets)
    if _CONTROL.search(text):
        raise BadName("Mailbox name has control characters")
    return text


@lru_cache(maxsize=512)  # clients name the same few again and again
def path_from_wire(octets: bytes, utf8: bool = False) -> Path:
    """Levels of a mailbox name; a first level ``INBOX`` in any case is spelled so. Raises BadName."""
    levels = text_from_wire(octets, utf8).split(SEPARATOR)
    if "" in levels:
        raise BadName("Mailbox name is empty, or has an empty level")
    if levels[0].upper() == "INBOX" and levels[0].isascii():
        levels[0] = "INBOX"
    return tuple(level.replace(_SLASH_IN_LEVEL, SEPARATOR) for level in levels)


def path_to_wire(path: Path, utf8: bool = False) -> bytes:
    """The name as octets, not quoted yet: see `responses.mailbox`. What no client may see is told as U+FFFD."""
    text = SEPARATOR.join(level.replace(SEPARATOR, _SLASH_IN_LEVEL) for level in path)
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return text.encode("utf-8") if utf8 else encode(text)
