"""The one-pass MIME scanner: a message's octets in chunks of any cut become its structure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from twisted_mail_kit.mail import imapform
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.lines import LineLengths, line_end_of
from twisted_mail_kit.mail.mimefields import (
    DIGESTED,
    OPAQUE,
    PLAIN_TEXT,
    MIMEFields,
    boundary_of,
    charset_of,
    holds_message,
    opaque,
    read_mime_fields,
    unreadable,
)
from twisted_mail_kit.mail.openpart import OpenPart
from twisted_mail_kit.mail.part import DEFAULT_LIMITS, Part, ScanLimits, Structure, find_part
from twisted_mail_kit.mail.preview import Samples

LONGEST_DELIMITER: Final = 1000
"""Octets of a line that may be a delimiter, with its trailing space. So a line without end costs nothing."""
_PIECE: Final = 256 * 1024
"""Octets that are looked at at once, where a chunk is larger."""
_PATIENCE: Final = 200
_HEADER_END: Final = re.compile(rb"\n(?:\r?\n|--)")
_LF: Final = 0x0A
_CR: Final = 0x0D
_INNER_TEXT: Final = 2 * 1024
_INNER_ADDRESSES: Final = 8 * 1024


class Scanner:
    """Feed it a message in chunks, then close it: the structure is the same however the message was cut.

    No message makes it fail. It keeps the header section it is in, up to the limit, a line that may turn out to be a
    boundary, and the first octets of the first texts; never the message. Line ends may be CR LF, or LF alone.
    """

    def __init__(self, limits: ScanLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        # The octets that are still needed, and the offset of the first of them in the message. A line end before the
        # first octet makes the first line a line like all others.
        self._held = bytearray(b"\n")
        self._base = -1
        self._next = 0  # in `_held`: where to look next; always at a line end, or before one
        self._counted = 1  # in `_held`: up to what has been passed
        self._size = 0
        self._lines = 0
        self._counts_lines = True
        self._line_end = b""
        self._line_lengths = LineLengths()
        self._samples = Samples()

        root = OpenPart(0)
        self._open = [root]  # from the root to the innermost
        self._in_header = True
        self._header_kept: bytes | None = None  # the beginning of a header section that is too long
        self._delimiters: dict[bytes, tuple[int, bool]] = {}  # line -> which of `_open`, and whether it ends it
        self._needle = b""
        self._shortest = self._longest = 0
        self._misses = 0  # lines that looked like a delimiter and were none
        self._pattern: re.Pattern[bytes] | None = None
        self._parts = 1
        self._details = 0
        self._root: Part | None = None
        self._header = Headers(b"")
        self._header_size = 0
        self._is_cut = False

    def feed(self, octets: bytes) -> None:
        """Take the next octets."""
        if len(octets) <= _PIECE:
            self._take(octets)
        else:
            for start in range(0, len(octets), _PIECE):
                self._take(octets[start : start + _PIECE])

    def close(self) -> Structure:
        """The message is whole: say what it is."""
        self._scan(final=True)
        end = len(self._held)
        if self._in_header:
            self._end_header(end, is_cut=True)
        self._pass(end)
        self._end_parts(0, end)
        assert self._root is not None
        self._line_lengths.close()
        header = self._header
        return Structure(
            size=self._size,
            header=header,
            header_size=self._header_size,
            root=self._root,
            preview=self._samples.preview(),
            has_8bit=self._line_lengths.has_8bit,
            longest_line=self._line_lengths.longest,
            header_overflow=self._header_size > self._limits.header_size or header.is_cut,
            received_count=len(header.all(b"received")),
            is_cut=self._is_cut,
        )

    # --- octets ----------------------------------------------------------------------------------------------------

    def _take(self, octets: bytes) -> None:
        self._line_lengths.feed(octets)
        self._size += len(octets)
        held = self._held
        held += octets
        self._scan(final=False)
        # Let go of what nobody needs any more, but for the two octets that may be the line end before a boundary, and
        # for the one that may be the CR of a line end that is still to be counted.
        done = min(self._next, self._counted) - 1
        if self._in_header:
            done = self._shorten_header(done)
        if done > 0:
            del held[:done]
            self._base += done
            self._next -= done
            self._counted -= done

    def _scan(self, final: bool) -> None:
        while self._scan_header(final) if self._in_header else self._scan_body(final):
            pass

    def _pass(self, to: int) -> None:
        """Everything in `_held` before `to` belongs to the innermost part."""
        if to > self._counted:
            held = self._held
            if self._counts_lines:
                self._count_lines(to)
            if self._samples.is_open and not self._in_header:
                self._samples.feed(held[self._counted : min(to, self._counted + self._samples.wanted)])
            self._counted = to

    def _scan_header(self, final: bool) -> bool:
        """Look for the end of a header section. False: it is not here yet."""
        at = self._next
        while found := _HEADER_END.search(self._held, at):
            at, end = found.span()
            if found[0][-1] == _LF:
                self._end_header(end)
                self._next = end - 1
                return True
            if self._delimiters:
                is_delimiter = self._delimiter_at(at, final)
                if is_delimiter is None:
                    self._next = at
                    return False
                if is_delimiter:
                    return True
            at += 1
        self._next = max(at, len(self._held) - 2)
        return False

    def _scan_body(self, final: bool) -> bool:
        """Look for the next delimiter. False: it is not here yet."""
        held = self._held
        if not self._delimiters:
            self._pass(len(held))
            self._next = len(held)
            return False
        at = self._next
        while (at := self._candidate(at)) >= 0:
            is_delimiter = self._delimiter_at(at, final)
            if is_delimiter:
                return True
            if is_delimiter is None:
                self._next = at
                self._pass(at - 1)
                return False
            self._misses += 1
            at += 1
            self._next = at
        # What is looked for may have begun at the end of what is here.
        self._next = max(self._next, len(held) - self._longest)
        if not final:
            self._pass(self._next - 1)
        return False

    def _candidate(self, at: int) -> int:
        """Where a line end is, at `at` or after it, with what may be a delimiter after it; or -1."""
        if self._misses < _PATIENCE:
            return self._held.find(self._needle, at)
        if self._pattern is None:
            # Somebody has filled the message with what looks like boundaries: compiling costs more than a search,
            # but then all these lines cost next to nothing.
            lines = sorted(self._delimiters, key=len, reverse=True)
            self._pattern = re.compile(rb"\n(?:%b)[ \t\r]*+(?:\n|\Z)" % b"|".join(map(re.escape, lines)))
        found = self._pattern.search(self._held, at)
        return found.start() if found else -1

    def _delimiter_at(self, at: int, final: bool) -> bool | None:
        """Is the line after the LF at `at` a delimiter? Then act on it. None: the line is not all here yet."""
        held = self._held
        line_end = held.find(b"\n", at + 1, at + 1 + LONGEST_DELIMITER)
        if 0 <= line_end < at + self._shortest:
            return False
        if line_end < 0:
            if len(held) - at - 1 >= LONGEST_DELIMITER:
                return False
            if not final:
                return None
            line_end = len(held)
        # RFC 2046 5.1.1: white space may follow. More than that would make it another boundary, of which this one is
        # the beginning.
        found = self._delimiters.get(bytes(held[at + 1 : line_end]).rstrip(b" \t\r"))
        if found is None:
            return False
        index, is_last = found
        innermost = self._open[-1]
        # The line end before the delimiter belongs to the delimiter, unless it ends the header section of an empty
        # part. Parts that were left open by it end there too.
        end = at - 1 if at and held[at - 1] == _CR else at
        end = max(end, (innermost.header_start if self._in_header else innermost.body_start) - self._base)
        if self._in_header:
            self._end_header(end, is_cut=True)
        self._pass(end)
        self._end_parts(index + 1, end)
        self._next = line_end
        if is_last:
            self._open[index].boundary = None  # what follows is epilogue
            self._set_delimiters()
        else:
            self._pass(min(line_end + 1, len(held)))
            self._begin_part(self._base + self._counted)
        return True

    def _count_lines(self, to: int) -> None:
        held, start = self._held, self._counted
        if not self._line_end:
            first = held.find(b"\n", start, to)
            if first < 0:
                return
            self._line_end = line_end_of(held, first)
        self._lines += held.count(self._line_end, start + 1 - len(self._line_end), to)

    def _look_at_lines(self) -> None:
        """Line ends take time to count; in most of the octets there are, attachments, nobody wants to know."""
        self._counts_lines = self._open[-1].fields.type == "text" or self._is_in_message()

    # --- parts -----------------------------------------------------------------------------------------------------

    def _begin_part(self, header_start: int) -> None:
        part = OpenPart(header_start)
        self._open.append(part)
        self._parts += 1
        self._in_header = True
        if self._parts >= self._limits.parts or self._details > self._limits.details:
            # It is the rest of the message, and nothing ends it any more.
            self._is_cut = True
            part.fields = OPAQUE
            part.body_start = header_start
            part.lines_before = self._lines
            self._in_header = False
            self._delimiters = {}
        self._look_at_lines()

    def _shorten_header(self, done: int) -> int:
        """Let go of what is above the limit in a header section that goes on; answers how far."""
        start = self._open[-1].header_start - self._base
        limit = self._limits.header_size
        if self._header_kept is None:
            if len(self._held) - start <= limit:
                return done
            self._header_kept = bytes(self._held[start : start + limit])
        self._pass(self._next - 1)
        return min(self._next, self._counted) - 1

    def _end_header(self, end: int, is_cut: bool = False) -> None:
        """The innermost part's header section goes up to `end`; with `is_cut` there is no blank line, and no body."""
        part = self._open[-1]
        limits = self._limits
        start = part.header_start - self._base
        size = end - start
        kept, self._header_kept = self._header_kept, None
        octets = bytes(self._held[start : start + min(size, limits.header_size)]) if kept is None else kept[:size]
        if size > limits.header_size:
            octets = octets[: octets.rfind(b"\n") + 1]
        headers = Headers(octets, limits.header_fields)
        self._pass(end)
        self._in_header = False
        part.body_start = self._base + end
        part.lines_before = self._lines

        holder = self._open[-2] if len(self._open) > 1 else None
        default = PLAIN_TEXT
        if holder is None:
            self._header, self._header_size = headers, size
        else:
            self._details += len(octets)
            if holder.fields.type == "message":
                holder.envelope = imapform.envelope(headers, _INNER_TEXT, _INNER_ADDRESSES)
                self._details += len(holder.envelope)
            elif holder.fields.subtype == "digest":
                default = DIGESTED
        fields = part.fields = read_mime_fields(headers, default, limits.parameters)
        if len(fields.parameters) >= limits.parameters:
            self._is_cut = True
        self._look_at_lines()
        if fields.type == "text":
            self._sample(fields)
        elif fields.type == "multipart":
            self._begin_multipart(part)
        elif holds_message(fields):
            if len(self._open) > limits.depth:
                self._is_cut = True
                part.fields = opaque(fields)
            elif not is_cut:
                self._begin_part(part.body_start)

    def _sample(self, fields: MIMEFields) -> None:
        if fields.disposition != "attachment" and not self._is_in_message():
            self._samples.begin(fields.subtype, fields.encoding, charset_of(fields))

    def _is_in_message(self) -> bool:
        """The innermost part is an embedded message, or of one."""
        return any(part.fields.type == "message" for part in self._open)

    def _begin_multipart(self, part: OpenPart) -> None:
        boundary = boundary_of(part.fields)
        if not boundary:
            # RFC 2045 5.2: a Content-Type that cannot be read means plain text. So a person sees what is there.
            part.fields = unreadable(part.fields)
            self._look_at_lines()
            self._sample(part.fields)
        elif len(self._open) > self._limits.depth:
            self._is_cut = True
            part.fields = opaque(part.fields)
        else:
            part.boundary = boundary
            self._set_delimiters()

    def _set_delimiters(self) -> None:
        delimiters: dict[bytes, tuple[int, bool]] = {}
        for index, part in enumerate(self._open):
            if part.boundary is not None:
                # The innermost wins where two are alike; its beginning is more than another's end.
                line = b"--" + part.boundary
                delimiters[line + b"--"] = (index, True)
                delimiters[line] = (index, False)
        self._delimiters = delimiters
        self._shortest = min(map(len, delimiters), default=0)
        self._longest = max(map(len, delimiters), default=0) + 1
        self._pattern = None
        self._misses = 0
        self._needle = b"\n" + _common_beginning(delimiters)

    def _end_parts(self, keep: int, end: int) -> None:
        """All open parts but the outermost `keep` end at `end`."""
        if len(self._open) == keep:
            return
        self._samples.end()
        had_boundary = False
        while len(self._open) > keep:
            part = self._open.pop()
            had_boundary = had_boundary or part.boundary is not None
            built = part.ended(self._base + end, self._lines)
            if not self._open:
                self._root = built
            elif self._open[-1].fields.type == "multipart":
                self._open[-1].children.append(built)
            else:
                self._open[-1].message = built
        if self._open:
            self._look_at_lines()
        if had_boundary:
            self._set_delimiters()


def _common_beginning(lines: Iterable[bytes]) -> bytes:
    first, last = min(lines, default=b""), max(lines, default=b"")
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]


__all__ = ["Part", "ScanLimits", "Scanner", "Structure", "find_part"]
