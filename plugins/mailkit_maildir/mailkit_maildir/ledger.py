"""The primitives of a `Ledger`: facts go into the index at once, and what they mean for files is planned."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mailkit_maildir import codec, filename, lists, names
from mailkit_maildir.deeds import find
from mailkit_maildir.filename import FLAGS, FileName
from mailkit_maildir.index import Index
from mailkit_maildir.pen import Pen
from mailkit_maildir.uidlist import new_guid
from twisted_mail_kit.errors import AccountNotFound, BlobNotFound, Forbidden
from twisted_mail_kit.interfaces import Applied, Mailbox, Message, Removal
from twisted_mail_kit.stores.ledger import Fact, Ledger

BLOB_ID = re.compile(r"[0-9a-f]{32}")
ROWS_AT_ONCE = 500


class MaildirLedger(Ledger):
    """One account within one transaction; `deeds` is what has to be done to its files when that is committed."""

    def __init__(self, name: str, now: float, index: Index, root: Path, pen: Pen) -> None:
        super().__init__(name, now)
        self.index = index
        self.root = root
        self.pen = pen
        self.deeds: list[list[Any]] = []
        self.uids: dict[str, dict[str, int]] = {}
        """Box id -> base -> UID: what is new in its list."""
        self.keywords: dict[str, dict[str, str]] = {}
        """Box id -> letter -> keyword, of the boxes that flags were set in."""
        self.freed: set[str] = set()
        """Folders that will be gone."""

    def plan(self) -> list[list[Any]]:
        """All deeds, in an order in which they can be done: UIDs and keywords before the files that have them."""
        first: list[list[Any]] = []
        for box_id, keywords in self.keywords.items():
            directory = self.index.directory(box_id)
            if directory is not None and keywords != self.index.keywords(box_id):
                self.index.db.execute("UPDATE box SET keywords = ? WHERE id = ?", [json.dumps(keywords), box_id])
                first.append(["keywords", directory, keywords])
        for box_id, uids in self.uids.items():
            directory = self.index.directory(box_id)
            if directory is not None:
                first.append(["uids", directory, uids, *self.head(box_id)])
        # A folder is made, moved or removed at its place among the rest; lists are written when all folders are there.
        folders = [number for number, deed in enumerate(self.deeds) if deed[0] in ("make", "move", "gone")]
        at = folders[-1] + 1 if folders else 0
        return [*self.deeds[:at], *first, *self.deeds[at:]]

    def head(self, box_id: str) -> tuple[int, int, str]:
        """UIDVALIDITY, next UID and GUID of a box."""
        found = self.index.one("SELECT uidvalidity, uidnext, guid FROM box WHERE id = ?", box_id)
        return (*found,)

    def open(self, create: bool = False, above: int = 0) -> None:
        """As `IMailStore.open_account`; the inbox gets a UIDVALIDITY greater than `above`."""
        if not self.state():
            if not create:
                raise AccountNotFound(self.name)
            uidvalidity = max(self.now, above + 1)
            box_id = f"M{new_guid()}"
            self.put(Mailbox(box_id, ("INBOX",), "inbox", uidvalidity, 1, 1, 0, 0, 0, True))

    # --- facts -------------------------------------------------------------------------------------------------------

    def state(self) -> int:
        return self.index.state()

    def mailboxes_kept(self) -> Iterable[Mailbox]:
        return self.index.boxes()

    def mailbox_kept(self, mailbox_id: str) -> Mailbox | None:
        return self.index.box(mailbox_id)

    def messages_after(self, mailbox_id: str, uid: int, limit: int) -> Iterable[Message]:
        where = "box = ? AND uid > ? AND blob NOT NULL ORDER BY uid LIMIT ?"
        rows = self.index.all(f"SELECT {codec.MESSAGE} FROM message WHERE {where}", mailbox_id, uid, limit)
        return (codec.fact(row) for row in rows)  # type: ignore[misc]

    def messages_of(self, mailbox_id: str, uids: Sequence[int]) -> Iterable[Message]:
        for start in range(0, len(uids), ROWS_AT_ONCE):
            some = uids[start : start + ROWS_AT_ONCE]
            where = f"box = ? AND uid IN ({', '.join('?' * len(some))}) AND blob NOT NULL ORDER BY uid"
            query = f"SELECT {codec.MESSAGE} FROM message WHERE {where}"
            yield from (codec.fact(row) for row in self.index.all(query, mailbox_id, *some))  # type: ignore[misc]

    def facts_between(self, since: int, until: int, limit: int, mailbox_id: str | None) -> Iterable[Fact]:
        where = "modseq > ? AND modseq <= ?"
        of = [since, until, limit] if mailbox_id is None else [since, until, mailbox_id, limit]
        in_box, is_box = ("", "") if mailbox_id is None else (" AND box = ?", " AND id = ?")
        rest = "ORDER BY modseq LIMIT ?"
        boxes = self.index.all(f"SELECT {codec.BOX} FROM box WHERE {where}{is_box} {rest}", *of)
        rows = self.index.all(f"SELECT {codec.MESSAGE} FROM message WHERE {where}{in_box} {rest}", *of)
        facts: list[Fact] = [*map(codec.mailbox, boxes), *map(codec.fact, rows)]
        return sorted(facts, key=lambda one: one.modseq)[:limit]

    def forgotten(self) -> int:
        return int(self.index.about("forgotten", 0))

    def put(self, fact: Fact) -> None:
        match fact:
            case Mailbox():
                self.put_mailbox(fact)
            case Message():
                self.put_message(fact)
            case Removal():
                self.put_removal(fact)

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    def put_mailbox(self, box: Mailbox) -> None:
        old, directory = self.index.box(box.id), self.index.directory(box.id)
        if old is None:
            directory, guid = self.new_directory(box), new_guid()
            self.index.keep_box(box, dir=directory, guid=guid)
            self.deeds.append(["make", directory, box.uidvalidity, guid, self.escaped_name(directory, box)])
            if box.subscribed or directory:
                self.deeds.append(["subscribe", lists.subscription(directory), box.subscribed])
        elif not box.name:
            self.index.keep_box(box, dir=None)
            assert directory is not None
            self.freed.add(directory)
            self.uids.pop(box.id, None)
            guid = self.head(box.id)[2]
            self.deeds += [["gone", directory, guid], ["subscribe", lists.subscription(directory), False]]
        else:
            assert directory is not None
            if box.name != old.name:
                if directory == names.INBOX:
                    raise Forbidden("the inbox of a Maildir++ tree is the tree itself, and cannot be renamed")
                # What was planned under the old name is to be done under it: after it, the move.
                there = self.new_directory(box)
                self.freed.add(directory)
                self.deeds += [
                    ["move", directory, there, self.escaped_name(there, box)],
                    ["subscribe", lists.subscription(directory), False],
                    ["subscribe", lists.subscription(there), box.subscribed],
                ]
                directory = there
            elif box.subscribed != old.subscribed:
                self.deeds.append(["subscribe", lists.subscription(directory), box.subscribed])
            self.index.keep_box(box, dir=directory)

    def new_directory(self, box: Mailbox) -> str:
        """A folder for a mailbox of that name, which nobody has."""
        plain = names.directory_of(box.name)
        if plain is not None and plain not in self.index.directories():
            if plain in self.freed:
                return plain
            if plain == names.INBOX or not (self.root / plain).exists():
                return plain
        return f"{names.ESCAPE}{box.id}-{box.modseq}"

    def escaped_name(self, directory: str, box: Mailbox) -> list[str] | None:
        """What has to stand in the folder, where its own name does not say it."""
        return list(box.name) if directory.startswith(names.ESCAPE) else None

    def drop_messages(self, mailbox_id: str) -> None:
        directory = self.index.directory(mailbox_id)
        query = "SELECT blob, place, base, info FROM message WHERE box = ? AND blob NOT NULL"
        rows = self.index.all(query, mailbox_id).fetchall()
        self.index.db.execute("DELETE FROM message WHERE box = ?", [mailbox_id])
        for blob_id, *file in rows:
            self.let_go(directory, blob_id, FileName(*file))

    # --- messages ----------------------------------------------------------------------------------------------------

    def put_message(self, row: Message) -> None:
        query = "SELECT flags, place, base, info FROM message WHERE box = ? AND uid = ? AND blob NOT NULL"
        there = self.index.one(query, row.mailbox_id, row.uid)
        keywords = self.keywords.setdefault(row.mailbox_id, self.index.keywords(row.mailbox_id))
        letters = lists.letters_for(row.flags, keywords)
        if there is not None:
            old = FileName(*there[1:])
            known = {*FLAGS.values(), *keywords}
            new = old.flagged(letters, known)
            if letters != {letter for letter in old.letters if letter in known}:
                self.deeds.append(["flag", self.directory(row.mailbox_id), *old, *new])
            else:
                new = old
        else:
            new = self.place(row, letters)
        self.index.keep_message(row, *new)

    def place(self, row: Message, letters: set[str]) -> FileName:
        """Plan a new file."""
        date, source, directory = self.source(row.blob_id)
        base = filename.new_base(time.time(), *self.sizes(row, source, directory))
        new = FileName("new", base, None)
        if letters:
            new = new.flagged(letters, letters)
        whence: list[Any] = [row.blob_id] if source is None else [row.blob_id, directory, *source]
        # Hard links have one date: a message with the same octets and another date has a file of its own.
        how = "link" if date in (None, row.internal_date) else "copy"
        self.deeds.append([how, whence, self.directory(row.mailbox_id), *new, row.internal_date])
        self.uids.setdefault(row.mailbox_id, {})[base] = row.uid
        return new

    def sizes(self, row: Message, source: FileName | None, directory: str) -> tuple[int | None, int | None]:
        """What goes into the file's name: its octets, and those with CR LF for every line end, where that is known."""
        (has_bare_lines,) = self.index.one("SELECT lines FROM blob WHERE id = ?", row.blob_id)
        if not has_bare_lines:
            with_crlf = self.pen.lines.get(row.blob_id)
            if with_crlf is None and source is not None:
                with_crlf = filename.sizes(source.base)[1]
            return row.size, with_crlf
        path = self.pen.path(row.blob_id) if source is None else find(self.root / directory, source)
        try:
            return None if path is None else path.stat().st_size, row.size
        except FileNotFoundError:
            return None, row.size

    def source(self, blob_id: str) -> tuple[int | None, FileName | None, str]:
        """The internal date, the file and the folder of a message with these octets; nothing where only the pen has
        them."""
        query = (
            "SELECT date, place, base, info, dir FROM message JOIN box ON box.id = message.box "
            "WHERE blob = ? ORDER BY message.rowid LIMIT 1"
        )
        found = self.index.one(query, blob_id)
        return (found[0], FileName(*found[1:4]), found[4]) if found else (None, None, "")

    def put_removal(self, gone: Removal) -> None:
        query = "SELECT blob, place, base, info FROM message WHERE box = ? AND uid = ?"
        blob_id, *file = self.index.one(query, gone.mailbox_id, gone.uid)
        self.index.keep_removal(gone, self.now)
        self.let_go(self.directory(gone.mailbox_id), blob_id, FileName(*file))

    def let_go(self, directory: str | None, blob_id: str, file: FileName) -> None:
        """A message is gone: its file goes too, or into the pen, where it is the last with these octets."""
        kept = None if self.index.is_used(blob_id) else blob_id
        if kept:
            self.index.db.execute("UPDATE blob SET idle = ? WHERE id = ?", [self.now, blob_id])
        self.deeds.append(["drop", directory, *file, kept])

    def directory(self, box_id: str) -> str:
        directory = self.index.directory(box_id)
        assert directory is not None, box_id
        return directory

    # --- tokens and octets -------------------------------------------------------------------------------------------

    def answer(self, token: str) -> Applied | None:
        row = self.index.one("SELECT value FROM answer WHERE token = ?", token)
        return row and codec.answer_of(row[0])

    def keep_answer(self, token: str, applied: Applied) -> None:
        self.index.db.execute("INSERT INTO answer VALUES (?, ?, ?)", [token, self.now, codec.answer_text(applied)])

    def blob_size(self, blob_id: str) -> int | None:
        if not BLOB_ID.fullmatch(blob_id):
            return None
        row = self.index.one("SELECT size FROM blob WHERE id = ?", blob_id)
        if row is None:
            size = self.pen.size(blob_id)
            if size is not None:
                self.index.db.execute("INSERT INTO blob VALUES (?, ?, 0, ?)", [blob_id, size, self.now])
            return size
        return int(row[0])

    def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        raise BlobNotFound(blob_id)  # `account.py` reads files
