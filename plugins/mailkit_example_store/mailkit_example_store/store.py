"""A mail store in one SQLite file: every promise kept, nothing clever. Copy it, and make it yours."""

import pickle
import sqlite3
import time
from pathlib import Path

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from mailkit_example_store import blobs
from mailkit_example_store.operations import Operations
from mailkit_example_store.transactions import transaction
from twisted_mail_kit import errors
from twisted_mail_kit import interfaces as mail

# One row a fact, with the modseq of its last change: a Mailbox (uid 0), a Message, or the Removal that it became. Rows
# of what is gone stay: so the greatest modseq is the account's state, and no id or number is ever used twice.
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA foreign_keys = ON;
PRAGMA synchronous = FULL; -- COMMIT returns when it would survive a power cut
CREATE TABLE IF NOT EXISTS fact (account TEXT, box TEXT, uid INTEGER, modseq INTEGER, blob TEXT, value BLOB,
                                 PRIMARY KEY (account, box, uid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fact_modseq ON fact (account, modseq);
CREATE INDEX IF NOT EXISTS fact_blob ON fact (blob);
CREATE TABLE IF NOT EXISTS token (account TEXT, token TEXT, at REAL, answer BLOB, PRIMARY KEY (account, token));
"""


@implementer(mail.IMailStore)
class ExampleStore:
    def __init__(self, path, seconds=time.time):
        Path(path).mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(Path(path) / "mail.sqlite", isolation_level=None, check_same_thread=False, timeout=30)
        self.db.executescript(SCHEMA + blobs.SCHEMA)
        self.turn, self.seconds, self.swept = DeferredLock(), seconds, seconds()

    @transaction
    def open_account(self, name, create=False):
        account = ExampleAccount(self, name)
        if not account.modseq():
            if not create:
                raise errors.AccountNotFound(name)
            account.do_all([mail.CreateMailbox(("INBOX",), "inbox")])
        return account

    async def close(self):
        await self.turn.run(deferToThread, self.db.close)

    def sweep(self, now):
        if now > self.swept + 600:
            self.swept = now
            self.db.execute("DELETE FROM token WHERE at < ?", [now - 7 * 86400])
            blobs.forget_unused_blobs(self.db, now)


@implementer(mail.IAccount)
class ExampleAccount:
    def __init__(self, store, name):
        self.store, self.db, self.turn, self.name = store, store.db, store.turn, name

    @transaction
    def state(self):
        return self.modseq()

    @transaction
    def mailboxes(self):
        return self.boxes()

    @transaction
    def messages(self, mailbox_id, uids=None, after=0, limit=1000):
        self.box(mailbox_id)
        if uids is None:
            return self.values("box = ? AND uid > ? AND blob NOT NULL ORDER BY uid LIMIT ?", mailbox_id, after, limit)
        return self.rows(mailbox_id, [uid for uid in uids if uid > after])[:limit]

    @transaction
    def changes(self, since, mailbox_id=None, limit=1000):
        box_id = None if mailbox_id is None else self.box(mailbox_id).id
        where = "modseq > ? AND modseq <= ? AND box = ifnull(?, box) ORDER BY modseq"
        query = f"SELECT modseq FROM fact WHERE account = ? AND {where}"
        until = self.modseq()
        modseqs = [modseq for (modseq,) in self.db.execute(query, [self.name, since, until, box_id]).fetchall()]
        # The page ends with the modseq of the row that fills it, and has all the rows of that one.
        more = len(modseqs) > limit and modseqs[limit - 1] < modseqs[-1]
        if more:
            until = modseqs[limit - 1]
        told = self.values(f"{where}, box, uid", since, until, box_id)
        boxes, rows, gone = (
            [one for one in told if isinstance(one, kind)] for kind in (mail.Mailbox, mail.Message, mail.Removal)
        )
        here, away = tuple(box for box in boxes if box.name), tuple(box.id for box in boxes if not box.name)
        return mail.Changes(since, until, more, here, away, tuple(rows), tuple(gone))

    @transaction
    def apply(self, ops, if_state=None, token=None):
        return self.do_all(ops, if_state, token)

    def new_blob(self, size_hint=None):
        return blobs.BlobWriter(self)

    @transaction
    def read_blob(self, blob_id, offset, size):
        return blobs.read_octets(self.db, self.name, blob_id, offset, size)

    # --- within a transaction, in the thread -------------------------------------------------------------------------

    def do_all(self, ops, if_state=None, token=None):
        now, state = self.store.seconds(), self.modseq()
        self.store.sweep(now)
        known = self.db.execute("SELECT answer FROM token WHERE account = ? AND token = ?", [self.name, token])
        for (answer,) in known.fetchall():
            return pickle.loads(answer)._replace(replayed=True)
        if if_state not in (None, state):
            raise errors.StateMismatch(f"it is {state}, not {if_state}")
        operations = Operations(self, state + 1, int(now))
        results = tuple([operations.do(op) for op in ops])
        applied = mail.Applied(self.modseq(), results)  # where nothing was put, that is the state as it was
        if token is not None:
            self.db.execute("INSERT INTO token VALUES (?, ?, ?, ?)", [self.name, token, now, pickle.dumps(applied)])
        return applied

    def values(self, where, *arguments):
        rows = self.db.execute(f"SELECT value FROM fact WHERE account = ? AND {where}", [self.name, *arguments])
        return [pickle.loads(value) for (value,) in rows.fetchall()]  # our own file: nobody else writes to it

    def modseq(self):
        return self.db.execute("SELECT ifnull(max(modseq), 0) FROM fact WHERE account = ?", [self.name]).fetchone()[0]

    def boxes(self):
        return [box for box in self.values("uid = 0") if box.name]  # a mailbox that is gone has no name

    def box(self, box_id):
        for box in self.values("box = ? AND uid = 0", box_id):
            if box.name:
                return box
        raise errors.MailboxNotFound(box_id)

    def rows(self, box_id, uids):
        return [row for uid in uids for row in self.values("box = ? AND uid = ? AND blob NOT NULL", box_id, uid)]
