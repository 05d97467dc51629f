"""The structure of a message that is all here: at once where it is simple, by the scanner where it is not."""

from __future__ import annotations

import re
from typing import Final

from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.lines import LineLengths
from twisted_mail_kit.mail.mimefields import holds_message, read_mime_fields
from twisted_mail_kit.mail.part import DEFAULT_LIMITS, Outline, Part, ScanLimits, Structure
from twisted_mail_kit.mail.preview import Samples
from twisted_mail_kit.mail.structure import Scanner

_BLANK_LINE: Final = re.compile(rb"(?:\A|\n)\r?\n")


def scan_whole(octets: bytes, limits: ScanLimits = DEFAULT_LIMITS) -> Structure:
    """What `Scanner` gives for these octets."""
    structure = _scan_simple(octets, limits)
    if structure is None:
        scanner = Scanner(limits)
        scanner.feed(octets)
        structure = scanner.close()
    return structure


def outline_of(octets: bytes, limits: ScanLimits = DEFAULT_LIMITS) -> Outline | None:
    """The outline of a message; None where its header section is not within the limits: then it has to be scanned.

    Hot path: nobody will ask for the parts and the preview of what goes to another server.
    """
    blank_line = _BLANK_LINE.search(octets, 0, limits.header_size + 1)
    if blank_line is None or blank_line.end() > limits.header_size:
        return None
    header = Headers(octets[: blank_line.end()], limits.header_fields)
    lengths = LineLengths()
    lengths.feed(octets)
    lengths.close()
    received = len(header.index().get(b"received", ()))
    return Outline(header, lengths.has_8bit, lengths.longest, header.is_cut, received)


def _scan_simple(octets: bytes, limits: ScanLimits) -> Structure | None:
    """Of a message that is one part with a header section within the limits; None for all others.

    Hot path: half of all mail, in a third of the scanner's time, which has to be ready for any cut.
    """
    blank_line = _BLANK_LINE.search(octets, 0, limits.header_size + 1)
    if blank_line is None:
        return None
    start = blank_line.end()
    if start > limits.header_size:
        return None
    header = Headers(octets[:start], limits.header_fields)
    fields = read_mime_fields(header, most_parameters=limits.parameters)
    if fields.type == "multipart" or holds_message(fields):
        return None
    preview = ""
    if fields.type == "text" and fields.disposition != "attachment":
        samples = Samples()
        samples.begin(fields.subtype, fields.encoding, dict(fields.parameters).get(b"charset", b"").decode("latin-1"))
        if samples.is_open:
            samples.feed(octets[start : start + samples.wanted])
            preview = samples.preview()
    lengths = LineLengths()
    lengths.feed(octets)
    lengths.close()
    lines = octets.count(b"\n", start)
    index = header.index()
    return Structure(
        len(octets),
        octets.count(b"\n", 0, start) + lines,
        header,
        start,
        Part(*fields, 0, start, len(octets), lines, (), None, None),
        preview,
        lengths.has_8bit,
        lengths.longest,
        header.is_cut,
        len(index.get(b"received", ())),
        len(fields.parameters) >= limits.parameters,
    )
