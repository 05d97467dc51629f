"""One transaction for all who wait: what the writer knows while it is at work."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from twisted.logger import Logger

from twisted_mail_kit.mail.queued import TraceEvent
from twisted_mail_kit.queue.codec import encode_outcome
from twisted_mail_kit.queue.sqlite import rows
from twisted_mail_kit.queue.sqlite.gathered import Gathered, bury, write_due


class Batch:
    """The writer's connection. Jobs touch destinations; when each is due again is written once, at the end."""

    log = Logger()

    def __init__(self, connection: sqlite3.Connection, run: int, seconds: Callable[[], float]) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.run = run
        """Who we are in leases."""
        self.seconds = seconds
        self.dead: list[int] = []
        """Large blobs that have no message any more, when this is committed."""
        self.gathered = Gathered()
        self._touched: dict[str, int] = {}
        self._owners: set[str] = set()
        self._new_owners: set[str] = set()
        self._is_full_sync = True

    # --- from begin to commit ----------------------------------------------------------------------------------------

    def begin(self, is_durable: bool = True) -> None:
        """Take the write lock. Raises sqlite3.Error.

        What need not outlive a power cut, leases for one, is synced with the next that has to: others see it at once.
        """
        if is_durable != self._is_full_sync:
            self.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            self._is_full_sync = is_durable
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> list[int]:
        """Make it so; answers which large blobs can be removed. Raises sqlite3.Error."""
        self.flush()
        self.execute("COMMIT")
        self._owners |= self._new_owners
        self._new_owners.clear()
        dead, self.dead = self.dead, []
        return dead

    def rollback(self) -> None:
        """Nothing of this ever was."""
        self.gathered.clear()
        self._touched.clear()
        self._new_owners.clear()
        self.dead = []
        if self.connection.in_transaction:
            self.execute("ROLLBACK")

    def touch(self, destination: str, turn: int = 0) -> None:
        """Recipients for it have changed; `turn`: it was served."""
        self._touched[destination] = max(turn, self._touched.get(destination, 0))

    def write_gathered(self) -> None:
        """Write the rows that have gathered: before anything that looks for them."""
        touched, dead = self.gathered.write(self.connection)
        self.dead += dead
        for destination in touched:
            self.touch(destination)

    def flush(self) -> None:
        """Write the rows that have gathered, and when the destinations that were touched are due."""
        self.write_gathered()
        if self._touched:
            write_due(self.connection, self._touched)
            self._touched.clear()

    # --- what several jobs do ----------------------------------------------------------------------------------------

    def take_over(self, owner: str) -> None:
        """At its first word to us, an owner gets back what it had leased before it was started again."""
        if owner in self._owners or owner in self._new_owners:
            return
        self._new_owners.add(owner)
        found = self.execute(
            "UPDATE recipients SET owner = NULL, run = NULL, until = NULL,"
            " ready = CASE WHEN is_held THEN NULL ELSE next_try END WHERE owner = ? AND run <> ?"
            " RETURNING destination",
            (owner, self.run),
        ).fetchall()
        for (destination,) in found:
            self.touch(destination)

    def set_aside(self, message_id: str, reason: str, recipients: Collection[tuple[str, object]] = ()) -> None:
        """Hold a message, or (destination, number) of it, because something of it cannot be read."""
        self.log.critical(
            "queue: {message_id} is held aside: {reason}; all others go on", message_id=message_id, reason=reason
        )
        keys: list[rows.Row] = [(message_id, *one) for one in recipients] or [(message_id,)]
        which = "message = ? AND destination = ? AND number IS ?" if recipients else "message = ?"
        last = encode_outcome(rows.held_aside(reason))
        sql = (
            "UPDATE recipients SET is_held = 1, owner = NULL, run = NULL, until = NULL, ready = NULL, last = ?"
            f" WHERE {which} RETURNING destination"
        )
        for key in keys:
            for (destination,) in self.execute(sql, (last, *key)).fetchall():
                self.touch(destination)
        self.record([TraceEvent(message_id, self.seconds(), "held", "", "", reason)])

    def bury(self, message_id: str) -> None:
        """Let a message go when it has no recipient any more, and its octets when they have no message."""
        self.dead += bury(self.connection, [message_id])

    def record(self, events: list[TraceEvent]) -> None:
        """Add to timelines."""
        self.gathered.events += events
