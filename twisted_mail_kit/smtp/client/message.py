"""A message on its way out, which can be read again for another host."""

from __future__ import annotations

from collections.abc import Iterator

from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.envelope import Envelope
from twisted_mail_kit.mail.structure import Scanner, Structure

_CHUNK = 64 * 1024


class OutgoingMessage:
    """The envelope and the octets. What costs time to know is found when somebody asks, once."""

    def __init__(self, envelope: Envelope, content: Content, has_8bit: bool) -> None:
        self.envelope = envelope
        self.content = content
        self.size = content.size
        self.has_8bit = has_8bit
        """There is an octet outside ASCII, in the header section or the body."""
        self._structure: Structure | None = None
        self._header_8bit: bool | None = None

    @property
    def is_binary(self) -> bool:
        """It may have lines without end, NUL, bare CR and LF: BODY=BINARYMIME was said."""
        return self.envelope.body == "BINARYMIME"

    @property
    def structure(self) -> Structure:
        """Its MIME structure. Scans it."""
        if self._structure is None:
            scanner = Scanner()
            for octets in self.chunks():
                scanner.feed(octets)
            self._structure = scanner.close()
        return self._structure

    @property
    def header_8bit(self) -> bool:
        """There is an octet outside ASCII in the header section of the message, or of a part."""
        if self._header_8bit is None:
            self._header_8bit = self.has_8bit and self._look_at_headers()
        return self._header_8bit

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`."""
        return self.content.read(offset, size)

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """All octets."""
        return self.content.chunks(0, size)

    def _look_at_headers(self) -> bool:
        if not self.structure.header.octets.isascii():
            return True
        parts = [self.structure.root]
        while parts:
            part = parts.pop()
            if not self.read(part.header_start, part.body_start - part.header_start).isascii():
                return True
            parts.extend(part.children)
            if part.message is not None:
                parts.append(part.message)
        return False
