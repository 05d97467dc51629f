"""The summary of a message that lies in its row: ENVELOPE, MIME tree and preview in a few hundred octets.

Its form, after eighteen octets of version, checksum and sizes: the ENVELOPE as IMAP sends it, the preview in UTF-8,
and the tree as `packedtree` has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from struct import Struct
from typing import Final
from zlib import crc32

from twisted_mail_kit.mail import imapform, packedtree
from twisted_mail_kit.mail.part import Part, Place, Structure

VERSION: Final = 1
"""Another number for every change of the form, and of what a scan finds."""

_HEAD: Final = Struct(">BBIIII")
_MAGIC: Final = 0x6D
# version, magic, checksum of all that follows it, size of the header section, of the ENVELOPE, of the preview


class StaleSummary(ValueError):
    """The summary is damaged or of another version: scan the message again."""


def pack(structure: Structure) -> bytes:
    """The octets that go with `Add`."""
    envelope = imapform.envelope(structure.header)
    preview = structure.preview.encode("utf-8", "replace")
    rest = b"%b%b%b" % (envelope, preview, packedtree.pack(structure.root))
    sizes = (structure.header_size, len(envelope), len(preview))
    checksum = crc32(rest, crc32(_SIZES.pack(*sizes)))
    return _HEAD.pack(VERSION, _MAGIC, checksum, *sizes) + rest


_SIZES: Final = Struct(">III")


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

    @property
    def tree(self) -> bytes:
        """The MIME tree as `packedtree` has it."""
        return self._octets()[self._preview_end :]

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
        return packedtree.body(self.tree, extended=True)

    def _octets(self) -> bytes:
        if not self.is_current:
            raise StaleSummary("the summary is damaged or of another version")
        return self.octets


# --- of many messages at once ----------------------------------------------------------------------------------------

# Hot path: FETCH ENVELOPE or BODYSTRUCTURE of a whole mailbox. No object a message.

_CURRENT: Final = bytes([VERSION, _MAGIC])


def envelopes(summaries: Iterable[bytes]) -> list[bytes | None]:
    """`Summary.envelope` of each of the packed summaries, None where it is not current."""
    unpack, size = _HEAD.unpack_from, _HEAD.size
    result: list[bytes | None] = []
    for octets in summaries:
        if octets[:2] == _CURRENT and len(octets) > size:
            _, _, checksum, _, length, _ = unpack(octets)
            if checksum == crc32(octets[6:]):
                result.append(octets[size : size + length])
                continue
        result.append(None)
    return result


def bodies(summaries: Iterable[bytes], extended: bool) -> list[bytes | None]:
    """`Summary.bodystructure` where `extended`, otherwise `Summary.body`, of each; None where it is not current."""
    unpack, size, body = _HEAD.unpack_from, _HEAD.size, packedtree.body
    result: list[bytes | None] = []
    for octets in summaries:
        if octets[:2] == _CURRENT and len(octets) > size:
            _, _, checksum, _, length, preview = unpack(octets)
            if checksum == crc32(octets[6:]):
                result.append(body(octets[size + length + preview :], extended))
                continue
        result.append(None)
    return result
