"""The part of a report that gives the sender back what he sent: the header section, or all of it."""

from __future__ import annotations

import quopri
import re
from typing import Final

from attrs import frozen

_END: Final = re.compile(rb"\r?\n\r?\n")
_LINE_END: Final = re.compile(rb"\r\n|\n")
_LONGEST: Final = 998
HEADER_SECTION: Final = 64 * 1024
"""More of a header section is not returned."""


@frozen
class Part:
    """One part of a multipart/report: its own header and its body, lines ended by CR LF."""

    header: bytes
    body: bytes
    is_8bit: bool = False


def header_section(start: bytes) -> bytes:
    """The header section at the start of a message, cut at a whole line where it is too long."""
    if start[:1] in (b"\r", b"\n"):
        return b""
    end = _END.search(start)
    if end is not None and end.start() <= HEADER_SECTION:
        return start[: end.start()] + b"\r\n"
    section = start[:HEADER_SECTION]
    return section if len(start) < HEADER_SECTION else section[: section.rfind(b"\n") + 1]


def headers_part(section: bytes, is_global: bool) -> Part:
    """RFC 6522 3 (text/rfc822-headers), or RFC 6533 6 (message/global-headers) where UTF-8 is at home."""
    section = _LINE_END.sub(b"\r\n", section).replace(b"\0", b"?")
    section = re.sub(rb"\r(?!\n)", b" ", section)
    if not section.endswith(b"\r\n"):
        section += b"\r\n"
    is_long = any(len(line) > _LONGEST for line in section.split(b"\r\n"))
    if section.isascii() and not is_long:
        return Part(b"Content-Type: text/rfc822-headers; charset=us-ascii\r\n", section)
    if is_global and not is_long and is_utf8(section):
        header = b"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n"
        return Part(header, section, is_8bit=True)
    charset = b"utf-8" if is_utf8(section) else b"iso-8859-1"
    header = b"Content-Type: text/rfc822-headers; charset=" + charset + b"\r\nContent-Transfer-Encoding: "
    return Part(header + b"quoted-printable\r\n", quoted(section))


def message_part(message: bytes, is_global: bool) -> Part | None:
    """RFC 6522 3 (message/rfc822), or RFC 6533 6 (message/global). None: these octets cannot be in a part without
    an encoding, and such a part must not have one (RFC 2046 5.2.1)."""
    lines = message.split(b"\r\n")
    if b"\0" in message or any(len(line) > _LONGEST or b"\r" in line or b"\n" in line for line in lines):
        return None
    section = header_section(message[: HEADER_SECTION + 4])
    kind = b"message/global" if is_global and not section.isascii() else b"message/rfc822"
    header = b"Content-Type: " + kind + b"\r\n"
    if message.isascii():
        return Part(header, message)
    return Part(header + b"Content-Transfer-Encoding: 8bit\r\n", message, is_8bit=True)


def text_part(lines: list[str]) -> Part:
    """What a person reads first."""
    text = "\r\n".join([*lines, ""])
    if text.isascii():
        return Part(b"Content-Type: text/plain; charset=us-ascii\r\n", text.encode("ascii"))
    header = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return Part(header, quoted(text.encode("utf-8")))


def quoted(octets: bytes) -> bytes:
    """RFC 2045 6.7, of text whose lines end with CR LF."""
    return quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def is_utf8(octets: bytes) -> bool:
    """It could be read as UTF-8."""
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
