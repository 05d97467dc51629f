"""What the writer does for the spool: add, settle, renew, change and remove."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.mail.queued import Settled, TraceEvent
from twisted_mail_kit.queue.codec import encode_outcome
from twisted_mail_kit.queue.sqlite.batch import Batch
from twisted_mail_kit.queue.sqlite.gathered import New
from twisted_mail_kit.queue.sqlite.rows import Row
from twisted_mail_kit.stores.sqlite.blobs import Pending

# A job raises a MailError only before it has changed anything; whatever else it raises undoes the transaction.

READY = "CASE WHEN is_held THEN NULL WHEN owner IS NULL THEN next_try ELSE max(next_try, until) END"


def add(
    batch: Batch, message: Row, recipients: list[Row], owner: str, pending: Pending | None, events: list[TraceEvent]
) -> None:
    """Take a message over. Raises BlobNotFound."""
    _, blob, size, _ = message
    if pending is None and not batch.execute("SELECT 1 FROM blobs WHERE id = ?", (blob,)).fetchall():
        if batch.execute("SELECT 1 FROM messages WHERE id = ?", (message[0],)).fetchall():
            return
        raise BlobNotFound(f"blob of {message[0]}")
    gathered = batch.gathered
    if message[0] in gathered.leaving_messages:
        batch.write_gathered()
    if owner:
        batch.take_over(owner)
    row: Row | None = None
    if pending is not None:
        octets = pending.octets
        if octets is not None:
            row = (blob, len(octets), crc32(octets), octets)
        else:
            row = (blob, pending.location.size if pending.location else size, None, None)
    gathered.coming.setdefault(message[0], New(message, row, recipients, events))
    for recipient in recipients:
        batch.touch(recipient[1])


def settle(batch: Batch, settled: Sequence[Settled], events: list[TraceEvent]) -> None:
    """Write down what became of recipients."""
    gathered = batch.gathered
    for one in settled:
        recipient = one.recipient
        key = (recipient.message_id, recipient.destination, recipient.number)
        if one.next_try is None:
            gathered.leaving[key] = None
            gathered.leaving_messages.add(recipient.message_id)
            batch.touch(recipient.destination)
            continue
        if recipient.message_id in gathered.coming:
            batch.write_gathered()
        # Where our time was over and another process is at it, its word counts, and not ours.
        sql = (
            "UPDATE recipients SET next_try = ?, attempts = attempts + 1, last = ?,"
            " delay_told = max(delay_told, ?), owner = NULL, run = NULL, until = NULL,"
            " ready = CASE WHEN is_held THEN NULL ELSE ? END"
            f" WHERE {{}} AND (run IS NULL OR run = {batch.run:d}) RETURNING destination"
        )
        next_try = float(one.next_try)
        values = (next_try, encode_outcome(one.outcome), one.delay_told, next_try)
        found = batch.execute(sql.format("message = ? AND destination = ? AND number = ?"), (*values, *key)).fetchall()
        if not found:  # it is gone, or the queue calls its destination otherwise by now
            found = batch.execute(sql.format("message = ? AND number = ?"), (*values, key[0], key[2])).fetchall()
        for (destination,) in found:
            batch.touch(destination)
    batch.record(events)


def renew(batch: Batch, owner: str, until: float) -> None:
    """All leases of the owner hold until then."""
    batch.write_gathered()
    batch.take_over(owner)
    found = batch.execute(
        "UPDATE recipients SET until = ?, ready = CASE WHEN is_held THEN NULL ELSE max(next_try, ?) END"
        " WHERE owner = ? RETURNING destination",
        (until, until, owner),
    ).fetchall()
    for (destination,) in found:
        batch.touch(destination)


def change(
    batch: Batch, message_id: str, next_try: float | None, is_held: bool | None, numbers: Sequence[int] | None
) -> int:
    """Change when recipients are tried, and whether they are held."""
    batch.write_gathered()
    chosen = _chosen(batch, message_id, numbers)
    for destination, number in chosen:
        key = (message_id, destination, number)
        batch.execute(
            "UPDATE recipients SET next_try = coalesce(?, next_try), is_held = coalesce(?, is_held)"
            " WHERE message = ? AND destination = ? AND number IS ?",
            (next_try, is_held, *key),
        )
        batch.execute(
            f"UPDATE recipients SET ready = {READY} WHERE message = ? AND destination = ? AND number IS ?", key
        )
        batch.touch(destination)
    return len(chosen)


def remove(batch: Batch, message_id: str, numbers: Sequence[int] | None) -> int:
    """Take recipients out of the queue."""
    batch.write_gathered()
    chosen = _chosen(batch, message_id, numbers)
    for destination, number in chosen:
        batch.execute(
            "DELETE FROM recipients WHERE message = ? AND destination = ? AND number IS ?",
            (message_id, destination, number),
        )
        batch.touch(destination)
    batch.bury(message_id)
    return len(chosen)


def set_aside_blob(batch: Batch, blob: int, reason: str) -> None:
    """Hold the messages whose octets cannot be read."""
    batch.write_gathered()
    for (message_id,) in batch.execute("SELECT id FROM messages WHERE blob = ?", (blob,)).fetchall():
        batch.set_aside(message_id, reason)


def _chosen(batch: Batch, message_id: str, numbers: Sequence[int] | None) -> list[tuple[str, int]]:
    found = batch.execute("SELECT destination, number FROM recipients WHERE message = ?", (message_id,)).fetchall()
    return found if numbers is None else [row for row in found if row[1] in numbers]
