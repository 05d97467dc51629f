"""A message's octets while it is being received: in memory while small, in a file without a name when large."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class Room:
    """Memory that contents share: those that are too large to lie in memory for sure do so while there is room."""

    LARGEST = 8
    """No content gets more than this part of it, an eighth."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        """Octets that all contents have in memory now."""

    def has_room_for(self, size: int) -> bool:
        """Whether a content of `size`, which is counted already, may stay."""
        return size <= self.size // self.LARGEST and self.taken <= self.size


_NO_ROOM = Room(0)


class Content:
    """Octets that grow at the end, and can be read anywhere.

    Up to `memory` octets stay in memory, and more while there is `room`. Beyond, they go to a file in the folder
    `spool` that has no name: it is gone with the last process that has it open, whatever happens. `write` never touches
    the disk: it gathers, and when `is_due` says so the owner calls `flush`, which may block and so belongs in a thread.
    Nothing else may be called while `flush` is at work there.
    """

    def __init__(
        self, spool: Path | None = None, memory: int = 256 * 1024, chunk: int = 512 * 1024, room: Room | None = None
    ) -> None:
        self.size = 0
        self._room = room or _NO_ROOM
        self._counted = 0  # octets of ours that `room` knows of
        self._spool = spool
        self._memory = memory
        self._chunk = chunk
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._file: BinaryIO | None = None
        self._filed = 0

    @property
    def is_large(self) -> bool:
        """It does not all lie in memory, or will not soon."""
        return self._file is not None or not self._may_stay()

    @property
    def is_due(self) -> bool:
        """Enough was gathered: call `flush`."""
        return not self._may_stay() if self._file is None else self._gathered_size >= self._chunk

    def write(self, octets: bytes) -> None:
        """Append."""
        self.size += len(octets)
        self._gathered_size += len(octets)
        self._count()
        self._gathered.append(octets)
        if len(self._gathered) > 1024:
            self._join()  # a peer that sends octet by octet must not cost an object an octet

    def flush(self) -> None:
        """Put what was gathered into the file. Blocks. Raises OSError; what was gathered stays then."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._spool, prefix="message-", buffering=0)  # noqa: SIM115
        octets = self._join()
        view, at = memoryview(octets), self._filed
        while view:
            written = os.pwrite(self._file.fileno(), view, at)
            view, at = view[written:], at + written
        self._filed = at
        self._gathered, self._gathered_size = [], 0

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`; b"" at the end. Blocks for what lies in the file, in the page cache
        as a rule."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        if offset >= self._filed:
            start = offset - self._filed
            return self._join()[start : start + size]
        assert self._file is not None
        octets = self._pread(offset, min(size, self._filed - offset))
        if len(octets) < size:
            octets += self._join()[: size - len(octets)]
        return octets

    def chunks(self, start: int = 0, size: int = 256 * 1024) -> Iterator[bytes]:
        """All octets from `start` on. Blocks as `read` does."""
        while start < self.size:
            octets = self.read(start, size)
            yield octets
            start += len(octets)

    def close(self) -> None:
        """Forget all of it. May be called more than once."""
        self.size = self._filed = self._gathered_size = 0
        self._gathered = []
        self._count()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _may_stay(self) -> bool:
        return self.size <= self._memory or self._room.has_room_for(self.size)

    def _count(self) -> None:
        # Not in `flush`, which is at work in a thread, while other contents are written to.
        self._room.taken += self._gathered_size - self._counted
        self._counted = self._gathered_size

    def _pread(self, offset: int, size: int) -> bytes:
        assert self._file is not None
        pieces = []
        while size:
            piece = os.pread(self._file.fileno(), size, offset)
            if not piece:
                raise OSError("the spool file is shorter than what was written to it")
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _join(self) -> bytes:
        if len(self._gathered) != 1:
            self._gathered = [b"".join(self._gathered)]
        return self._gathered[0]


class Assembled:
    """A message as it is handed on: octets that we put on top, and the content from `start` on.

    Nothing is copied: `start` is 0, or the length of a header section that stands rewritten at the end of `top`.
    """

    def __init__(self, top: bytes, content: Content, start: int = 0) -> None:
        self.top = top
        self.content = content
        self.start = start
        self.size = len(top) + content.size - start

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset`; b"" at the end."""
        if offset >= len(self.top):
            return self.content.read(self.start + offset - len(self.top), size)
        octets = self.top[offset : offset + size]
        if len(octets) < size:
            octets += self.content.read(self.start, size - len(octets))
        return octets

    def chunks(self, size: int = 256 * 1024) -> Iterator[bytes]:
        """All octets. Blocks as `Content.read` does."""
        if self.size <= size:
            yield self.read(0, size)
            return
        if self.top:
            yield self.top
        yield from self.content.chunks(self.start, size)
