"""The words of a message: of every text that SEARCH looks in, folded; between spaces, each once."""

from __future__ import annotations

from collections.abc import Iterator

from twisted_mail_kit.imap.searchtext import ENVELOPE_FIELDS, body_text, body_texts, envelope_text, fold
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.part import Part
from twisted_mail_kit.mail.summary import Summary
from twisted_mail_kit.mail.words import decode_octets, decode_text

# Part of the form of an index. Another number for every change of what `searchtext` and `mail.words` make of a message.
VERSION = 1

_PIECE = 32 * 1024
_QUOTES = bytes.maketrans(b'"\\', b"  ")
ADDRESS_MARKS = str.maketrans('@<>,"\\', " " * 6)
"""They stand between what an ENVELOPE has apart: a name, a local part, a domain."""

Span = tuple[int, int, Part, bool]
"""Octets from where to where, whose they are, and whether it is a header section."""


def spans(summary: Summary) -> Iterator[Span]:
    """The octets of a message that SEARCH looks at. Raises StaleSummary."""
    yield 0, summary.header_size, summary.root, True
    for part, is_header in body_texts(summary.root):
        start, stop = (part.header_start, part.body_start) if is_header else (part.body_start, part.end)
        yield start, stop, part, is_header


def words_in(octets: bytes, part: Part, is_header: bool) -> set[bytes]:
    """Of one span; can be done in a thread."""
    return header_words(octets) if is_header else words(fold(body_text(octets, part)))


def words(folded: str) -> set[bytes]:
    """Of a folded text."""
    octets = folded.encode("utf-8", "surrogatepass")
    if len(octets) <= _PIECE:
        return set(octets.split())
    # In pieces, between which another thread may run.
    found: set[bytes] = set()
    start = 0
    while start < len(octets):
        stop = octets.find(b" ", start + _PIECE)
        stop = len(octets) if stop < 0 else stop
        found.update(octets[start:stop].split())
        start = stop
    return found


def header_words(header: bytes) -> set[bytes]:
    """Of a header section: as it is written, and as it reads. What `header_holds` and `header_values` look in."""
    ends = header.count(b"\r\n")
    is_plain = header.isascii() and b"=?" not in header and b"\0" not in header
    if is_plain and ends == header.count(b"\r") == header.count(b"\n"):
        return set(header.lower().split())
    found = words(fold(decode_octets(header)))
    unfolded = header.translate(None, b"\r\0").replace(b"\n ", b" ").replace(b"\n\t", b"\t")
    found |= words(fold(decode_octets(unfolded)))
    for line in unfolded.split(b"\n"):
        if b"=?" in line:
            found |= words(fold(decode_text(line)))
    fields = Headers(header)
    for name in fields.index():
        for value in fields.all(name):
            found |= words(fold(decode_text(value)))
    return found


def envelope_words(envelope: bytes) -> set[bytes]:
    """Of an ENVELOPE, cut at `ADDRESS_MARKS`: what FROM, SUBJECT … look in."""
    if envelope.isascii() and b"=?" not in envelope and not any(one in envelope for one in (b"\0", b"\r", b"\n", b"{")):
        # What a plain one's fields read is in it as it is, but for the marks.
        return set(envelope.lower().translate(_QUOTES).split())
    found: set[bytes] = set()
    for field in ENVELOPE_FIELDS.values():
        found |= words(fold(envelope_text(envelope, field)).translate(ADDRESS_MARKS))
    return found
