"""The first words of a message, for lists of messages (RFC 8970)."""

from __future__ import annotations

import html
import re
from typing import Final

from twisted_mail_kit.mail.words import ASCII_CHARSETS, decode_body

PREVIEW_LENGTH: Final = 200
"""Characters."""
PLAIN_SAMPLE: Final = 1024
"""Octets of a text/plain body that are looked at; enough for 200 characters of any script in base64."""
HTML_SAMPLE: Final = 16 * 1024
"""Octets of a text/html body that are looked at: a style sheet often comes first."""

_BEGINNING: Final = PREVIEW_LENGTH + 50
_AS_IT_IS: Final = ("7bit", "8bit", "binary")
# Characters that show nothing; senders of advertisements pad their first line with them.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]++"
)
_HIDDEN: Final = ("style", "script", "head", "title", "template")
_TAG_NAME: Final = re.compile(r"[A-Za-z]++")
_INLINE: Final = frozenset({"a", "b", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "u"})


class Samples:
    """Collects the beginnings of the bodies that a preview could be made of, while a message is scanned."""

    __slots__ = ("_charset", "_encoding", "_html", "_is_html", "_octets", "_plain", "is_open", "wanted")

    def __init__(self) -> None:
        self.is_open = False
        self.wanted = 0
        """Octets that the open sample still takes."""
        self._plain = ""
        self._html: tuple[bytes, str, str] | None = None
        self._octets = bytearray()
        self._is_html = False
        self._encoding = self._charset = ""

    def begin(self, subtype: str, encoding: str, charset: str) -> None:
        """A text part begins; nothing happens where there is no need of it."""
        self._is_html = subtype == "html"
        if self._plain or (self._is_html and self._html is not None) or subtype not in ("plain", "html"):
            return
        self.is_open = True
        self.wanted = HTML_SAMPLE if self._is_html else PLAIN_SAMPLE
        self._octets.clear()
        self._encoding, self._charset = encoding, charset

    def feed(self, octets: bytes | bytearray) -> None:
        """The part's next octets, at most `wanted`."""
        self._octets += octets
        self.wanted -= len(octets)
        if self.wanted <= 0:
            self.end()

    def take(self, octets: bytes, subtype: str, encoding: str, charset: str) -> None:
        """A text part that is all here. Hot path: what `begin`, `feed` and `end` do."""
        if subtype == "plain":
            if not self._plain:
                self._plain = plain_preview(octets[:PLAIN_SAMPLE], encoding, charset)
        elif subtype == "html" and self._html is None and not self._plain:
            self._html = (octets[:HTML_SAMPLE], encoding, charset)

    def end(self) -> None:
        """The part is over, or enough was seen of it."""
        if not self.is_open:
            return
        self.is_open = False
        octets = bytes(self._octets)
        if self._is_html:
            self._html = (octets, self._encoding, self._charset)
        else:
            # An empty text/plain beside the text/html is common; then the next one may say something.
            self._plain = plain_preview(octets, self._encoding, self._charset)

    def preview(self) -> str:
        """The first text/plain that says something, else the first text/html."""
        self.end()
        return self._plain or (html_preview(*self._html) if self._html else "")


def plain_preview(octets: bytes, encoding: str, charset: str) -> str:
    """From the beginning of a text/plain body."""
    if encoding in _AS_IT_IS and (beginning := octets[:_BEGINNING]).isascii() and charset.lower() in ASCII_CHARSETS:
        # Hot path: half of all mail says enough in its first lines.
        line = " ".join(beginning.decode("ascii").split())
        if len(line) > PREVIEW_LENGTH and line.isprintable():
            return line[:PREVIEW_LENGTH].rstrip()
    return _one_line(decode_body(octets, encoding, charset))


def html_preview(octets: bytes, encoding: str, charset: str) -> str:
    """From the beginning of a text/html body: its text without tags. Good enough for a list; it cleans nothing."""
    source = decode_body(octets, encoding, charset)
    lower = source.lower() if source.isascii() else re.sub("[A-Z]+", lambda found: found[0].lower(), source)
    pieces: list[str] = []
    length = position = 0
    while length < 3 * PREVIEW_LENGTH:
        start = lower.find("<", position)
        piece = source[position : start if start >= 0 else len(source)]
        # Count what will be seen, about; white space between tags would fill the preview with nothing.
        length += len(piece.strip())
        pieces.append(piece)
        if start < 0:
            break
        name = _TAG_NAME.match(lower, start + 1)
        if lower.startswith("<!--", start):
            end = lower.find("-->", start)
        elif name and name[0] in _HIDDEN:
            end = lower.find("</" + name[0], start)
            end = lower.find(">", end) if end >= 0 else end
        elif name or lower[start + 1 : start + 2] in ("/", "!", "?"):
            end = lower.find(">", start)
        else:
            pieces.append("<")
            length += 1
            position = start + 1
            continue
        if end < 0:
            break  # what was not closed within the sample shows nothing
        closing = _TAG_NAME.match(lower, start + 2)
        is_comment = lower.startswith("!", start + 1)
        if not (is_comment or (name and name[0] in _INLINE) or (closing and closing[0] in _INLINE)):
            pieces.append(" ")
        position = lower.find(">", end) + 1
    return _one_line(html.unescape("".join(pieces)))


def _one_line(text: str) -> str:
    line = " ".join(text[: 2 * PREVIEW_LENGTH].split())
    if len(line) < PREVIEW_LENGTH or not line.isprintable():
        line = " ".join(text[: 16 * PREVIEW_LENGTH].split())
        if not line.isprintable():
            line = " ".join(_INVISIBLE.sub("", line).split())
    return line[:PREVIEW_LENGTH].rstrip()
