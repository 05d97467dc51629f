"""One transaction for all who wait: the rows that it knows, and those that it is about to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted_mail_kit.errors import AccountNotFound
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.segments import SegmentLog
from twisted_mail_kit.stores.sqlite.statements import Insert, portions


class AccountRow:
    """An account as the writer knows it."""

    __slots__ = ("emails", "id", "mailboxes", "modseq", "name", "removals")

    def __init__(self, id: int, name: str, modseq: int, emails: int, removals: int) -> None:
        self.id = id
        self.name = name
        self.modseq = modseq
        self.emails = emails
        self.removals = removals
        self.mailboxes: dict[int, MailboxRow] = {}


class MailboxRow:
    """A mailbox's counters as the writer knows them."""

    __slots__ = ("id", "modseq", "role", "size", "total", "uidnext", "uidvalidity", "unseen")

    def __init__(
        self, id: int, role: str | None, uidvalidity: int, uidnext: int, modseq: int, total: int, unseen: int, size: int
    ) -> None:
        self.id = id
        self.role = role
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.modseq = modseq
        self.total = total
        self.unseen = unseen
        self.size = size


INSERT_ENTRIES = Insert("INSERT INTO entries", "(?,?,?,?,?,?)")
INSERT_FACTS = Insert("INSERT INTO facts", "(?,?,?,?,?,?,?)")
INSERT_BLOBS = Insert(
    "INSERT INTO blobs",
    "(?,?,?,?,?,1,NULL)",
    "ON CONFLICT (blob, account) DO UPDATE SET refs = refs + 1, gone = NULL",
)
INSERT_TOKENS = Insert("INSERT OR REPLACE INTO tokens", "(?,?,?)")


