"""What comes into the queue and what leaves it, gathered over a transaction and written with few statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from twisted_mail_kit.mail.queued import TraceEvent
from twisted_mail_kit.queue.sqlite.rows import Row
from twisted_mail_kit.stores.sqlite.statements import ForEach, Insert

# Hot path. At each statement the thread gives the interpreter to the reactor and has to wait until it gets it back,
# which takes longer than the statement itself: twenty messages that come together, and twenty that leave, take about
# as many statements as one.

INSERT_MESSAGES = Insert("INSERT INTO messages", "(?,?,?,?)")
INSERT_BLOBS = Insert("INSERT OR IGNORE INTO blobs", "(?,?,?,?)")
INSERT_RECIPIENTS = Insert("INSERT INTO recipients", "(?,?,?,?,?,?,?,?,?,?,?,?,?)")
INSERT_EVENTS = Insert("INSERT INTO events", "(?,?,?,?,?,?)")
MESSAGES_THERE = ForEach("SELECT id FROM messages WHERE id IN ({})", "?")
DELETE_RECIPIENTS = ForEach(
    "DELETE FROM recipients WHERE {} RETURNING message, destination, number",
    "(message = ? AND destination = ? AND number = ?)",
    " OR ",
)
DELETE_MESSAGES = ForEach(
    "DELETE FROM messages WHERE id IN ({})"
    " AND NOT EXISTS (SELECT 1 FROM recipients WHERE message = messages.id) RETURNING blob",
    "?",
)
DELETE_BLOBS = ForEach(
    "DELETE FROM blobs WHERE id IN ({})"
    " AND NOT EXISTS (SELECT 1 FROM messages WHERE blob = blobs.id) RETURNING id, octets IS NULL",
    "?",
)
_LEAST = (
    "SELECT ready FROM recipients INDEXED BY recipients_ready"
    " WHERE destination = {} AND ready IS NOT NULL ORDER BY ready LIMIT 1"
)
SET_DUE = ForEach(
    "WITH touched (touched, turn) AS (VALUES {}) INSERT INTO destinations"
    f" SELECT touched, ({_LEAST.replace('{}', 'touched')}) AS least, turn FROM touched WHERE least IS NOT NULL"
    " ON CONFLICT (name) DO UPDATE SET due = excluded.due, turn = max(turn, excluded.turn)"
    " RETURNING name",
    "(?,?)",
)
DELETE_DESTINATIONS = ForEach(
    f"DELETE FROM destinations WHERE name IN ({{}}) AND NOT EXISTS ({_LEAST.replace('{}', 'name')})", "?"
)


class New(NamedTuple):
    """The rows of a message that comes in."""

    message: Row
    blob: Row | None
    recipients: list[Row]
    events: list[TraceEvent]


class Gathered:
    """Rows that the transaction is still to write. Nothing may look for them before `write`."""

    def __init__(self) -> None:
        self.coming: dict[object, New] = {}
        """By the message's id."""
        self.leaving: dict[Row, None] = {}
        """Message, destination and number of recipients with whom all is done."""
        self.leaving_messages: set[object] = set()
        """Whose they are."""
        self.events: list[TraceEvent] = []

    def clear(self) -> None:
        """Nothing of it is written."""
        self.coming.clear()
        self.leaving.clear()
        self.leaving_messages.clear()
        self.events.clear()

    def write(self, connection: sqlite3.Connection) -> tuple[list[str], list[int]]:
        """Give destinations that turned out to have changed too, and large blobs that have no message any more."""
        touched: list[str] = []
        dead: list[int] = []
        if self.coming:
            self._write_coming(connection)
            self.coming.clear()
        if self.leaving:
            touched = self._write_leaving(connection)
            dead = bury(connection, self.leaving_messages)
            self.leaving.clear()
            self.leaving_messages.clear()
        if self.events:
            INSERT_EVENTS.run(connection, self.events)
            self.events.clear()
        return touched, dead

    def _write_coming(self, connection: sqlite3.Connection) -> None:
        for (known,) in MESSAGES_THERE.run(connection, [(id,) for id in self.coming]):
            self.coming.pop(known, None)
        new = list(self.coming.values())
        INSERT_MESSAGES.run(connection, [one.message for one in new])
        INSERT_BLOBS.run(connection, [one.blob for one in new if one.blob is not None])
        INSERT_RECIPIENTS.run(connection, [row for one in new for row in one.recipients])
        self.events[:0] = [event for one in new for event in one.events]

    def _write_leaving(self, connection: sqlite3.Connection) -> list[str]:
        gone = DELETE_RECIPIENTS.run(connection, self.leaving)
        touched: list[str] = []
        if len(gone) < len(self.leaving):  # they are gone, or the queue calls their destination otherwise by now
            for message_id, _, number in self.leaving.keys() - gone:
                sql = "DELETE FROM recipients WHERE message = ? AND number = ? RETURNING destination"
                touched += [name for (name,) in connection.execute(sql, (message_id, number)).fetchall()]
        return touched


def bury(connection: sqlite3.Connection, message_ids: Iterable[object]) -> list[int]:
    """Let messages go that have no recipient any more, and their octets when they have no message. Gives the large
    blobs among these."""
    blobs = DELETE_MESSAGES.run(connection, [(id,) for id in message_ids])
    return [blob for blob, is_large in DELETE_BLOBS.run(connection, blobs) if is_large]


def write_due(connection: sqlite3.Connection, touched: dict[str, int]) -> None:
    """When each of these destinations is due, by its recipients; each with the turn in which it was served."""
    waiting = SET_DUE.run(connection, list(touched.items()))
    DELETE_DESTINATIONS.run(connection, [(name,) for name in touched.keys() - {name for (name,) in waiting}])
