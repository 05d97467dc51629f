"""The structure of a message that is all here: at once where it is as most mail is, by the scanner where it is not."""

from __future__ import annotations

import re
from typing import Final

from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.lines import LineLengths, line_end_of
from twisted_mail_kit.mail.mimefields import (
    DIGESTED,
    PLAIN_TEXT,
    MIMEFields,
    boundary_of,
    charset_of,
    holds_message,
    read_mime_fields,
)
from twisted_mail_kit.mail.part import DEFAULT_LIMITS, Outline, Part, ScanLimits, Structure
from twisted_mail_kit.mail.preview import HTML_SAMPLE, Samples
from twisted_mail_kit.mail.structure import LONGEST_DELIMITER, Scanner

_BLANK_LINE: Final = re.compile(rb"(?:\A|\n)\r?\n")
_PATIENCE: Final = 20
"""Lines that look like a delimiter and are none, until the scanner, which has means against them, is asked."""
_USUAL: Final = 4096
"""Octets that a header section seldom has."""
_CR: Final = 0x0D
_LINE_ENDS: Final = (b"\r", b"\n")


def scan_whole(octets: bytes, limits: ScanLimits = DEFAULT_LIMITS) -> Structure:
    """What `Scanner` gives for these octets."""
    structure = _scan_usual(octets, limits)
    if structure is None:
        scanner = Scanner(limits)
        scanner.feed(octets)
        structure = scanner.close()
    return structure


def outline_of(octets: bytes, limits: ScanLimits = DEFAULT_LIMITS) -> Outline | None:
    """The outline of a message; None where its header section is not within the limits: then it has to be scanned.

    Hot path: nobody will ask for the parts and the preview of what goes to another server.
    """
    start = _body_start(octets, 0, limits)
    if start is None:
        return None
    header = Headers(octets[:start], limits.header_fields)
    lengths = LineLengths.of(octets)
    received = len(header.index().get(b"received", ()))
    return Outline(header, lengths.has_8bit, lengths.longest, header.is_cut, received)


def _body_start(octets: bytes, header_start: int, limits: ScanLimits) -> int | None:
    """Where the body is whose header section begins there; None: that is not within the limits, or does not end."""
    # The line end before the first field, where there is one, makes a section without fields one like all others.
    begin, end = max(header_start - 1, 0), header_start + limits.header_size
    if header_start or octets[:1] not in _LINE_ENDS:
        # Hot path: as far as most header sections go, two searches for octets take a tenth of one for a pattern.
        usual = min(begin + _USUAL, end)
        at = octets.find(b"\n\r\n", begin, usual)
        other = octets.find(b"\n\n", begin, at + 1 if at >= 0 else usual)
        if other >= 0:
            return other + 2
        if at >= 0:
            return at + 3
    blank_line = _BLANK_LINE.search(octets, begin, end)
    return None if blank_line is None else blank_line.end()


# --- usual mail ------------------------------------------------------------------------------------------------------

# Hot path: nearly all mail, in a third of the scanner's time, which has to be ready for any cut and for any nonsense.


def _scan_usual(octets: bytes, limits: ScanLimits) -> Structure | None:
    """Of a message whose header sections all end and are within the limits, with no message in it; None otherwise."""
    start = _body_start(octets, 0, limits)
    if start is None:
        return None
    header = Headers(octets[:start], limits.header_fields)
    fields = read_mime_fields(header, most_parameters=limits.parameters)
    parts = _Parts(octets, limits)
    root = parts.part(fields, 0, start, len(octets), 1)
    if root is None:
        return None
    lengths = LineLengths.of(octets)
    return Structure(
        len(octets),
        header,
        start,
        root,
        parts.samples.preview(),
        lengths.has_8bit,
        lengths.longest,
        header.is_cut,
        len(header.index().get(b"received", ())),
        len(fields.parameters) >= limits.parameters,
    )


class _Parts:
    """The parts of one message; None stands for one that the scanner has to look at, and for what it is in."""

    __slots__ = ("_details", "_limits", "_line_end", "_lines", "_octets", "_parts", "samples")

    def __init__(self, octets: bytes, limits: ScanLimits) -> None:
        self._octets = octets
        self._limits = limits
        self._line_end = line_end_of(octets, octets.find(b"\n"))
        self._parts = 1
        self._details = 0
        self._lines: list[bytes] = []
        """Those that mean something to the multiparts we are in: what stands between their parts, and behind."""
        self.samples = Samples()

    def part(self, fields: MIMEFields, header_start: int, start: int, end: int, depth: int) -> Part | None:
        """The one with its body in ``[start:end)``, so many levels deep."""
        octets = self._octets
        children: tuple[Part, ...] = ()
        lines = 0
        if fields.type == "text":
            lines = octets.count(self._line_end, start, end)
            if fields.disposition != "attachment":
                sample = octets[start : min(end, start + HTML_SAMPLE)]
                self.samples.take(sample, fields.subtype, fields.encoding, charset_of(fields))
        elif fields.type == "multipart":
            found = self._children(fields, start, end, depth)
            if not found:
                return None
            children = tuple(found)
        elif holds_message(fields):
            return None
        return Part(*fields, header_start, start, end, lines, children, None, None)

    def _children(self, fields: MIMEFields, start: int, end: int, depth: int) -> list[Part] | None:
        """Of a multipart (RFC 2046 5.1.1)."""
        octets = self._octets
        boundary = boundary_of(fields)
        if not boundary or depth > self._limits.depth:
            return None
        delimiter = b"--" + boundary
        last = delimiter + b"--"
        if delimiter in self._lines or last in self._lines:
            return None
        self._lines += delimiter, last
        needle = b"\n" + delimiter
        default = DIGESTED if fields.subtype == "digest" else PLAIN_TEXT
        children: list[Part] = []
        begins, misses = -1, 0
        at = octets.find(needle, start - 1, end)
        while at >= 0:
            line_end = octets.find(b"\n", at + 1, at + 1 + LONGEST_DELIMITER)
            if line_end < 0 and len(octets) - at > LONGEST_DELIMITER:
                return None
            line = octets[at + 1 : line_end if line_end >= 0 else len(octets)].rstrip(b" \t\r")
            is_last = line == last
            if line != delimiter and not is_last:
                misses += 1
                if misses > _PATIENCE:
                    return None
                at = octets.find(needle, at + 1, end)
                continue
            if begins >= 0:
                # The line end before the delimiter belongs to the delimiter.
                child = self._child(default, begins, at - 1 if octets[at - 1] == _CR else at, depth)
                if child is None:
                    return None
                children.append(child)
            begins = -1
            if is_last:
                break
            if line_end < 0:
                return None
            begins = line_end + 1
            at = octets.find(needle, line_end, end)
        if begins >= 0:  # nothing ends the last one but the part that it is in
            child = self._child(default, begins, end, depth)
            if child is None:
                return None
            children.append(child)
        del self._lines[-2:]
        return children

    def _child(self, default: MIMEFields, header_start: int, end: int, depth: int) -> Part | None:
        limits = self._limits
        self._parts += 1
        if self._parts >= limits.parts or self._details > limits.details:
            return None
        start = _body_start(self._octets, header_start, limits)
        if start is None or start > end:
            return None
        self._details += start - header_start
        headers = Headers(self._octets[header_start:start], limits.header_fields)
        fields = read_mime_fields(headers, default, limits.parameters)
        if len(fields.parameters) >= limits.parameters:
            return None
        return self.part(fields, header_start, start, end, depth + 1)