class Batch:
    """The writer's view of the index. What it knows of accounts stays true from one batch to the next, until another
    process has written."""

    KNOWN_ACCOUNTS = 2000

    def __init__(self, connection: sqlite3.Connection, log: SegmentLog, seconds: Callable[[], float]) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.seconds = seconds
        self.now = 0
        self.secret: bytes = self.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()[0]
        older = self.execute("SELECT value FROM store WHERE key = 'older_tokens'").fetchone()
        self._older_tokens: int = older[0] if older else -1
        """The last period of days in which there are tokens with keys as they were until format 2."""
        self.new_entries: list[tuple[Any, ...]] = []
        self.new_facts: list[tuple[Any, ...]] = []
        self.new_blobs: list[tuple[Any, ...]] = []
        self.new_tokens: dict[bytes, str] = {}
        """Answers that this batch has given."""
        self.changed: dict[str, int] = {}
        """Account name -> its newest modseq, in the order of the commits."""
        self._log = log
        self._segment_end = (0, 0)
        self._accounts: dict[int, AccountRow] = {}
        self._dirty_accounts: set[AccountRow] = set()
        self._dirty_mailboxes: set[MailboxRow] = set()
        self._unflushed_tokens: list[tuple[Any, ...]] = []
        self._serial = 0
        self._data_version = -1

    # --- from begin to commit ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take the write lock. Raises sqlite3.Error."""
        self.execute("BEGIN IMMEDIATE")
        self.now = int(self.seconds())
        version = self.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version or len(self._accounts) > self.KNOWN_ACCOUNTS:
            self._accounts.clear()
            self._serial = self.execute("SELECT value FROM store WHERE key = 'serial'").fetchone()[0]
            self._data_version = version

    def commit(self) -> dict[str, int]:
        """Make it durable; answers which accounts have changed. Raises sqlite3.Error."""
        self.flush()
        serial = self._serial + 1
        if self.changed:
            self.execute("UPDATE store SET value = ? WHERE key = 'serial'", (serial,))
        if self._segment_end != (self._log.segment, self._log.end):
            self._segment_end = (self._log.segment, self._log.end)
            self.execute(
                'UPDATE segments SET "end" = ?, low = ?, high = ?, closed = 0 WHERE id = ?',
                (self._log.end, self._log.low, self._log.high, self._log.segment),
            )
        self.execute("COMMIT")
        changed = self.changed
        if changed:
            self._serial = serial
        self.changed = {}
        self.new_tokens = {}
        return changed

    def rollback(self) -> None:
        """Nothing of this batch ever was."""
        self.forget()
        self.new_entries.clear()
        self.new_facts.clear()
        self.new_blobs.clear()
        self._unflushed_tokens.clear()
        self.new_tokens = {}
        self.changed = {}
        self._segment_end = (0, 0)
        self._data_version = -1
        if self.connection.in_transaction:
            self.execute("ROLLBACK")

    def undo(self, account: int | None, changed: dict[str, int], key: bytes) -> None:
        """Nothing since the savepoint ever was; before it, `flush` was called."""
        self.new_entries.clear()
        self.new_facts.clear()
        self.new_blobs.clear()
        self._unflushed_tokens.clear()
        self.new_tokens.pop(key, None)
        self.changed = changed
        self.forget(account)
        self.execute("ROLLBACK TO one")
        self.execute("RELEASE one")

    def flush(self) -> None:
        """Write the rows that have gathered."""
        if self.new_entries:
            INSERT_ENTRIES.run(self.connection, self.new_entries)
            self.new_entries.clear()
            INSERT_FACTS.run(self.connection, self.new_facts)
            self.new_facts.clear()
        if self.new_blobs:
            INSERT_BLOBS.run(self.connection, self.new_blobs)
            self.new_blobs.clear()
        if self._unflushed_tokens:
            INSERT_TOKENS.run(self.connection, self._unflushed_tokens)
            self._unflushed_tokens.clear()
        if self._dirty_mailboxes:
            self.executemany(
                "UPDATE mailboxes SET uidnext = ?, modseq = ?, total = ?, unseen = ?, size = ? WHERE id = ?",
                [(box.uidnext, box.modseq, box.total, box.unseen, box.size, box.id) for box in self._dirty_mailboxes],
            )
            self._dirty_mailboxes.clear()
        if self._dirty_accounts:
            self.executemany(
                "UPDATE accounts SET modseq = ?, emails = ?, removals = ?, serial = ? WHERE id = ?",
                [(row.modseq, row.emails, row.removals, self._serial + 1, row.id) for row in self._dirty_accounts],
            )
            self._dirty_accounts.clear()

    # --- what is known -----------------------------------------------------------------------------------------------

    def account(self, number: int) -> AccountRow:
        """Raises AccountNotFound."""
        account = self._accounts.get(number)
        if account is None:
            row = self.execute(
                "SELECT id, name, modseq, emails, removals FROM accounts WHERE id = ?", (number,)
            ).fetchone()
            if row is None:
                raise AccountNotFound(f"account {number} is gone")
            account = self._accounts[number] = AccountRow(*row)
        return account

    def mailbox(self, account: AccountRow, number: int | None) -> MailboxRow | None:
        """A mailbox of that account, if it is there."""
        if number is None:
            return None
        box = account.mailboxes.get(number)
        if box is None:
            row = self.execute(
                "SELECT id, role, uidvalidity, uidnext, modseq, total, unseen, size FROM mailboxes"
                " WHERE id = ? AND account = ?",
                (number, account.id),
            ).fetchone()
            if row is not None:
                box = account.mailboxes[number] = MailboxRow(*row)
        return box

    def touch(self, account: AccountRow, modseq: int, boxes: Iterable[MailboxRow]) -> None:
        """The account has changed, and these mailboxes of it."""
        account.modseq = modseq
        self._dirty_accounts.add(account)
        self.changed.pop(account.name, None)
        self.changed[account.name] = modseq
        self._dirty_mailboxes.update(boxes)

    def forget(self, account: int | None = None) -> None:
        """Read it again from the index the next time: one account, or all of them. Nothing may wait for `flush`."""
        if account is None:
            self._accounts.clear()
        else:
            self._accounts.pop(account, None)
        self._dirty_accounts.clear()
        self._dirty_mailboxes.clear()

    # --- tokens ------------------------------------------------------------------------------------------------------

    def known_tokens(self, tokens: Mapping[bytes, tuple[int, str]], days: int) -> dict[bytes, str]:
        """The answers that were given to those of these tokens (key -> account, token) that were seen within that many
        days."""
        periods = rows.token_periods(self.now, days)
        found = self._answers(periods, list(tokens))
        if self._older_tokens >= periods[0]:
            older = {rows.older_token_key(*token): key for key, token in tokens.items()}
            found |= {older[key]: answer for key, answer in self._answers(periods, list(older)).items()}
        return found

    def _answers(self, periods: list[int], keys: list[bytes]) -> dict[bytes, str]:
        recent = ",".join(map(str, periods))
        found: dict[bytes, str] = {}
        for some in portions(keys, (1, 2, 4, 8, 16, 32, 64)):
            marks = ",".join("?" * len(some))
            found.update(
                self.execute(f"SELECT key, answer FROM tokens WHERE period IN ({recent}) AND key IN ({marks})", some)
            )
        return found

    def keep_token(self, key: bytes, answer: str) -> None:
        """Remember what was answered."""
        self.new_tokens[key] = answer
        self._unflushed_tokens.append((rows.token_period(self.now // 86400), key, answer))
