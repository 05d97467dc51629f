"""The values that a scan of a message gives: its parts as offsets into its octets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from twisted_mail_kit.mail.headers import Headers

Parameters = tuple[tuple[bytes, bytes], ...]
"""Names in lower case, values without their quoting; RFC 2231 pieces as they came. See `words.parameter`."""


class Part(NamedTuple):
    """One part of a MIME tree (RFC 2045). Offsets count the message's octets from 0.

    ``header_start <= body_start <= end``; children and an embedded message lie within ``[body_start:end)``, in order,
    without overlapping. A part of a type that would have to hold others, but was too deep or one too many to be looked
    into, is called application/octet-stream, so its type can be trusted.
    """

    type: str
    """Lower case: ``text``, ``multipart``, ``message`` …"""
    subtype: str
    """Lower case."""
    parameters: Parameters
    """Of Content-Type."""
    content_id: bytes | None
    """As in the field, with its angle brackets."""
    description: bytes | None
    """Unfolded, with encoded words left encoded."""
    encoding: str
    """Content-Transfer-Encoding in lower case; ``7bit`` where there is none."""
    md5: bytes | None
    disposition: str | None
    """Lower case: ``inline``, ``attachment`` …"""
    disposition_parameters: Parameters
    language: tuple[bytes, ...]
    location: bytes | None
    header_start: int
    """The part's own MIME header: ``[header_start:body_start)`` with the blank line; for the root, the message's."""
    body_start: int
    end: int
    """The body is ``[body_start:end)``: without the line end that belongs to the next boundary (RFC 2046 5.1.1)."""
    lines: int
    """Line ends in the body of a text, or of a part with an embedded message: CR LF, or LF where the message's first
    line ends in LF alone. Of all others nobody asks for them (RFC 3501 7.4.2), and they are not counted: 0."""
    children: tuple[Part, ...]
    """Of a multipart, at least one: where there is none in the message, an empty text/plain stands for it."""
    message: Part | None
    """Of message/rfc822 and message/global: the root of the embedded message."""
    envelope: bytes | None
    """Of a part with an embedded message: that message's ENVELOPE in IMAP's form (RFC 3501 7.4.2)."""

    @property
    def size(self) -> int:
        """Octets of the body, as it is encoded."""
        return self.end - self.body_start

    @property
    def content_type(self) -> str:
        """``text/plain``."""
        return f"{self.type}/{self.subtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLimits:
    """How far a scan looks into a message. Beyond it, the rest is one opaque part: nothing fails."""

    parts: int = 1000
    depth: int = 50
    """Multiparts and embedded messages within each other."""
    header_size: int = 256 * 1024
    """Octets of one header section; what is above is passed over."""
    header_fields: int = 1000
    parameters: int = 100
    """Of one field; the others are left out."""
    details: int = 256 * 1024
    """Octets of all inner header sections and inner ENVELOPEs together, so that no message makes a great summary."""


DEFAULT_LIMITS = ScanLimits()


class Structure(NamedTuple):
    """What a scan of one whole message found."""

    size: int
    """Octets."""
    header: Headers
    """The message's header section, cut at the last line end within the limit."""
    header_size: int
    """Octets of the header section with its blank line, also where it is above the limit."""
    root: Part
    preview: str
    """At most 200 characters of the first text, on one line; empty where there is no text."""
    has_8bit: bool
    longest_line: int
    """Octets of the longest line without its end, where that is above RFC 5322's 998; otherwise 0."""
    header_overflow: bool
    """The header section has more octets or fields than the limits say."""
    received_count: int
    """Received fields (RFC 5321 6.3)."""
    is_cut: bool = False
    """It has as many parts, levels or parameters as the limits say: there may be more that are not told."""


class Outline(NamedTuple):
    """What has to be known of a message that is only sent on; as in `Structure`."""

    header: Headers
    has_8bit: bool
    longest_line: int
    header_overflow: bool
    received_count: int
    is_cut: bool = False


class Place(NamedTuple):
    """Where a part is, and nothing else of it; fields as in `Part`."""

    header_start: int
    body_start: int
    end: int
    children: tuple[Place, ...]
    message: Place | None


Tree = TypeVar("Tree", Part, Place)


def find_part(root: Tree, path: tuple[int, ...]) -> Tree | None:
    """The part that IMAP calls ``1.2``; ``()`` is the root. None where there is none such (RFC 3501 6.4.5).

    A message that is no multipart has one part, 1, which is the message itself. The parts of an embedded message are
    numbered below the part that holds it.
    """
    part = root
    container: Tree | None = root  # what the next number counts in: a multipart, or a message that is none
    for number in path:
        if container is None:
            return None
        if container.children:
            if not 0 < number <= len(container.children):
                return None
            part = container.children[number - 1]
        elif number == 1:
            part = container
        else:
            return None
        container = part.message or (part if part.children else None)
    return part
