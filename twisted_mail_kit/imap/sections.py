"""BODY[…]: which octets of a message a section is, and sending them without holding them (RFC 3501 6.4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.imap.pages import WHOLE
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.imap.wire.commands import Section
from twisted_mail_kit.interfaces import Message
from twisted_mail_kit.mail.headers import select_fields
from twisted_mail_kit.mail.structure import find_part
from twisted_mail_kit.mail.summary import Summary

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession

_LONGEST_HEADER = 1024 * 1024
"""Octets of a header section that are looked at for HEADER.FIELDS."""

Span = tuple[int, int]


def locate(section: Section, size: int, summary: Summary | None) -> Span | None:
    """From where to where a section reaches in the message; None: there is no such section, NIL.

    HEADER.FIELDS is where HEADER is. The whole message needs no summary.
    """
    if not section.part:
        if not section.text:
            return 0, size
        assert summary is not None
        # The summary may cut the tree short, never the top: the header ends where it ends.
        return (summary.header_size, size) if section.text == "TEXT" else (0, summary.header_size)
    assert summary is not None
    part = find_part(summary.places, section.part)
    if part is None:
        return None
    if not section.text:
        return part.body_start, part.end
    if section.text == "MIME":
        return part.header_start, part.body_start
    if part.message is None:
        return None
    inner = part.message
    return (inner.body_start, inner.end) if section.text == "TEXT" else (inner.header_start, inner.body_start)


def written(head: bytes, sections: Sequence[Section], octets: bytes, summary: Summary | None) -> bytes:
    """The whole response line of a message that is in memory: what `SectionReader` sends of one that is not."""
    pieces = [head if head.endswith(b"(") else head + b" "]
    for section in sections:
        span = locate(section, len(octets), summary)
        if span is None:
            pieces.append(section.label + b" NIL")
        elif section.text.startswith("HEADER.FIELDS"):
            pieces.append(_selected(section, octets[span[0] : min(span[1], span[0] + _LONGEST_HEADER)]))
        else:
            start, stop = clip(span, section.partial)
            pieces += (responses.literal_head(section.label, stop - start), octets[start:stop])
        pieces.append(b" ")
    pieces[-1] = b")\r\n"
    return b"".join(pieces)


def _selected(section: Section, header: bytes) -> bytes:
    octets = select_fields(header, section.fields, section.text.endswith("NOT"))
    start, stop = clip((0, len(octets)), section.partial)
    return responses.literal_head(section.label, stop - start) + octets[start:stop]


class SectionReader:
    """Sends the sections of one message."""

    def __init__(self, session: IMAPSession, row: Message) -> None:
        self.session = session
        self.row = row
        self.has_begun = False
        """Something of the response has been written."""

    async def send(self, head: bytes, sections: list[Section]) -> None:
        """The whole response line: `head` without its end, and the sections.

        Raises BlobNotFound, with nothing written unless `has_begun`.
        """
        summary = None
        if any(section.text or section.part for section in sections):
            summary = await self.session.server.summary(self.session.account, self.row)
        head += b"" if head.endswith(b"(") else b" "
        for section in sections:
            await self._send_section(head, section, summary)
            head = b" "
        self.session.outflow.write(b")\r\n")

    async def _send_section(self, head: bytes, section: Section, summary: Summary | None) -> None:
        span = locate(section, self.row.size, summary)
        if span is None:
            self._write(head + section.label + b" NIL")
            return
        if section.text.startswith("HEADER.FIELDS"):
            header = await self._read(span[0], min(span[1], span[0] + _LONGEST_HEADER))
            self._write(head + _selected(section, header))
            return
        start, stop = clip(span, section.partial)
        # The first octets are there before their number is promised.
        octets = await self._slice(start, stop)
        self._write(head + responses.literal_head(section.label, stop - start) + octets)
        start += len(octets)
        while start < stop:
            await self.session.breathe()
            octets = await self._slice(start, stop)
            self._write(octets)
            start += len(octets)

    def _write(self, octets: bytes) -> None:
        self.has_begun = True
        self.session.outflow.write(octets)

    async def _slice(self, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        octets = await self.session.account.read_blob(self.row.blob_id, start, min(WHOLE, stop - start))
        if not octets:
            raise BlobNotFound(f"{self.row.blob_id} is shorter than its row says")
        return octets

    async def _read(self, start: int, stop: int) -> bytes:
        pieces = []
        while start < stop:
            pieces.append(await self._slice(start, stop))
            start += len(pieces[-1])
        return b"".join(pieces)


def clip(span: Span, partial: tuple[int, int] | None) -> Span:
    """What ``<offset.count>`` leaves of it; nothing where the offset is behind the end."""
    if partial is None:
        return span
    start = min(span[0] + partial[0], span[1])
    return start, min(start + partial[1], span[1])
