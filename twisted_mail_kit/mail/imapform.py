"""Strings and the ENVELOPE as IMAP writes them (RFC 3501 4.3, 7.4.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from twisted_mail_kit.mail.addresslist import MOST_TOKENS, parse_address_list
from twisted_mail_kit.mail.headers import Headers, on_one_line

_NOT_QUOTABLE: Final = re.compile(rb'[\x00\r\n"\\\x80-\xff]')
_MOST_TEXT: Final = 8 * 1024
_MOST_ADDRESSES: Final = 64 * 1024
_SHORT: Final = 200
_LONGEST_FORM: Final = 8 * 1024
"""Octets that the addresses of a short field never come to."""


def string(value: bytes) -> bytes:
    """A quoted string where it can be one, otherwise a literal, ready to be sent (RFC 3501 4.3). NUL is left out."""
    if _NOT_QUOTABLE.search(value) is None:
        return b'"%b"' % value
    value = value.replace(b"\0", b"")
    if value.isascii() and b"\r" not in value and b"\n" not in value:
        return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    """A string, or NIL."""
    return b"NIL" if value is None else string(value)


def envelope(headers: Headers, most_text: int = _MOST_TEXT, most_addresses: int = _MOST_ADDRESSES) -> bytes:
    """The ENVELOPE list: at most so many octets of one field's text, and of one field's addresses in this form.

    Encoded words stay encoded. Sender and Reply-To are those of From where they are absent or empty. Several To, Cc
    or Bcc fields count as one.
    """
    # Hot path: half of these fields are absent as a rule, and cost nothing then.
    get = headers.index().get
    sender = _people(get(b"from", ())[:1], most_addresses)
    author, reply_to = get(b"sender"), get(b"reply-to")
    cc, bcc = get(b"cc"), get(b"bcc")
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _text(get(b"date"), most_text),
        _text(get(b"subject"), most_text),
        sender,
        _people(author[:1], most_addresses, sender) if author else sender,
        _people(reply_to[:1], most_addresses, sender) if reply_to else sender,
        _people(get(b"to", ()), most_addresses),
        _people(cc, most_addresses) if cc else b"NIL",
        _people(bcc, most_addresses) if bcc else b"NIL",
        _text(get(b"in-reply-to"), most_text),
        _text(get(b"message-id"), most_text),
    )


def _text(values: Sequence[bytes] | None, most: int) -> bytes:
    """The first of a field's values."""
    if not values:
        return b"NIL"
    value = values[0].strip()
    if len(value) <= most and _NOT_QUOTABLE.search(value) is None:
        return b'"%b"' % value
    return string(on_one_line(value)[:most])


def _people(values: Sequence[bytes], most: int, nobody: bytes = b"NIL") -> bytes:
    """All addresses of these values; where there are none, `nobody`."""
    if len(values) == 1 and len(values[0]) <= _SHORT and most >= _LONGEST_FORM:
        found = _known_people(values[0])
    else:
        found = _address_list([on_one_line(value) for value in values], most)
    return nobody if found == b"NIL" else found


@lru_cache(maxsize=1024)
def _known_people(value: bytes) -> bytes:
    """Of one short field, as it came. Hot path: the same people write to each other again and again."""
    return _address_list([on_one_line(value)], _LONGEST_FORM)


def _address_list(values: list[bytes], most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    in_group = False
    left = MOST_TOKENS
    for value in values:
        if left <= 0:
            break
        left -= len(value) // 8
        for name, route, local, domain in parse_address_list(value):
            piece = b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(local), nstring(domain))
            size += len(piece)
            if size > most:
                break
            in_group = (domain is None and local is not None) or (in_group and domain is not None)
            pieces.append(piece)
    if in_group:
        pieces.append(b"(NIL NIL NIL NIL)")  # a list that was cut ends its group
    return b"(%b)" % b"".join(pieces) if pieces else b"NIL"


NO_ENVELOPE: Final = b"(%b)" % b" ".join([b"NIL"] * 10)
