"""A received message as checks see it."""

from __future__ import annotations

import re

from zope.interface import implementer

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import IReceivedMessage
from twisted_mail_kit.mail.content import Content
from twisted_mail_kit.mail.headers import Headers

_FIELDS = re.compile(rb"(?:[!-9;-~]+:[^\r\n\0]*\r\n(?:[ \t][^\r\n\0]*\r\n)*)*")


@implementer(IReceivedMessage)
class ReceivedMessage:
    """Without the fields that we put on top."""

    def __init__(self, headers: Headers, content: Content) -> None:
        self.headers = headers
        self.size = content.size
        self._content = content

    async def read(self, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`."""
        return self._content.read(offset, size)


def checked_fields(fields: bytes, whose: str) -> bytes:
    """Header fields that a check gave. Raises Unavailable where they are none: nothing slips in under a bare line
    end."""
    if _FIELDS.fullmatch(fields) is None:
        raise Unavailable(f"check {whose} gave what is no header field")
    return fields
