"""The summary of a message that lies in its row: ENVELOPE, MIME tree and preview in a few hundred octets.

Its form, after 26 octets of version, checksums and sizes: the ENVELOPE as IMAP sends it, the preview in UTF-8, the tree
as `packedtree` has it, and BODYSTRUCTURE as IMAP sends it. Version 1, which is read too, has one checksum, and no
BODYSTRUCTURE: it is made of the tree.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from struct import Struct
from typing import Final
from zlib import crc32

from twisted_mail_kit.mail import imapform, packedtree
from twisted_mail_kit.mail.part import Part, Place, Structure

VERSION: Final = 2
"""Another number for every change of the form, and of what clients are told by it."""

_MAGIC: Final = 0x6D
_HEAD: Final = Struct(">BBIIIIII")
# version, magic, checksum of what follows the ENVELOPE, checksum of what follows it up to the end of the ENVELOPE; the
# sizes of the header section, of the ENVELOPE, of the preview, of BODYSTRUCTURE
_SIZES: Final = Struct(">IIII")
_OLD: Final = 1
_OLD_HEAD: Final = Struct(">BBIIII")
# version, magic, checksum of all that follows it; the sizes of the header section, of the ENVELOPE, of the preview
_MOST_READY: Final = 8 * 1024
"""Octets of a BODYSTRUCTURE that is kept; a longer one, of hundreds of parts, is made of the tree."""


_CURRENT: Final = bytes([VERSION, _MAGIC])
_OLD_ONE: Final = bytes([_OLD, _MAGIC])


class StaleSummary(ValueError):
    """The summary is damaged or of another version: scan the message again."""


def pack(structure: Structure) -> bytes:
    """The octets that go with `Add`."""
    envelope = imapform.envelope(structure.header)
    preview = structure.preview.encode("utf-8", "replace")
    tree, ready = packedtree.pack_and_write(structure.root)
    if len(ready) > _MOST_READY or len(tree) > _MOST_READY:
        ready = b""
    rest = b"%b%b%b" % (preview, tree, ready)
    sizes = (structure.header_size, len(envelope), len(preview), len(ready))
    first = crc32(envelope, crc32(_SIZES.pack(*sizes)))
    return b"%b%b%b" % (_HEAD.pack(VERSION, _MAGIC, crc32(rest), first, *sizes), envelope, rest)


class Summary:
    """A packed summary; all but `is_current` is read when it is asked for.

    Where it is not `is_current`, everything else raises StaleSummary.
    """

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.header_size = 0
        """Octets of the message's header section with its blank line."""
        self.is_current = False
        """Of a version that is read, and whole."""
        self._start = self._envelope_end = self._preview_end = self._tree_end = 0
        if octets[:2] == _CURRENT and len(octets) > _HEAD.size:
            _, _, rest, first, self.header_size, envelope_size, preview_size, ready_size = _HEAD.unpack_from(octets)
            self._start = _HEAD.size
            self._place(envelope_size, preview_size, ready_size)
            self.is_current = first == crc32(octets[10 : self._envelope_end]) and rest == crc32(
                octets[self._envelope_end :]
            )
        elif octets[:2] == _OLD_ONE and len(octets) > _OLD_HEAD.size:
            _, _, checksum, self.header_size, envelope_size, preview_size = _OLD_HEAD.unpack_from(octets)
            self._start = _OLD_HEAD.size
            self._place(envelope_size, preview_size, 0)
            self.is_current = checksum == crc32(octets[6:])

    def _place(self, envelope_size: int, preview_size: int, ready_size: int) -> None:
        self._envelope_end = self._start + envelope_size
        self._preview_end = self._envelope_end + preview_size
        self._tree_end = len(self.octets) - ready_size

    @property
    def envelope(self) -> bytes:
        """The ENVELOPE, ready to be sent (RFC 3501 7.4.2)."""
        return self._octets()[self._start : self._envelope_end]

    @cached_property
    def preview(self) -> str:
        """See `Structure.preview`."""
        return self._octets()[self._envelope_end : self._preview_end].decode("utf-8", "replace")

    @property
    def tree(self) -> bytes:
        """The MIME tree as `packedtree` has it."""
        return self._octets()[self._preview_end : self._tree_end]

    @cached_property
    def root(self) -> Part:
        """The MIME tree."""
        try:
            return packedtree.unpack(self.tree)
        except (ValueError, StopIteration, RecursionError) as error:
            raise StaleSummary("the summary is damaged") from error

    @cached_property
    def places(self) -> Place:
        """Where the parts of the MIME tree are."""
        try:
            return packedtree.places(self.tree)
        except (ValueError, IndexError, RecursionError) as error:
            raise StaleSummary("the summary is damaged") from error

    @property
    def body(self) -> bytes:
        """BODY, ready to be sent."""
        return packedtree.body(self.tree, extended=False)

    @property
    def bodystructure(self) -> bytes:
        """BODYSTRUCTURE, ready to be sent."""
        return self._octets()[self._tree_end :] or packedtree.body(self.tree, extended=True)

    def _octets(self) -> bytes:
        if not self.is_current:
            raise StaleSummary("the summary is damaged or of another version")
        return self.octets


# --- of many messages at once ----------------------------------------------------------------------------------------

# Hot path: FETCH ENVELOPE or BODYSTRUCTURE of a whole mailbox. No object a message.

_CHECKED: Final = Struct(">2xII4xI4xI")
# The two checksums, the sizes of the ENVELOPE and of BODYSTRUCTURE.


def envelopes(summaries: Iterable[bytes]) -> list[bytes | None]:
    """`Summary.envelope` of each of the packed summaries, None where that is damaged or not current."""
    current, unpack, head = _CURRENT, _CHECKED.unpack_from, _HEAD.size
    result: list[bytes | None] = []
    for octets in summaries:
        if octets[:2] == current and len(octets) > head:
            _, first, size, _ = unpack(octets)
            end = head + size
            if first == crc32(octets[10:end]):
                result.append(octets[head:end])
                continue
        summary = Summary(octets)
        result.append(summary.envelope if summary.is_current else None)
    return result


def bodies(summaries: Iterable[bytes], extended: bool) -> list[bytes | None]:
    """`Summary.bodystructure` where `extended`, otherwise `Summary.body`, of each; None where it is not current."""
    if not extended:  # seldom asked for
        return [summary.body if summary.is_current else None for summary in map(Summary, summaries)]
    current, unpack, head = _CURRENT, _CHECKED.unpack_from, _HEAD.size
    result: list[bytes | None] = []
    for octets in summaries:
        if octets[:2] == current and len(octets) > head:
            rest, first, size, ready = unpack(octets)
            end = head + size
            if ready and first == crc32(octets[10:end]) and rest == crc32(octets[end:]):
                result.append(octets[-ready:])
                continue
        summary = Summary(octets)
        result.append(summary.bodystructure if summary.is_current else None)
    return result
