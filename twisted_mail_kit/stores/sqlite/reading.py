"""Questions to the index: short ones are asked in the reactor thread, long ones in others."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence
from typing import Any

from twisted_mail_kit.errors import AccountNotFound, MailboxNotFound, StateTooOld
from twisted_mail_kit.mail.facts import Changes, Listing, ListingSince, Mailbox, Message, Removal
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.segments import Location, Place
from twisted_mail_kit.stores.sqlite.statements import portions

SHORT = 300
"""So many rows are read in the reactor thread: under a millisecond."""

_PACKED = 2000
"""Rows that are there as objects at once, while columns are made of them."""

# Messages of a mailbox that is gone may be there for a while, until housekeeping has taken them away.
_MESSAGE_ALIVE = "EXISTS (SELECT 1 FROM mailboxes WHERE mailboxes.id = entries.id >> 32)"
_REMOVAL_ALIVE = "(message & 0xFFFFFFFF = 0 OR EXISTS (SELECT 1 FROM mailboxes WHERE mailboxes.id = message >> 32))"
_ENTRIES = "entries INDEXED BY entries_modseq"
_MESSAGES = f"{_ENTRIES} LEFT JOIN facts ON facts.id = entries.id"
_LAST = (1 << 63) - 1
_UID = rows.UID_LIMIT - 1
_SIZES = (1, 8, 64, 500)
"""Ids that are named in one statement."""
_PLACES = {
    size: f'SELECT blob, segment, "offset", size FROM blobs WHERE account = ? AND blob IN ({",".join("?" * size)})'
    for size in _SIZES
}


_PLACE = (
    'SELECT blob, segment, "offset", blobs.size FROM mailboxes JOIN facts ON facts.id = ?1'
    " JOIN blobs ON blob = blob_number(blob_id) AND blobs.account = ?3"
    " WHERE mailboxes.id = ?2 AND mailboxes.account = ?3"
)


def _blob_number(blob_id: str) -> int:
    """Of an id that is in the index. Raises ValueError, TypeError."""
    return int(blob_id[1:].partition("-")[0], 16)


def _known_number(blob_id: str) -> int | None:
    """The same, within the database: None for an id that cannot be."""
    try:
        number = _blob_number(blob_id)
    except (ValueError, TypeError, AttributeError):
        return None
    return number if 0 <= number <= _LAST else None


def by_uids(
    connection: sqlite3.Connection, columns: str, mailbox: int, uids: Sequence[int], table: str = "messages"
) -> list[Any]:
    """Rows of those messages that are there, ascending; `columns` begins with the id."""
    base = mailbox << 32
    # A UID beyond 32 bits would reach into the next mailbox.
    wanted = sorted({uid for uid in uids if 0 < uid < rows.UID_LIMIT})
    if not wanted:
        return []
    low, high = wanted[0], wanted[-1]
    if len(wanted) > 8 and high - low < 4 * len(wanted):
        found = connection.execute(
            f"SELECT {columns} FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id", (base + low, base + high)
        )
        if len(wanted) == high - low + 1:
            return found.fetchall()
        there = {base + uid for uid in wanted}
        return [row for row in found if row[0] in there]
    result: list[Any] = []
    for ids in portions([base + uid for uid in wanted], _SIZES):
        marks = ",".join("?" * len(ids))
        result += connection.execute(f"SELECT {columns} FROM {table} WHERE id IN ({marks}) ORDER BY id", ids)
    return result


class Reader:
    """One connection that only reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.execute = connection.execute
        connection.create_function("blob_number", 1, _known_number, deterministic=True)

    def account(self, name: str) -> int | None:
        """An account's number."""
        row = self.execute("SELECT id FROM accounts WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def account_names(self, after: str, limit: int) -> list[str]:
        """See IAccountList."""
        found = self.execute("SELECT name FROM accounts WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
        return [name for (name,) in found]

    def state(self, account: int) -> int:
        """See IAccount."""
        row = self.execute("SELECT modseq FROM accounts WHERE id = ?", (account,)).fetchone()
        if row is None:
            raise AccountNotFound(f"account {account} is gone")
        return int(row[0])

    def mailboxes(self, account: int) -> list[Mailbox]:
        """See IAccount."""
        found = self.execute(f"SELECT {rows.MAILBOX} FROM mailboxes WHERE account = ?", (account,)).fetchall()
        if not found:
            self.state(account)
        return [rows.mailbox(row) for row in found]

    def total(self, account: int, mailbox_id: str) -> tuple[int, int]:
        """A mailbox's number, and how many messages it has. Raises MailboxNotFound."""
        number = rows.mailbox_number(mailbox_id)
        row = self.execute("SELECT id, total FROM mailboxes WHERE id = ? AND account = ?", (number, account)).fetchone()
        if row is None:
            raise MailboxNotFound(mailbox_id)
        return row[0], row[1]

    def messages(self, mailbox: int, uids: Sequence[int] | None, after: int, limit: int) -> list[Message]:
        """See IAccount; `after` is a UID."""
        if uids is None:
            base = mailbox << 32
            found = self.execute(
                f"SELECT {rows.MESSAGE} FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
                (base + after, base + rows.UID_LIMIT, limit),
            )
            return rows.messages(mailbox, found)
        return rows.messages(mailbox, by_uids(self.connection, rows.MESSAGE, mailbox, uids))

    def listing(self, mailbox: int, after: int, limit: int) -> Listing:
        """See IListing; `after` is a UID."""
        base = mailbox << 32
        found = self.execute(
            f"SELECT {rows.LISTED} FROM entries WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
            (base + after, base + rows.UID_LIMIT, limit),
        )
        return rows.listing(mailbox, found.fetchall())

    def listing_since(self, account: int, mailbox_id: str, since: int) -> ListingSince:
        """See IListing."""
        self.execute("BEGIN")  # all of one moment
        try:
            modseq = self._see_that_it_is_known(account, since)
            number, _ = self.total(account, mailbox_id)
            bounds = (account, since, (number << 32) + 1, (number + 1 << 32) - 1)
            row = self.execute(f"SELECT {rows.MAILBOX} FROM mailboxes WHERE id = ?", (number,)).fetchone()
            changed = self.execute(
                f"SELECT {rows.LISTED} FROM {_ENTRIES} WHERE account = ? AND modseq > ? AND id BETWEEN ? AND ?"
                " ORDER BY id",
                bounds,
            )
            listing = rows.packed_listing(number, iter(lambda: changed.fetchmany(_PACKED), []))
            removed = array("I")
            gone = self.execute(
                "SELECT message & 0xFFFFFFFF FROM removals WHERE account = ? AND modseq > ? AND message BETWEEN ? AND ?"
                " ORDER BY message",
                bounds,
            )
            while uids := gone.fetchmany(_PACKED):
                removed.extend([uid for (uid,) in uids])
            return ListingSince(modseq, rows.mailbox(row), listing, removed)
        finally:
            self.execute("COMMIT")

    def _see_that_it_is_known(self, account: int, since: int) -> int:
        """Answers the account's modseq. Raises StateTooOld, AccountNotFound."""
        row = self.execute("SELECT modseq, forgotten FROM accounts WHERE id = ?", (account,)).fetchone()
        if row is None:
            raise AccountNotFound(f"account {account} is gone")
        modseq, forgotten = row
        if not forgotten <= since <= modseq:
            raise StateTooOld(f"{since} is not within {forgotten}-{modseq}")
        return int(modseq)

    # Hot path: FETCH of a whole mailbox. Only the columns that are needed, only the table that has them, and no object
    # a row: a third of what `messages` costs.

    def summaries(self, account: int, mailbox_id: str, uids: Sequence[int]) -> list[tuple[int, bytes]]:
        """See IReadMany."""
        return self._facts("summary", account, mailbox_id, uids)

    def place(self, account: int, mailbox_id: str, uid: int) -> Place | None:
        """Where a message's octets are; None: `blobs` and `places` are to be asked."""
        # Hot path: a client that takes one message after the other. One question, most of which is to ask at all.
        number = rows.mailbox_number(mailbox_id)
        if number is None or not 0 < uid < rows.UID_LIMIT:
            return None
        place: Place | None = self.execute(_PLACE, (number << 32 | uid, number, account)).fetchone()
        return place

    def blobs(self, account: int, mailbox_id: str, uids: Sequence[int]) -> tuple[list[int], list[int]]:
        """The UIDs of those of the messages that are there, ascending, and the number of each one's blob. Raises
        MailboxNotFound."""
        facts = self._facts("blob_id", account, mailbox_id, uids)
        return [uid for uid, _ in facts], [_blob_number(blob_id) for _, blob_id in facts]

    def places(self, account: int, numbers: Sequence[int]) -> list[Place | None]:
        """Where these blobs are; None for one that the account may not read, or that is not there."""
        found: list[Place | None] = []
        for some in portions(numbers, _SIZES):  # a range would have the blobs of all accounts in it
            found += self.execute(_PLACES[len(some)], (account, *some))
        if [place[0] for place in found if place] == numbers:
            return found  # they came in the order of their UIDs, as most do
        known = {place[0]: place for place in found if place}
        return [known.get(number) for number in numbers]

    def _facts(self, column: str, account: int, mailbox_id: str, uids: Sequence[int]) -> list[tuple[int, Any]]:
        number = rows.mailbox_number(mailbox_id)
        if len(uids) == 1 and number is not None and 0 < uids[0] < rows.UID_LIMIT:
            # A client that takes one message after the other: one question, most of which is to ask at all.
            row = self.execute(
                f"SELECT {column} FROM mailboxes JOIN facts ON facts.id = ? WHERE mailboxes.id = ? AND account = ?",
                (number << 32 | uids[0], number, account),
            ).fetchone()
            if row is not None:
                return [(uids[0], row[0])]
        elif number is not None and uids and len(uids) == uids[-1] - uids[0] + 1 and 0 < uids[0] <= uids[-1] <= _UID:
            # All from one to another, in one question too.
            base = number << 32
            found = self.execute(
                f"SELECT id - ?1, {column} FROM facts WHERE id BETWEEN ?1 + ?2 AND ?1 + ?3"
                " AND EXISTS (SELECT 1 FROM mailboxes WHERE mailboxes.id = ?4 AND account = ?5) ORDER BY id",
                (base, uids[0], uids[-1], number, account),
            ).fetchall()
            if len(found) == len(uids):
                return found
        mailbox, _ = self.total(account, mailbox_id)
        base = mailbox << 32
        found = by_uids(self.connection, f"id, {column}", mailbox, uids, "facts")
        if len(found) < len(uids):
            # A message that is gone, or an entry whose facts are lost: that one cannot be passed over.
            there = {id for id, _ in found}
            for (id,) in by_uids(self.connection, "id", mailbox, uids, "entries"):
                if id not in there:
                    raise ValueError(f"message {id - base} of mailbox {mailbox} has no facts")
        return [(id - base, value) for id, value in found]

    def is_short(self, account: int, since: int) -> bool:
        """Whether little has changed since then."""
        count = 0
        for table in ("entries", "removals"):
            count += self.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE account = ? AND modseq > ? LIMIT ?)",
                (account, since, SHORT),
            ).fetchone()[0]
        return count < SHORT

    def changes(self, account: int, since: int, mailbox_id: str | None, limit: int) -> Changes:
        """See IAccount."""
        self.execute("BEGIN")
        try:
            return self._changes(account, since, mailbox_id, max(limit, 1))
        finally:
            self.execute("COMMIT")

    def _changes(self, account: int, since: int, mailbox_id: str | None, limit: int) -> Changes:
        row = self.execute("SELECT modseq, forgotten FROM accounts WHERE id = ?", (account,)).fetchone()
        if row is None:
            raise AccountNotFound(f"account {account} is gone")
        modseq, forgotten = row
        low, high, number, where = 0, _LAST, 0, "account = ?"
        if mailbox_id is not None:
            number, _ = self.total(account, mailbox_id)
            low, high, where = (number << 32) + 1, (number + 1 << 32) - 1, "id = ?"
        if not forgotten <= since <= modseq:
            raise StateTooOld(f"{since} is not within {forgotten}-{modseq}")
        if since == modseq:
            return Changes(since, since, False, (), (), (), ())
        mailboxes = [
            rows.mailbox(row)
            for row in self.execute(
                f"SELECT {rows.MAILBOX} FROM mailboxes WHERE {where} AND modseq > ?", (number or account, since)
            )
        ]
        where_message = (
            f"account = ? AND modseq > ? AND modseq <= ? AND entries.id BETWEEN ? AND ? AND {_MESSAGE_ALIVE}"
        )
        where_removal = f"account = ? AND modseq > ? AND modseq <= ? AND message BETWEEN ? AND ? AND {_REMOVAL_ALIVE}"
        bounds = (account, since, modseq, low, high)
        modseqs = [box.modseq for box in mailboxes]
        for table, where in ((_ENTRIES, where_message), ("removals", where_removal)):
            sql = f"SELECT modseq FROM {table} WHERE {where} ORDER BY modseq LIMIT ?"
            modseqs += [row[0] for row in self.execute(sql, (*bounds, limit + 1))]
        modseqs.sort()
        until = modseq
        if len(modseqs) > limit:
            # The page ends with the modseq of the row that fills it, and has all the rows of that one.
            until = modseqs[limit - 1]
            if not self._is_more(modseqs, until, where_message, where_removal, bounds):
                until = modseq
        bounds = (account, since, until, low, high)
        found = self.execute(f"SELECT entries.{rows.MESSAGE} FROM {_MESSAGES} WHERE {where_message}", bounds)
        messages = [rows.message(row) for row in found]
        messages.sort(key=_in_order)
        removed, gone = [], []
        for message, email_id, when in self.execute(
            f"SELECT message, email_id, modseq FROM removals WHERE {where_removal} ORDER BY modseq", bounds
        ):
            if message & 0xFFFFFFFF:
                removed.append(rows.removal(message, email_id, when))
            else:
                gone.append(rows.mailbox_id(message >> 32))
        removed.sort(key=_in_order)
        return Changes(
            since=since,
            until=until,
            more=until < modseq,
            mailboxes=tuple(box for box in mailboxes if box.modseq <= until),
            removed_mailboxes=tuple(gone),
            messages=tuple(messages),
            removed=tuple(removed),
        )

    def _is_more(self, modseqs: list[int], until: int, messages: str, removals: str, bounds: tuple[Any, ...]) -> bool:
        if modseqs[-1] > until:
            return True
        account, _, last, low, high = bounds
        later = (account, until, last, low, high)
        return any(
            self.execute(f"SELECT 1 FROM {table} WHERE {where} LIMIT 1", later).fetchone()
            for table, where in ((_ENTRIES, messages), ("removals", removals))
        )

    def location(self, account: int | None, number: int) -> Location | None:
        """Where a blob is, if the account may read it; None: if any may."""
        row = self.execute(
            'SELECT blob, segment, "offset", size FROM blobs WHERE blob = ?1 AND (?2 IS NULL OR account = ?2) LIMIT 1',
            (number, account),
        ).fetchone()
        return None if row is None else Location(*row)

    def data_version(self) -> int:
        """Another number after every commit of another connection."""
        return int(self.execute("PRAGMA data_version").fetchone()[0])

    def serial(self) -> int:
        """The number of the last batch that changed an account."""
        return int(self.execute("SELECT value FROM store WHERE key = 'serial'").fetchone()[0])

    def changed_accounts(self, since: int) -> list[tuple[str, int, int]]:
        """(name, modseq, serial) of the accounts that have changed since that batch, in the order of the batches."""
        return self.execute(
            "SELECT name, modseq, serial FROM accounts WHERE serial > ? ORDER BY serial", (since,)
        ).fetchall()


def _in_order(row: Message | Removal) -> tuple[int, str, int]:
    return row.modseq, row.mailbox_id, row.uid
