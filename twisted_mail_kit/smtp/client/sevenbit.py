"""The honest downgrade: a message re-encoded, part by part, for a server that takes only ASCII (RFC 6152 3)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.part import Part
from twisted_mail_kit.smtp.client.message import OutgoingMessage
from twisted_mail_kit.smtp.wire.data import LineEnds

_SIGNED_FIELDS: Final = (b"dkim-signature", b"arc-seal", b"arc-message-signature", b"domainkey-signature")
_SIGNED_TYPES: Final = ("multipart/signed", "multipart/encrypted")
_SIGNED_APPLICATION: Final = ("pkcs7-", "x-pkcs7-", "pgp-encrypted", "pgp-signature")
_CHUNK: Final = 57 * 1024
"""A multiple of 57, the octets of one line of base64, and of 3."""
_8BIT: Final = re.compile(rb"[\x80-\xff]+")
_8BIT_WORD: Final = re.compile(rb"[^\s\"<>(),;:@]*[\x80-\xff][^\s\"<>(),;:@]*")
_COMPOSITE: Final = re.compile(rb"[ \t\r\n]*(multipart|message)[ \t]*/", re.IGNORECASE)
_NO_8BIT: Final = bytes(range(128)) + b"?" * 128


class CannotDowngrade(Exception):
    """The message must not be altered, or cannot be; the text says why."""


def check_downgrade(message: OutgoingMessage) -> None:
    """Whether it may be altered at all: nothing that is signed or encrypted ever is. Raises CannotDowngrade."""
    structure = message.structure
    if structure.header_overflow:
        raise CannotDowngrade("its header section is too large")
    if any(name in structure.header for name in _SIGNED_FIELDS):
        raise CannotDowngrade("it is signed (DKIM or ARC)")
    for part in _all_parts(structure.root):
        is_signed = part.type == "application" and part.subtype.startswith(_SIGNED_APPLICATION)
        if is_signed or part.content_type in _SIGNED_TYPES:
            raise CannotDowngrade(f"it has a part of type {part.content_type}")
        if part.children or part.message is not None:
            continue
        content_type = Headers(_header(message, part)).get(b"content-type") or b""
        if part.type == "application" and _COMPOSITE.match(content_type):
            raise CannotDowngrade("it has too many parts, or too deep")  # the scan did not look into that one


def downgrade(message: OutgoingMessage, to_8bit: bool = False) -> Iterator[bytes]:
    """The octets as they can be sent: ASCII in lines, or, with `to_8bit`, 8-bit octets in lines.

    Texts become quoted-printable, all else base64, and only those parts that need it; what holds parts is declared
    7bit. Content-Transfer-Encoding fields are rewritten. Raises CannotDowngrade before the first octet.
    """
    check_downgrade(message)
    return _Downgrade(message, to_8bit).part(message.structure.root)


class _Downgrade:
    def __init__(self, message: OutgoingMessage, to_8bit: bool) -> None:
        self._message = message
        self._to_8bit = to_8bit

    def part(self, part: Part) -> Iterator[bytes]:
        """Header section and body; `part.end` is where it ends."""
        if part.children:
            yield from self._holder(part, part.children)
        elif part.message is not None:
            yield from self._holder(part, (part.message,))
        else:
            yield from self._leaf(part)

    def _holder(self, part: Part, inside: tuple[Part, ...]) -> Iterator[bytes]:
        # RFC 2045 6.4: what holds parts may be 7bit, 8bit or binary, and nothing else.
        is_8bit = self._to_8bit and not all(map(self._will_be_ascii, inside))
        yield self._fields(part, b"8bit" if is_8bit else b"7bit")
        at = part.body_start
        for one in inside:
            # Preamble, delimiters: nobody reads what is between the parts.
            yield from self._between(at, one.header_start)
            yield from self.part(one)
            at = one.end
        yield from self._between(at, part.end)

    def _leaf(self, part: Part) -> Iterator[bytes]:
        encoding = part.encoding
        if encoding in ("quoted-printable", "base64"):
            yield self._fields(part, encoding.encode())
            for octets in self._chunks(part):
                yield _repair(octets, encoding) if not self._to_8bit else octets
        elif encoding == "binary" or not self._fits(part):
            if part.type == "text" and encoding != "binary" and not self._has_nul(part):
                yield self._fields(part, b"quoted-printable")
                yield from quoted_printable(self._chunks(part))
            else:
                yield self._fields(part, b"base64")
                yield from base64(self._chunks(part))
        else:
            is_8bit = self._to_8bit and not self._is_ascii(part)
            yield self._fields(part, b"8bit" if is_8bit else b"7bit")
            yield from self._chunks(part)

    # --- questions -------------------------------------------------------------------------------------------------

    def _fits(self, part: Part) -> bool:
        """It can stay as it is."""
        if self._to_8bit:
            return not self._has_nul(part)
        return self._is_ascii(part) and not self._has_nul(part)

    def _is_ascii(self, part: Part) -> bool:
        return all(octets.isascii() for octets in self._chunks(part))

    def _has_nul(self, part: Part) -> bool:
        return any(b"\0" in octets for octets in self._chunks(part))

    def _will_be_ascii(self, part: Part) -> bool:
        if part.children or part.message is not None:
            return all(map(self._will_be_ascii, part.children or (part.message,)))  # type: ignore[arg-type]
        return part.encoding in ("quoted-printable", "base64", "binary") or self._is_ascii(part)

    # --- octets ----------------------------------------------------------------------------------------------------

    def _chunks(self, part: Part) -> Iterator[bytes]:
        at = part.body_start
        while at < part.end:
            octets = self._message.read(at, min(_CHUNK, part.end - at))
            yield octets
            at += len(octets)

    def _between(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            octets = self._message.read(start, min(_CHUNK, end - start))
            yield octets if self._to_8bit else octets.translate(_NO_8BIT)
            start += len(octets)

    def _fields(self, part: Part, encoding: bytes) -> bytes:
        """The part's header section, with that Content-Transfer-Encoding."""
        octets = _header(self._message, part)
        headers = Headers(octets)
        old = [field for field in headers.fields if field.name.lower() == b"content-transfer-encoding"]
        if part.encoding.encode() != encoding or len(old) > 1:
            octets = _with_encoding(octets, encoding, [(field.start, field.end) for field in old])
            if part.header_start == 0 and b"mime-version" not in headers:
                # RFC 2045 4: without it the new field means nothing. RFC 1428 3: nobody knows what the octets are.
                octets = b"MIME-Version: 1.0\r\n" + octets
                if b"content-type" not in headers and encoding == b"quoted-printable":
                    octets = b"Content-Type: text/plain; charset=unknown-8bit\r\n" + octets
        if not self._to_8bit and not octets.isascii():
            octets = _8BIT_WORD.sub(lambda found: _encoded_words(found[0]), octets)
        return octets


