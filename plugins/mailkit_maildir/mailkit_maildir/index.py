"""The index of one account: what a Maildir cannot say, what it says slowly, and what is still to be done to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mailkit_maildir import codec
from twisted_mail_kit.errors import OverQuota, Unavailable
from twisted_mail_kit.interfaces import Mailbox, Message, Removal

VERSION = 1
SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE box (
    id TEXT PRIMARY KEY, name TEXT, role TEXT, uidvalidity INTEGER, uidnext INTEGER, modseq INTEGER,
    total INTEGER, unseen INTEGER, size INTEGER, subscribed INTEGER,
    dir TEXT, -- NULL: the mailbox is gone
    guid TEXT, -- in dovecot-uidlist
    keywords TEXT DEFAULT '{}', -- letter -> keyword
    seen TEXT DEFAULT '' -- signatures of what was looked at
);
CREATE UNIQUE INDEX box_dir ON box (dir) WHERE dir NOT NULL;
CREATE INDEX box_modseq ON box (modseq);
CREATE TABLE message (
    box TEXT, uid INTEGER, email TEXT, thread TEXT,
    blob TEXT, -- NULL: it was removed
    size INTEGER, date INTEGER, saved INTEGER, flags TEXT, modseq INTEGER, created INTEGER, summary BLOB,
    place TEXT, base TEXT, info TEXT, -- the file's name
    PRIMARY KEY (box, uid)
);
CREATE INDEX message_modseq ON message (modseq, box);
CREATE INDEX message_base ON message (base) WHERE blob NOT NULL;
CREATE INDEX message_blob ON message (blob) WHERE blob NOT NULL;
CREATE TABLE blob (
    id TEXT PRIMARY KEY, size INTEGER,
    lines INTEGER, -- 1: the file has bare line feeds, and CR LF is read for each
    idle REAL -- since when nobody may need the file in the pen
) WITHOUT ROWID;
CREATE TABLE answer (token TEXT PRIMARY KEY, given REAL, value TEXT) WITHOUT ROWID;
CREATE TABLE deed (number INTEGER PRIMARY KEY, what TEXT);
"""


@contextmanager
def database_troubles(path: Path) -> Iterator[None]:
    """What SQLite says, in mail words."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise (OverQuota if "full" in str(error) else Unavailable)(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Unavailable(
            f"{path}: {error}. It is damaged: stop the server and move the file away; it is made again from the mail"
        ) from error


class Index:
    """One connection; its calls come one at a time."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self.db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = FULL")  # COMMIT returns when it would survive a power cut
            (version,) = self.one("PRAGMA user_version")
            if version > VERSION:
                raise Unavailable(
                    f"{path}: made by a newer version of this plugin ({version}; this one knows {VERSION})"
                )
            if not version:
                with self.transaction():
                    for statement in SCHEMA.split(";\n"):
                        self.db.execute(statement)
                    self.db.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            self.db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[None]:
        """Commits at the end, or rolls back. One that is not `durable` is seen at once, and may be lost at a power
        cut, with all that came after it."""
        self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def one(self, query: str, *values: Any) -> Any:
        """The first row, or None."""
        return self.db.execute(query, values).fetchone()

    def all(self, query: str, *values: Any) -> sqlite3.Cursor:
        """Rows, as they are asked for."""
        return self.db.execute(query, values)

    # --- about the account -------------------------------------------------------------------------------------------

    def about(self, key: str, default: Any = None) -> Any:
        """A value that was kept."""
        row = self.one("SELECT value FROM about WHERE key = ?", key)
        return default if row is None else row[0]

    def keep_about(self, key: str, value: Any) -> None:
        """Keep one."""
        self.db.execute("REPLACE INTO about VALUES (?, ?)", [key, value])

    def state(self) -> int:
        """The account's modseq; 0: there is nothing in here yet."""
        return int(self.one("SELECT ifnull(max(modseq), 0) FROM box")[0])

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    def boxes(self) -> list[Mailbox]:
        """All that ever were."""
        return [codec.mailbox(row) for row in self.all(f"SELECT {codec.BOX} FROM box")]

    def box(self, box_id: str) -> Mailbox | None:
        """The one of that id."""
        row = self.one(f"SELECT {codec.BOX} FROM box WHERE id = ?", box_id)
        return row and codec.mailbox(row)

    def directory(self, box_id: str) -> str | None:
        """Its folder; None: it has none any more."""
        row: tuple[str | None] | None = self.one("SELECT dir FROM box WHERE id = ?", box_id)
        return row[0] if row else None

    def directories(self) -> dict[str, str]:
        """Folder -> id."""
        return dict(self.all("SELECT dir, id FROM box WHERE dir NOT NULL"))

    def keywords(self, box_id: str) -> dict[str, str]:
        """Letter -> keyword."""
        return dict(json.loads(self.one("SELECT keywords FROM box WHERE id = ?", box_id)[0]))

    def keep_box(self, box: Mailbox, **more: Any) -> None:
        """Put it in, or in its own place; `more` are other columns."""
        columns = codec.BOX.split(", ")
        names, values = [*columns, *more], [*codec.box_values(box), *more.values()]
        changed = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        self.db.execute(
            f"INSERT INTO box ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT (id) DO UPDATE SET {changed}",
            values,
        )

    # --- messages ----------------------------------------------------------------------------------------------------

    def keep_message(self, row: Message, place: str, base: str, info: str | None) -> None:
        """Put it in, or in its own place."""
        values = [*codec.message_values(row), place, base, info]
        columns = f"{codec.MESSAGE}, place, base, info"
        self.db.execute(f"REPLACE INTO message ({columns}) VALUES ({', '.join('?' * len(values))})", values)

    def keep_removal(self, gone: Removal, now: int) -> None:
        """Put a tombstone in the place of the message."""
        self.db.execute(
            "REPLACE INTO message (box, uid, email, modseq, saved) VALUES (?, ?, ?, ?, ?)",
            [gone.mailbox_id, gone.uid, gone.email_id, gone.modseq, now],
        )

    def is_used(self, blob_id: str) -> bool:
        """Whether any message has these octets."""
        return self.one("SELECT 1 FROM message WHERE blob = ? LIMIT 1", blob_id) is not None

    # --- what is to be done ------------------------------------------------------------------------------------------

    def deeds(self) -> list[list[Any]]:
        """What was decided and is not done yet, in its order."""
        return [json.loads(what) for (what,) in self.all("SELECT what FROM deed ORDER BY number")]

    def plan(self, deeds: list[list[Any]]) -> None:
        """Decide on these."""
        self.db.executemany("INSERT INTO deed (what) VALUES (?)", [[json.dumps(deed)] for deed in deeds])
