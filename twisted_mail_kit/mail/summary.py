"""The summary of a message that lies in its row: ENVELOPE, MIME tree and preview in a few hundred octets.

Its form, after eighteen octets of version, checksum and sizes: the ENVELOPE as IMAP sends it, the preview in UTF-8,
and the tree as fields with a NUL after each of them. Each part is there before the parts in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from struct import Struct
from typing import Final
from zlib import crc32

from twisted_mail_kit.mail import imapform
from twisted_mail_kit.mail.part import Parameters, Part, Structure

VERSION: Final = 1
"""Another number for every change of the form, and of what a scan finds."""

_HEAD: Final = Struct(">BBIIII")
_MAGIC: Final = 0x6D
# version, magic, checksum of all that follows it, size of the header section, of the ENVELOPE, of the preview

_CONTENT_ID, _DESCRIPTION, _MD5, _DISPOSITION, _LANGUAGE, _LOCATION, _MESSAGE = (1 << bit for bit in range(7))


class StaleSummary(ValueError):
    """The summary is damaged or of another version: scan the message again."""


def pack(structure: Structure) -> bytes:
    """The octets that go with `Add`."""
    envelope = imapform.envelope(structure.header)
    preview = structure.preview.encode("utf-8", "replace")
    fields: list[bytes] = []
    _pack_part(structure.root, fields)
    rest = b"%b%b%b" % (envelope, preview, b"\0".join(fields))
    sizes = (structure.header_size, len(envelope), len(preview))
    checksum = crc32(rest, crc32(_SIZES.pack(*sizes)))
    return _HEAD.pack(VERSION, _MAGIC, checksum, *sizes) + rest


_SIZES: Final = Struct(">III")


def _pack_part(part: Part, fields: list[bytes]) -> None:
    mask = (
        (part.content_id is not None and _CONTENT_ID)
        | (part.description is not None and _DESCRIPTION)
        | (part.md5 is not None and _MD5)
        | (part.disposition is not None and _DISPOSITION)
        | (bool(part.language) and _LANGUAGE)
        | (part.location is not None and _LOCATION)
        | (part.message is not None and _MESSAGE)
    )
    fields.append(
        b"%x %x %x %x %x %x %x"
        % (mask, part.header_start, part.body_start, part.end, part.lines, len(part.parameters), len(part.children))
    )
    fields.append(f"{part.type}/{part.subtype}/{part.encoding}".encode("ascii"))
    for parameter in part.parameters:
        fields.extend(parameter)
    if mask:
        if part.content_id is not None:
            fields.append(part.content_id)
        if part.description is not None:
            fields.append(part.description)
        if part.md5 is not None:
            fields.append(part.md5)
        if part.disposition is not None:
            fields.append(b"%x %b" % (len(part.disposition_parameters), part.disposition.encode("ascii")))
            for parameter in part.disposition_parameters:
                fields.extend(parameter)
        if part.language:
            fields.append(b" ".join(part.language))
        if part.location is not None:
            fields.append(part.location)
        if part.message is not None:
            fields.append(part.envelope or imapform.NO_ENVELOPE)
            _pack_part(part.message, fields)
    for child in part.children:
        _pack_part(child, fields)


class Summary:
    """A packed summary; all but `is_current` is read when it is asked for.

    Where it is not `is_current`, everything else raises StaleSummary.
    """

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.header_size = 0
        """Octets of the message's header section with its blank line."""
        self.is_current = False
        """Of this version, and whole."""
        self._envelope_end = self._preview_end = 0
        if len(octets) > _HEAD.size and octets[0] == VERSION:
            _, magic, checksum, self.header_size, envelope_size, preview_size = _HEAD.unpack_from(octets)
            self._envelope_end = _HEAD.size + envelope_size
            self._preview_end = self._envelope_end + preview_size
            self.is_current = magic == _MAGIC and checksum == crc32(memoryview(octets)[6:])

    @property
    def envelope(self) -> bytes:
        """The ENVELOPE, ready to be sent (RFC 3501 7.4.2)."""
        return self._octets()[_HEAD.size : self._envelope_end]

    @cached_property
    def preview(self) -> str:
        """See `Structure.preview`."""
        return self._octets()[self._envelope_end : self._preview_end].decode("utf-8", "replace")

    @cached_property
    def root(self) -> Part:
        """The MIME tree."""
        fields = iter(self._octets()[self._preview_end :].split(b"\0"))
        try:
            return _unpack_part(fields)
        except (ValueError, StopIteration, RecursionError) as error:
            raise StaleSummary("the summary is damaged") from error

    @property
    def body(self) -> bytes:
        """BODY, ready to be sent."""
        return imapform.body(self.root, extended=False)

    @property
    def bodystructure(self) -> bytes:
        """BODYSTRUCTURE, ready to be sent."""
        return imapform.body(self.root, extended=True)

    def _octets(self) -> bytes:
        if not self.is_current:
            raise StaleSummary("the summary is damaged or of another version")
        return self.octets


def _unpack_part(fields: Iterator[bytes]) -> Part:
    mask, header_start, body_start, end, lines, parameter_count, child_count = [
        int(number, 16) for number in next(fields).split(b" ")
    ]
    main, sub, encoding = next(fields).decode("ascii").split("/")
    parameters = _unpack_parameters(fields, parameter_count) if parameter_count else ()
    content_id = next(fields) if mask & _CONTENT_ID else None
    description = next(fields) if mask & _DESCRIPTION else None
    md5 = next(fields) if mask & _MD5 else None
    disposition = None
    disposition_parameters: Parameters = ()
    if mask & _DISPOSITION:
        count, _, name = next(fields).partition(b" ")
        disposition = name.decode("ascii")
        disposition_parameters = _unpack_parameters(fields, int(count, 16))
    language = tuple(next(fields).split(b" ")) if mask & _LANGUAGE else ()
    location = next(fields) if mask & _LOCATION else None
    message = envelope = None
    if mask & _MESSAGE:
        envelope = next(fields)
        message = _unpack_part(fields)
    return Part(
        main,
        sub,
        parameters,
        content_id,
        description,
        encoding,
        md5,
        disposition,
        disposition_parameters,
        language,
        location,
        header_start,
        body_start,
        end,
        lines,
        tuple([_unpack_part(fields) for _ in range(child_count)]) if child_count else (),
        message,
        envelope,
    )


def _unpack_parameters(fields: Iterator[bytes], count: int) -> Parameters:
    return tuple([(next(fields), next(fields)) for _ in range(count)])
