"""Leases: which work a process is given, in turn between destinations."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from twisted_mail_kit.mail.queued import Lease, QueuedRecipient
from twisted_mail_kit.queue.codec import Unreadable
from twisted_mail_kit.queue.sqlite import rows
from twisted_mail_kit.queue.sqlite.batch import Batch

FEW = 1000
"""Destinations that are due at once, up to which all of them are looked at."""
PLENTY = 500
"""Recipients in one call, from which on there is no further piece: others wait for the database too."""
UNREADABLE = 20
"""Pieces of work that cannot be read, and are set aside on the way, in one call."""


def lease(batch: Batch, owner: str, now: float, until: float, limit: int, busy: Collection[str]) -> list[Lease]:
    """See ISpool."""
    batch.write_gathered()
    batch.take_over(owner)
    if until <= now:
        return []
    batch.flush()
    turn: int = batch.execute("SELECT coalesce(max(turn), 0) FROM destinations").fetchall()[0][0]
    waiting = deque(_in_turn(batch, now, limit, busy))
    leases: list[Lease] = []
    tries, plenty = limit + UNREADABLE, PLENTY
    while waiting and len(leases) < limit and tries and plenty > 0:
        tries -= 1
        destination = waiting.popleft()
        found = batch.execute(
            "SELECT message FROM recipients INDEXED BY recipients_ready WHERE destination = ? AND ready <= ?"
            " ORDER BY ready, message, number LIMIT 1",
            (destination, now),
        ).fetchall()
        if not found:
            continue
        taken = batch.execute(
            "UPDATE recipients SET owner = ?, run = ?, until = ?, ready = max(next_try, ?)"
            f" WHERE message = ? AND destination = ? AND ready <= ? RETURNING {rows.RECIPIENT}",
            (owner, batch.run, until, until, found[0][0], destination, now),
        ).fetchall()
        plenty -= len(taken)
        turn += 1
        batch.touch(destination, turn)
        waiting.append(destination)
        piece = _piece(batch, found[0][0], taken, owner, until)
        if piece is not None:
            leases.append(piece)
    return leases


def _in_turn(batch: Batch, now: float, limit: int, busy: Collection[str]) -> list[str]:
    """Destinations that are due, those that were not served for longest first."""
    # Few are due: they are found by time. Many are: in the order of turns some come soon.
    found = batch.execute(
        "SELECT turn, due, name FROM destinations INDEXED BY destinations_due WHERE due <= ? LIMIT ?", (now, FEW)
    ).fetchall()
    if len(found) == FEW:
        found = batch.execute(
            "SELECT turn, due, name FROM destinations INDEXED BY destinations_turn WHERE due <= ?"
            " ORDER BY turn, due, name LIMIT ?",
            (now, max(limit, 0) + len(busy)),
        ).fetchall()
    busy = frozenset(busy)
    return [name for _, _, name in sorted(found) if name not in busy]


def _piece(batch: Batch, message_id: str, taken: list[rows.Row], owner: str, until: float) -> Lease | None:
    """A lease of what can be read; the rest is set aside."""
    found = batch.execute(f"SELECT {rows.MESSAGE} FROM messages WHERE id = ?", (message_id,)).fetchall()
    try:
        if not found:
            raise Unreadable(f"{message_id} has recipients, and is not there")
        message = rows.message(found[0])
    except Unreadable as error:
        batch.set_aside(message_id, str(error))
        return None
    recipients: list[QueuedRecipient] = []
    unreadable: dict[tuple[str, object], str] = {}
    for row in taken:
        try:
            recipients.append(rows.recipient(row))
        except Unreadable as error:
            unreadable[row[2], row[1]] = str(error)
    if unreadable:
        batch.set_aside(message_id, next(iter(unreadable.values())), unreadable)
    if not recipients:
        return None
    recipients.sort(key=lambda recipient: recipient.number)
    return Lease(message, tuple(recipients), owner, until)
