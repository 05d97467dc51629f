"""The pen: octets that no message has yet, or any more. Each blob there is a file of its id."""

from __future__ import annotations

import os
import uuid
from collections import OrderedDict
from pathlib import Path

from zope.interface import implementer

from mailkit_maildir.files import Files, SyncFailed, sync_directory, troubles, write_all
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import IBlobWriter

REMEMBERED = 10_000
HALF = ".half"
"""Ends the name of one that is being written."""


class Pen:
    """One account's; the files in it are hard links of those that messages have, or their only ones."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.failed: OSError | None = None
        """A sync of it has failed."""
        self.lines: OrderedDict[str, int] = OrderedDict()
        """Blob id -> octets with CR LF for every line end, of those that were written lately."""

    def path(self, blob_id: str) -> Path:
        """The file, if there is one."""
        return self.directory / blob_id

    def size(self, blob_id: str) -> int | None:
        """Octets of one that is here and committed."""
        try:
            return self.path(blob_id).stat().st_size
        except FileNotFoundError:
            return None

    def remember(self, blob_id: str, size: int) -> None:
        """Its octets with CR LF."""
        self.lines[blob_id] = size
        while len(self.lines) > REMEMBERED:
            self.lines.popitem(last=False)


@implementer(IBlobWriter)
class PenWriter:
    """Writes a file into the pen. Its calls come one after the other."""

    def __init__(self, pen: Pen, files: Files, now: float) -> None:
        self.pen = pen
        self.files = files
        self.now = now
        self.blob_id = uuid.uuid4().hex
        self.half = pen.path(self.blob_id + HALF)
        self.size = self.line_ends = self.whole_line_ends = 0
        self.last = b""
        self.is_over = False
        self._number: int | None = None

    @property
    def number(self) -> int:
        if self._number is None:
            if self.is_over:
                raise Unavailable("this blob was committed, or given up, before")
            self._number = self.files.create(self.half)
        return self._number

    def write(self, octets: bytes) -> None:  # type: ignore[override]
        """See IBlobWriter."""
        if not octets:
            return
        with troubles():
            write_all(self.number, octets)
        self.size += len(octets)
        self.line_ends += octets.count(b"\n")
        self.whole_line_ends += octets.count(b"\r\n") + (self.last == b"\r" and octets[:1] == b"\n")
        self.last = octets[-1:]

    def commit(self) -> str:  # type: ignore[override]
        """See IBlobWriter."""
        with troubles():
            number = self.number
            try:
                os.utime(number, (self.now, self.now))
                os.fsync(number)
                self.half.rename(self.pen.path(self.blob_id))
                sync_directory(self.pen.directory)
            except BaseException as error:
                if isinstance(error, SyncFailed):
                    self.pen.failed = error
                self.abort()
                raise
            self.close()
        self.pen.remember(self.blob_id, self.size + self.line_ends - self.whole_line_ends)
        return self.blob_id

    def abort(self) -> None:  # type: ignore[override]
        """See IBlobWriter."""
        if not self.is_over:
            self.close()
            try:
                self.half.unlink(missing_ok=True)
            except OSError:
                pass  # it is swept up later

    def close(self) -> None:
        self.is_over = True
        if self._number is not None:
            number, self._number = self._number, None
            os.close(number)

    def __del__(self) -> None:
        self.abort()
