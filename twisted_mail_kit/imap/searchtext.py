"""A message's octets as the text that SEARCH looks in."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

from twisted_mail_kit.imap.wire.commands import Date
from twisted_mail_kit.mail.headers import Headers, decode_text
from twisted_mail_kit.mail.part import Part
from twisted_mail_kit.mail.words import decode_body, decode_octets

# RFC 3501 7.4.2: the order of the fields in an ENVELOPE.
ENVELOPE_FIELDS = {
    "subject": 1,
    "from": 2,
    "to": 5,
    "cc": 6,
    "bcc": 7,
}
"""Fields that are searched in ENVELOPE. Others, and whether a field is there at all, are looked up in the header."""

_TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|([^\s()"{]+))', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_DATE = re.compile(rb"(\d{1,2})\s+(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\s+(\d{2,4})", re.IGNORECASE)
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_EPOCH = datetime.date(1970, 1, 1).toordinal()


def read_list(octets: bytes, most: int = 100) -> list[object]:
    """The first items, at least so many, of a parenthesised list of strings, NIL and lists, as ENVELOPE is one; we made
    it, so it is well-formed."""
    stack: list[list[object]] = [[]]
    at = 0
    while at < len(octets):
        token = _TOKEN.match(octets, at)
        if token is None:
            break
        at = token.end()
        if token[1]:
            stack.append([])
        elif token[2]:
            if len(stack) > 1:
                inner = stack.pop()
                stack[-1].append(inner)
        elif token[3] is not None:
            value = token[3]
            stack[-1].append(_ESCAPED.sub(rb"\1", value) if b"\\" in value else value)
        elif token[4]:
            size = int(token[4])
            stack[-1].append(octets[at : at + size])
            at += size
        else:
            stack[-1].append(None)
        if len(stack) == 2 and len(stack[1]) >= most:
            return stack[1]
    first = stack[0][0] if stack[0] else []
    return first if isinstance(first, list) else []


def may_hold(envelope: bytes, needle: str) -> bool:
    """A quick no: the text occurs nowhere in an ENVELOPE that has nothing encoded in it."""
    if not needle.isascii() or any(letter in '@<>"\\,' for letter in needle) or "=?" in needle:
        return True
    return b"=?" in envelope or not envelope.isascii() or needle.encode() in envelope.lower()


def envelope_text(envelope: bytes, field: int) -> str:
    """Subject, or addresses as ``name <local@domain>, …``, decoded."""
    fields = read_list(envelope, field + 1)
    value = fields[field] if field < len(fields) else None
    if isinstance(value, bytes):
        return decode_text(value)
    if not isinstance(value, list):
        return ""
    return ", ".join(_address(address) for address in value if isinstance(address, list) and len(address) == 4)


def _address(address: list[object]) -> str:
    name, _, local, domain = (decode_text(part) if isinstance(part, bytes) else "" for part in address)
    if not domain:
        return local  # a group's name, or its end
    return f"{name} <{local}@{domain}>" if name else f"{local}@{domain}"


def sent_day(envelope: bytes) -> int | None:
    """The calendar day of the Date field as it is written, in days since 1970-01-01 (RFC 3501 6.4.4 SENTON)."""
    fields = read_list(envelope, 1)
    date = fields[0] if fields else None
    if not isinstance(date, bytes):
        return None
    found = _DATE.search(date)
    if found is None:
        return None
    year = int(found[3])
    if len(found[3]) < 4:  # RFC 5322 4.3
        year += 2000 if len(found[3]) == 2 and year < 50 else 1900
    try:
        return datetime.date(year, _MONTHS.index(found[2].lower()) + 1, int(found[1])).toordinal() - _EPOCH
    except ValueError:
        return None


def header_values(header: bytes, name: str) -> list[str]:
    """The values of all fields of that name, decoded."""
    return [decode_text(value) for value in Headers(header).all(name.encode("utf-8", "replace"))]


def header_holds(header: bytes, needle: str) -> bool:
    """Whether a folded text is in a header section: as it is written, or as it reads: decoded, a line a field."""
    if not header.isascii():
        text = decode_octets(header)
        if "=?" in text:
            text += "\n" + "\n".join(decode_text(field.value) for field in Headers(header).fields)
        return needle in fold(text)
    # Hot path: few fields have something encoded.
    if needle in header.lower().decode("ascii"):
        return True
    if b"=?" not in header:
        return False
    unfolded = header.translate(None, b"\r\0").replace(b"\n ", b" ").replace(b"\n\t", b"\t")
    if needle in unfolded.lower().decode("ascii"):
        return True
    return any(needle in fold(decode_text(line)) for line in unfolded.split(b"\n") if b"=?" in line)


def body_texts(root: Part) -> Iterator[tuple[Part, bool]]:
    """The parts that are text; with True, parts of which the header section is text of the body: embedded messages'."""
    stack = [root]
    while stack:
        part = stack.pop()
        if part.message is not None:
            yield part.message, True
            stack.append(part.message)
        elif part.children:
            stack.extend(reversed(part.children))
        elif part.type == "text":
            yield part, False


def body_text(octets: bytes, part: Part) -> str:
    """What a part's body reads."""
    charset = next((value for name, value in part.parameters if name == b"charset"), b"")
    return decode_body(octets, part.encoding, charset.decode("ascii", "replace"))


def fold(text: str) -> str:
    """Without regard to case, in every script."""
    return text.lower() if text.isascii() else text.casefold()


def fits(key: Date, day: int) -> bool:
    """Whether a day, since 1970, is one that is asked for."""
    if key.relation == "before":
        return day < key.day
    return day == key.day if key.relation == "on" else day >= key.day


class Haystack:
    """One part's octets, to be searched; can be done in a thread."""

    def __init__(self, octets: bytes, part: Part, is_header: bool) -> None:
        self.octets = octets
        self.part = part
        self.is_header = is_header
        self.size = len(octets)

    def holds(self, needle: str) -> bool:
        """Whether the text is in it; the needle is folded already."""
        if self.is_header:
            return header_holds(self.octets, needle)
        return needle in fold(body_text(self.octets, self.part))
