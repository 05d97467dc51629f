"""The eight operations, done in the writer's transaction."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from twisted_mail_kit.errors import (
    AccountNotFound,
    BadSyntax,
    BlobNotFound,
    Forbidden,
    LimitReached,
    MailboxExists,
    MailboxNotFound,
)
from twisted_mail_kit.mail.facts import Added, Copied, FlagsSet, Mailbox, Removed, Result
from twisted_mail_kit.mail.operations import (
    UNSET,
    Add,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    Move,
    Operation,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.batch import AccountRow, Batch, MailboxRow
from twisted_mail_kit.stores.sqlite.blobs import Pending
from twisted_mail_kit.stores.sqlite.flagging import set_flags
from twisted_mail_kit.stores.sqlite.reading import by_uids
from twisted_mail_kit.stores.sqlite.segments import Location
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

AT_ONCE = 5000
"""Rows of messages that are there as objects at once."""


class Work:
    """One `apply` at work. Rows that are only put in gather in the batch; all else is written at once."""

    def __init__(self, batch: Batch, account: AccountRow, blobs: dict[str, Pending], settings: SQLiteSettings) -> None:
        self.batch = batch
        self.account = account
        self.blobs = blobs
        self.settings = settings
        self.modseq = account.modseq + 1
        self.is_changed = False
        self.touched: set[MailboxRow] = set()
        self.results: list[Result] = []
        self._created: dict[str, int] = {}

    def run_adds(self, ops: Sequence[Operation]) -> bool:
        """Do them, where they only put in new messages in a way that cannot fail halfway: no savepoint is needed then.

        Answers whether it did; otherwise nothing was done. Raises MailboxNotFound.
        """
        seen: list[tuple[Add, MailboxRow, Location, rows.PackedFlags]] = []
        for op in ops:
            if type(op) is not Add or op.mailbox_id[:1] == "#":
                return False
            pending = self.blobs.get(op.blob_id)
            if pending is None or pending.location is None:
                return False
            if type(op.internal_date) is not int or not -(1 << 62) < op.internal_date < 1 << 62:
                return False
            if type(op.summary) is not bytes:
                return False
            if op.thread_id is not None and not (type(op.thread_id) is str and op.thread_id.isascii()):
                return False
            box = self._mailbox(op.mailbox_id)
            if box.uidnext + len(ops) > rows.UID_LIMIT:
                return False
            seen.append((op, box, pending.location, rows.pack_flags(op.flags)))
        for one in seen:
            self.results.append(self._put(*one))
        self._end()
        return True

    def run_flags(self, ops: Sequence[Operation]) -> bool:
        """Do it, where flags are all that is set, of few messages: what can go wrong does before anything is written,
        so no savepoint is needed. Answers as `run_adds` does. Raises MailboxNotFound."""
        if len(ops) != 1 or type(ops[0]) is not SetFlags or len(ops[0].uids) > AT_ONCE:
            return False
        self.results.append(self.set_flags(ops[0]))
        self._end()
        return True

    def run(self, ops: Sequence[Operation]) -> None:
        """Do them in order."""
        for op in ops:
            self.results.append(DO[type(op)](self, op))
        self._end()

    def _end(self) -> None:
        if self.is_changed:
            for box in self.touched:
                box.modseq = self.modseq
            self.batch.touch(self.account, self.modseq, self.touched)

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    def create_mailbox(self, op: CreateMailbox) -> Mailbox:
        name = self._check_name(op.name)
        execute, account = self.batch.execute, self.account.id
        self._check_taken(name, op.role, 0)
        (count,) = execute("SELECT count(*) FROM mailboxes WHERE account = ?", (account,)).fetchone()
        if count >= self.settings.mailboxes:
            raise LimitReached("mailboxes")
        (uidvalidity,) = execute(
            "UPDATE store SET value = max(value + 1, ?) WHERE key = 'uidvalidity' RETURNING value", (self.batch.now,)
        ).fetchone()
        number = execute(
            "INSERT INTO mailboxes (account, name, role, uidvalidity, uidnext, modseq, total, unseen, size, subscribed)"
            " VALUES (?, ?, ?, ?, 1, ?, 0, 0, 0, ?)",
            (account, name, op.role, uidvalidity, self.modseq, int(op.subscribed)),
        ).lastrowid
        assert number is not None
        self._created[f"#{len(self.results)}"] = number
        self.is_changed = True
        return self._answer(number)

    def update_mailbox(self, op: UpdateMailbox) -> Mailbox:
        box = self._mailbox(op.mailbox_id)
        execute = self.batch.execute
        old = execute("SELECT name, role, subscribed FROM mailboxes WHERE id = ?", (box.id,)).fetchone()
        name = old[0] if op.name is UNSET else self._check_name(op.name)
        role = old[1] if op.role is UNSET else op.role
        subscribed = old[2] if op.subscribed is UNSET else int(op.subscribed)
        if (name, role, subscribed) != old:
            self._check_taken(name, role, box.id)
            execute(
                "UPDATE mailboxes SET name = ?, role = ?, subscribed = ? WHERE id = ?",
                (name, role, subscribed, box.id),
            )
            box.role = role
            self._touch(box)
        return self._answer(box.id)

    def delete_mailbox(self, op: DeleteMailbox) -> None:
        box = self._mailbox(op.mailbox_id)
        if box.role == "inbox":
            raise Forbidden("the inbox stays")
        execute = self.batch.execute
        self.batch.flush()
        execute("DELETE FROM mailboxes WHERE id = ?", (box.id,))
        execute("INSERT INTO graves VALUES (?, ?)", (box.id, self.account.id))
        self._bury([(box.id << 32, "")])
        del self.account.mailboxes[box.id]
        self.touched.discard(box)
        self.is_changed = True

    # --- messages ----------------------------------------------------------------------------------------------------

    def add(self, op: Add) -> Added:
        box = self._mailbox(op.mailbox_id)
        return self._put(op, box, self._location(op.blob_id), rows.pack_flags(op.flags))

    def _put(self, op: Add, box: MailboxRow, location: Location, flags: rows.PackedFlags) -> Added:
        batch, account = self.batch, self.account
        uid = self._next_uid(box)
        email_id = f"{account.id:x}-{account.emails:x}"
        account.emails += 1
        # SQLite would take text for octets and anything for a number: it is found out here.
        summary, internal_date = bytes(op.summary), int(op.internal_date)
        thread_id = f"t{email_id}" if op.thread_id is None else op.thread_id
        id = box.id << 32 | uid
        batch.new_entries.append((id, account.id, self.modseq, flags, location.size, internal_date))
        batch.new_facts.append((id, email_id, thread_id, op.blob_id, batch.now, self.modseq, summary))
        batch.new_blobs.append((location.number, account.id, location.segment, location.offset, location.size))
        self._count(box, 1, location.size, flags)
        return Added(rows.mailbox_id(box.id), box.uidvalidity, uid, email_id)

    def copy(self, op: Copy) -> Copied:
        there, here = self._mailbox(op.mailbox_id), self._mailbox(op.to_mailbox_id)
        executemany = self.batch.executemany
        pairs: list[tuple[int, int]] = []
        for uids in _pieces(there, op.uids):
            found = self._rows("id, size, flags, blob_id", there, uids)
            entries, facts = self._placed(found, here, pairs)
            executemany(
                "INSERT INTO entries SELECT ?, account, ?, flags, size, internal_date FROM entries WHERE id = ?",
                entries,
            )
            executemany(
                "INSERT INTO facts SELECT ?, email_id, thread_id, blob_id, ?, ?, summary FROM facts WHERE id = ?",
                facts,
            )
            self._refer((row[3] for row in found), 1)
        return Copied(rows.mailbox_id(here.id), here.uidvalidity, tuple(pairs))

    def move(self, op: Move) -> Copied:
        there, here = self._mailbox(op.mailbox_id), self._mailbox(op.to_mailbox_id)
        pairs: list[tuple[int, int]] = []
        for uids in _pieces(there, op.uids):
            found = self._rows("id, size, flags, email_id", there, uids)
            entries, facts = self._placed(found, here, pairs)
            for _, size, flags, _ in found:
                self._count(there, -1, size, flags)
            self.batch.executemany("UPDATE entries SET id = ?, modseq = ? WHERE id = ?", entries)
            self.batch.executemany("UPDATE facts SET id = ?, saved_date = ?, created = ? WHERE id = ?", facts)
            self._bury([(row[0], row[3]) for row in found])
        return Copied(rows.mailbox_id(here.id), here.uidvalidity, tuple(pairs))

    def _placed(
        self, found: list[tuple[Any, ...]], here: MailboxRow, pairs: list[tuple[int, int]]
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """New places in `here` for rows of (id, size, flags, …): (new id, modseq, id) for their entries, (new id, now,
        modseq, id) for their facts. `pairs` of UIDs, old and new, grow."""
        entries: list[tuple[int, ...]] = []
        facts: list[tuple[int, ...]] = []
        for id, size, flags, _ in found:
            uid = self._next_uid(here)
            new = here.id << 32 | uid
            pairs.append((id & 0xFFFFFFFF, uid))
            entries.append((new, self.modseq, id))
            facts.append((new, self.batch.now, self.modseq, id))
            self._count(here, 1, size, flags)
        return entries, facts

    def set_flags(self, op: SetFlags) -> FlagsSet:
        box = self._mailbox(op.mailbox_id)
        if self.batch.new_entries:
            self.batch.flush()
        done = set_flags(self.batch, box, op, self.modseq, _pieces(box, op.uids))
        if done.changed:
            self._touch(box)
        return done

    def remove(self, op: Remove) -> Removed:
        box = self._mailbox(op.mailbox_id)
        gone: list[int] = []
        for uids in _pieces(box, op.uids):
            found = self._rows("id, size, flags, blob_id, email_id", box, uids)
            for _, size, flags, _, _ in found:
                self._count(box, -1, size, flags)
            self.batch.executemany("DELETE FROM entries WHERE id = ?", [(row[0],) for row in found])
            self._refer((row[3] for row in found), -1)
            self._bury([(row[0], row[4]) for row in found])
            gone += [row[0] & 0xFFFFFFFF for row in found]
        return Removed(tuple(gone))

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _mailbox(self, mailbox_id: str) -> MailboxRow:
        number = self._created.get(mailbox_id) or rows.mailbox_number(mailbox_id)
        box = self.batch.mailbox(self.account, number)
        if box is None:
            raise MailboxNotFound(mailbox_id)
        return box

    def _touch(self, box: MailboxRow) -> None:
        self.touched.add(box)
        self.is_changed = True

    def _count(self, box: MailboxRow, sign: int, size: int, flags: rows.PackedFlags) -> None:
        box.total += sign
        box.size += sign * size
        if rows.is_unseen(flags):
            box.unseen += sign
        self._touch(box)

    def _next_uid(self, box: MailboxRow) -> int:
        uid = box.uidnext
        if uid >= rows.UID_LIMIT - 1:
            raise LimitReached("UIDs of a mailbox")
        box.uidnext = uid + 1
        return uid

    def _rows(self, columns: str, box: MailboxRow, uids: Sequence[int]) -> list[Any]:
        if self.batch.new_entries:
            self.batch.flush()
        return by_uids(self.batch.connection, columns, box.id, uids)

    def _location(self, blob_id: str) -> Location:
        pending = self.blobs.get(blob_id)
        if pending is not None:
            if pending.location is None:
                raise pending.trouble()
            return pending.location
        number = rows.blob_number(blob_id, self.batch.secret)
        if number is not None:
            if self.batch.new_blobs:
                self.batch.flush()
            # Whoever knows a shared blob's name may have it: it cannot be guessed.
            anyone = blob_id[0] == "s"
            row = self.batch.execute(
                'SELECT blob, segment, "offset", size FROM blobs WHERE blob = ? AND (? OR account = ?) LIMIT 1',
                (number, anyone, self.account.id),
            ).fetchone()
            if row is not None:
                return Location(*row)
        raise BlobNotFound(blob_id)

    def _refer(self, blob_ids: Iterable[str], sign: int) -> None:
        """That many more, or fewer, messages have these blobs."""
        if self.batch.new_blobs:
            self.batch.flush()
        refer(self.batch, ((blob_id, self.account.id) for blob_id in blob_ids), sign)

    def _bury(self, gone: list[tuple[int, str]]) -> None:
        now = self.batch.now
        self.batch.executemany(
            "INSERT INTO removals VALUES (?, ?, ?, ?, ?)",
            [(self.account.id, self.modseq, id, email_id, now) for id, email_id in gone],
        )
        self.account.removals += len(gone)

    def _answer(self, number: int) -> Mailbox:
        row = self.batch.execute(f"SELECT {rows.MAILBOX} FROM mailboxes WHERE id = ?", (number,)).fetchone()
        box = self.batch.mailbox(self.account, number)
        assert box is not None
        modseq = self.modseq if box in self.touched else box.modseq
        return rows.mailbox(row)._replace(
            uidnext=box.uidnext, modseq=modseq, total=box.total, unseen=box.unseen, size=box.size
        )

    def _check_name(self, name: tuple[str, ...]) -> str:
        if not name or not all(isinstance(part, str) for part in name):
            raise BadSyntax("a mailbox name has to be text")
        if len(name) > self.settings.name_depth:
            raise LimitReached("levels in a mailbox name")
        return rows.pack_name(name)

    def _check_taken(self, name: str, role: str | None, by_other_than: int) -> None:
        if self.batch.execute(
            "SELECT 1 FROM mailboxes WHERE account = ? AND (name = ? OR role = ?) AND id != ?",
            (self.account.id, name, role, by_other_than),
        ).fetchone():
            raise MailboxExists(f"{name} as {role}")


def remove_account(batch: Batch, name: str) -> None:
    """What it had goes with housekeeping. Raises AccountNotFound."""
    row = batch.execute("SELECT id FROM accounts WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise AccountNotFound(name)
    batch.execute("INSERT INTO graves SELECT id, account FROM mailboxes WHERE account = ?", row)
    batch.execute("DELETE FROM mailboxes WHERE account = ?", row)
    batch.execute("INSERT INTO graves VALUES (-?1, ?1)", row)  # what it has removed may be a million rows, too
    batch.execute("DELETE FROM accounts WHERE id = ?", row)
    batch.forget(row[0])


def _pieces(box: MailboxRow, uids: Sequence[int]) -> Iterator[Sequence[int]]:
    """`uids`, some at a time and ascending: a million rows at once would be hundreds of megabytes. Messages that the
    operation itself puts into the mailbox are not among them."""
    if len(uids) > AT_ONCE:
        if any(uid >= following for uid, following in pairwise(uids)):
            uids = sorted(set(uids))
        uids = uids[: bisect_left(uids, box.uidnext)]
    for start in range(0, len(uids), AT_ONCE):
        yield uids[start : start + AT_ONCE]


def refer(batch: Batch, blobs: Iterable[tuple[str, int]], sign: int) -> None:
    """That many more, or fewer, messages have these blobs (id, account)."""
    counted = Counter(blobs)
    batch.executemany(
        "UPDATE blobs SET refs = refs + ?1, gone = CASE WHEN refs + ?1 > 0 THEN NULL ELSE ?2 END"
        " WHERE blob = ?3 AND account = ?4",
        [
            (sign * times, batch.now, int(blob_id[1:].partition("-")[0], 16), account)
            for (blob_id, account), times in counted.items()
        ],
    )


DO: dict[type, Callable[[Work, Any], Result]] = {
    CreateMailbox: Work.create_mailbox,
    UpdateMailbox: Work.update_mailbox,
    DeleteMailbox: Work.delete_mailbox,
    Add: Work.add,
    Copy: Work.copy,
    Move: Work.move,
    SetFlags: Work.set_flags,
    Remove: Work.remove,
}
