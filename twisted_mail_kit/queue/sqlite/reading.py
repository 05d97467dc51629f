"""What is asked of the spool without changing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient, SpoolCounts, TraceEvent
from twisted_mail_kit.queue.sqlite import rows
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile, read_all
from twisted_mail_kit.stores.sqlite.segments import (
    CHECK,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    Damaged,
    large_path,
)

STRIDE = 1 << 20


class Reader:
    """A connection that only reads; one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def next_due(self) -> float | None:
        """See ISpool."""
        due: float | None = self.connection.execute("SELECT min(due) FROM destinations").fetchall()[0][0]
        return due

    def messages(self, after: str, limit: int) -> list[tuple[QueuedMessage, Sequence[QueuedRecipient]]]:
        """See ISpool. All of a page is of one moment."""
        ask = self.connection.execute
        ask("BEGIN")
        try:
            sql = f"SELECT {rows.MESSAGE} FROM messages WHERE id > ? ORDER BY id LIMIT ?"
            sql_of_one = f"SELECT {rows.RECIPIENT} FROM recipients WHERE message = ? ORDER BY number"
            return [
                rows.shown(row, ask(sql_of_one, row[:1]).fetchall())
                for row in ask(sql, (after, max(limit, 0))).fetchall()
            ]
        finally:
            ask("COMMIT")

    def trace(self, trace_id: str) -> list[TraceEvent]:
        """See ISpool."""
        sql = (
            "SELECT trace_id, time, event, recipient, remote, text FROM events WHERE trace_id = ? ORDER BY time, rowid"
        )
        return [TraceEvent._make(row) for row in self.connection.execute(sql, (trace_id,)).fetchall()]

    def counts(self, now: float) -> SpoolCounts:
        """See ISpoolCounts."""
        ask = self.connection.execute
        ask("BEGIN")
        try:
            messages, octets = ask("SELECT count(*), coalesce(sum(size), 0) FROM messages").fetchone()
            recipients, held, due = ask(
                "SELECT count(*), coalesce(sum(is_held), 0), coalesce(sum(not is_held AND next_try <= ?), 0)"
                " FROM recipients",
                (now,),
            ).fetchone()
            # Ids begin with the time.
            first = ask(f"SELECT {rows.MESSAGE} FROM messages ORDER BY id LIMIT 1").fetchone()
        finally:
            ask("COMMIT")
        # An envelope that cannot be read says nothing of its age.
        oldest = None if first is None else rows.shown(first, [])[0].envelope.received_at or None
        return SpoolCounts(messages, octets, oldest, due, recipients - held - due, held)

    def blob(self, number: int) -> tuple[int, bytes | None] | None:
        """A blob's size, and its octets where they are in the database. Raises Damaged."""
        found = self.connection.execute("SELECT size, checksum, octets FROM blobs WHERE id = ?", (number,)).fetchall()
        if not found:
            return None
        size, checksum, octets = found[0]
        if octets is not None and (type(octets) is not bytes or len(octets) != size or crc32(octets) != checksum):
            raise Damaged(f"blob {number:x}: its octets do not have their checksum")
        return size, octets


def read_large(root: Path, files: Files, number: int, whole: int, offset: int, size: int) -> bytes:
    """Octets of a large blob; who begins at its beginning has all of it checked. Waits for the disk.

    Raises Damaged, OSError.
    """
    file = OpenFile(files, files.open(large_path(root, number)))
    if offset == 0:
        _check(files, file, number, whole)
    wanted = max(0, min(size, whole - offset))
    octets = read_all(files, file.fd, wanted, HEADER_SIZE + offset) if wanted else b""
    if len(octets) != wanted:
        raise Damaged(f"blob {number:x}: the file is too short")
    return octets


def _check(files: Files, file: OpenFile, number: int, whole: int) -> None:
    checksum, done = 0, 0
    while done < whole:
        octets = read_all(files, file.fd, min(STRIDE, whole - done), HEADER_SIZE + done)
        if not octets:
            raise Damaged(f"blob {number:x}: the file is too short")
        checksum, done = crc32(octets, checksum), done + len(octets)
    record = read_all(files, file.fd, HEADER_SIZE, 0)
    header = HEADER.pack(MAGIC, number, whole, checksum)
    if record != header + CHECK.pack(crc32(header)):
        raise Damaged(f"blob {number:x}: its octets do not have their checksum")
