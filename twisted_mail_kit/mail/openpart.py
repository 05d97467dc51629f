"""A part whose end the scanner has not seen yet, and what it is when that has come."""

from __future__ import annotations

from twisted_mail_kit.mail import imapform
from twisted_mail_kit.mail.mimefields import PLAIN_TEXT, MIMEFields, holds_message
from twisted_mail_kit.mail.part import Part


class OpenPart:
    """A part whose end has not been seen yet."""

    __slots__ = (
        "body_start",
        "boundary",
        "children",
        "envelope",
        "fields",
        "header_start",
        "lines_before",
        "message",
    )

    def __init__(self, header_start: int) -> None:
        self.header_start = header_start
        self.body_start = -1
        self.fields: MIMEFields = PLAIN_TEXT
        self.boundary: bytes | None = None
        self.lines_before = 0
        self.children: list[Part] = []
        self.message: Part | None = None
        self.envelope: bytes | None = None

    def ended(self, end: int, lines: int) -> Part:
        """It ends there, where so many line ends have been counted."""
        fields = self.fields
        message = self.message
        if fields.type == "multipart" and not self.children:
            self.children.append(_empty_part(end))
        elif holds_message(fields) and message is None:
            message = _empty_part(end)
        return Part(
            *fields,
            header_start=self.header_start,
            body_start=self.body_start,
            end=end,
            lines=lines - self.lines_before if fields.type == "text" or message is not None else 0,
            children=tuple(self.children),
            message=message,
            envelope=None if message is None else self.envelope or imapform.NO_ENVELOPE,
        )


def _empty_part(at: int) -> Part:
    return Part(*PLAIN_TEXT, at, at, at, 0, (), None, None)