def _with_encoding(octets: bytes, encoding: bytes, old: list[tuple[int, int]]) -> bytes:
    field = b"Content-Transfer-Encoding: %b\r\n" % encoding
    if old:
        pieces, at = [], 0
        for number, (start, end) in enumerate(old):
            pieces += [octets[at:start], b"" if number else field]
            at = end
        return b"".join(pieces) + octets[at:]
    if encoding == b"7bit":
        return octets  # RFC 2045 6.1: what is not said is 7bit
    for blank in (b"\r\n", b"\n"):
        if octets.endswith(blank):
            start = len(octets) - len(blank)
            if start == 0 or octets[:start].endswith(b"\n"):
                return octets[:start] + field + octets[start:]
    return octets + (b"" if octets.endswith(b"\n") or not octets else b"\r\n") + field + b"\r\n"


def _encoded_words(word: bytes) -> bytes:
    """RFC 2047, for what was never allowed in the first place; RFC 1428 for octets of which nobody knows what they
    are."""
    try:
        text, charset = word.decode("utf-8"), b"utf-8"
    except UnicodeDecodeError:
        text, charset = word.decode("latin-1"), b"unknown-8bit"
    codec = "utf-8" if charset == b"utf-8" else "latin-1"
    pieces = [text[at : at + 10].encode(codec) for at in range(0, len(text), 10)]
    return b" ".join(b"=?%b?B?%b?=" % (charset, binascii.b2a_base64(piece, newline=False)) for piece in pieces)


def _repair(octets: bytes, encoding: str) -> bytes:
    """Octets outside ASCII within what is declared as encoded: RFC 2045 6.8 has base64 pass over them."""
    if octets.isascii():
        return octets
    if encoding == "base64":
        return _8BIT.sub(b"", octets)
    return _8BIT.sub(lambda found: b"".join(b"=%02X" % one for one in found[0]), octets)


def quoted_printable(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 2045 6.7, of lines that end in CR LF; other line ends become CR LF on the way."""
    line_ends = LineEnds("rewrite")
    held = b""
    for octets in chunks:
        held += line_ends.take(octets)
        end = held.rfind(b"\r\n") + 2
        if end >= 2:
            yield _qp(held[:end])
            held = held[end:]
        while len(held) > _CHUNK:  # a line without end
            yield _qp(held[:_CHUNK]) + b"=\r\n"
            held = held[_CHUNK:]
    held += line_ends.finish()
    if held:
        yield _qp(held)


def _qp(octets: bytes) -> bytes:
    encoded = binascii.b2a_qp(octets, quotetabs=False, istext=True, header=False)
    # It ends its soft breaks as the first line of its input ends.
    return encoded if b"\r\n" in octets else encoded.replace(b"=\n", b"=\r\n")


def base64(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 2045 6.8: lines of 76 characters; no line end after the last."""
    held = b""
    before = b""
    for octets in chunks:
        held += octets
        whole = len(held) - len(held) % 57
        if whole:
            view = memoryview(held)
            lines = [binascii.b2a_base64(view[at : at + 57], newline=False) for at in range(0, whole, 57)]
            yield before + b"\r\n".join(lines)
            before = b"\r\n"
            held = held[whole:]
    if held:
        yield before + binascii.b2a_base64(held, newline=False)


def _header(message: OutgoingMessage, part: Part) -> bytes:
    return message.read(part.header_start, part.body_start - part.header_start)


def _all_parts(root: Part) -> Iterator[Part]:
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(part.children)
        if part.message is not None:
            waiting.append(part.message)
