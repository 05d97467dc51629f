"""A mail store in one SQLite file: every promise kept, nothing clever. Copy it, and make it yours."""

import pickle
import sqlite3
import time
from contextlib import contextmanager

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound, Unavailable
from twisted_mail_kit.interfaces import IMailStore, Removal
from twisted_mail_kit.stores.folders import make_folder
from twisted_mail_kit.stores.ledger import Ledger
from twisted_mail_kit.stores.ledger_account import LedgerAccount

DAY = 24 * 3600
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL; -- COMMIT returns when it would survive a power cut
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS fact (account, box, uid, modseq, blob, value, PRIMARY KEY (account, box, uid));
CREATE INDEX IF NOT EXISTS fact_mailbox ON fact (account) WHERE uid = 0;
CREATE INDEX IF NOT EXISTS fact_modseq ON fact (account, modseq, box);
CREATE INDEX IF NOT EXISTS fact_blob ON fact (blob) WHERE blob NOT NULL;
CREATE TABLE IF NOT EXISTS answer (account, token, given, value, PRIMARY KEY (account, token));
CREATE INDEX IF NOT EXISTS answer_given ON answer (given);
CREATE TABLE IF NOT EXISTS blob (blob PRIMARY KEY, account, size, idle);
CREATE INDEX IF NOT EXISTS blob_idle ON blob (idle) WHERE idle NOT NULL;
CREATE TABLE IF NOT EXISTS piece (blob REFERENCES blob ON DELETE CASCADE, start, octets, PRIMARY KEY (blob, start));
"""


@contextmanager
def sqlite_errors():
    try:
        yield
    except (sqlite3.Error, OSError) as error:  # a full disk, a lock that is not given: not now
        raise Unavailable(str(error)) from error


@implementer(IMailStore)
class ExampleStore:
    def __init__(self, path, seconds=time.time):
        with sqlite_errors():
            make_folder(path)
            self.db = sqlite3.connect(path / "mail.sqlite", isolation_level=None, check_same_thread=False, timeout=30)
            self.db.executescript(SCHEMA)
        self.turn, self.seconds = DeferredLock(), seconds

    async def open_account(self, name, create=False):
        account = ExampleAccount(self, name)
        await account.open(create)
        return account

    def transact(self, name, work):
        with sqlite_errors(), self.db:  # commits, or rolls back
            self.db.execute("BEGIN IMMEDIATE")
            return work(ExampleLedger(name, self.seconds(), self.db))

    async def close(self):
        await self.turn.run(deferToThread, self.db.close)


class ExampleAccount(LedgerAccount):
    def __init__(self, store, name):
        super().__init__(name)
        self.store = store

    def transact(self, work):  # SQLite blocks, so in a thread; one at a time, for all share `db`
        return self.store.turn.run(deferToThread, self.store.transact, self.name, work)


class ExampleLedger(Ledger):
    """A row a fact: the mailbox itself as UID 0, a message with its blob, the removal that a message became without."""

    def __init__(self, name, now, db):
        super().__init__(name, now)
        self.db = db

    def open(self, create=False):
        super().open(create)
        # And sweep. A blob is idle when it is new, or lost a message: those that have one a day later are not.
        self.db.execute("DELETE FROM answer WHERE given < ?", [self.now - 8 * DAY])
        used = "EXISTS (SELECT 1 FROM fact WHERE fact.blob = blob.blob)"
        self.db.execute(f"DELETE FROM blob WHERE idle < ? AND NOT {used}", [self.now - DAY])
        self.db.execute("UPDATE blob SET idle = NULL WHERE idle < ?", [self.now - DAY])

    def one(self, query, *arguments):
        row = self.db.execute(query, arguments).fetchone()
        return row and row[0]

    def facts(self, where, *arguments):
        rows = self.db.execute(f"SELECT value FROM fact WHERE account = ? AND {where}", [self.name, *arguments])
        return (pickle.loads(value) for (value,) in rows)  # our own file: nobody else writes to it

    def state(self):
        return self.one("SELECT ifnull(max(modseq), 0) FROM fact WHERE account = ?", self.name)

    def mailbox_kept(self, mailbox_id):
        return next(self.facts("box = ? AND uid = 0", mailbox_id), None)

    def mailboxes_kept(self):
        return self.facts("uid = 0")

    def messages_after(self, mailbox_id, uid, limit):
        return self.facts("box = ? AND uid > ? AND blob NOT NULL ORDER BY uid LIMIT ?", mailbox_id, uid, limit)

    def messages_of(self, mailbox_id, uids):
        where = "box = ? AND uid = ? AND blob NOT NULL"
        return (row for uid in uids for row in self.facts(where, mailbox_id, uid))

    def facts_between(self, since, until, limit, mailbox_id):
        where = "modseq > ? AND modseq <= ? AND box = ifnull(?, box) ORDER BY modseq LIMIT ?"
        return self.facts(where, since, until, mailbox_id, limit)

    def put(self, fact):
        if isinstance(fact, Removal):
            self.let_go("box = ? AND uid = ?", fact.mailbox_id, fact.uid)
        row = [self.name, fact[0], getattr(fact, "uid", 0), fact.modseq, getattr(fact, "blob_id", None)]
        self.db.execute("REPLACE INTO fact VALUES (?, ?, ?, ?, ?, ?)", [*row, pickle.dumps(fact)])

    def drop_messages(self, mailbox_id):
        self.let_go("box = ? AND uid > 0", mailbox_id)

    def let_go(self, where, *arguments):
        mine, values = f"account = ? AND {where}", [self.name, *arguments]
        idle = f"UPDATE blob SET idle = ? WHERE blob IN (SELECT blob FROM fact WHERE {mine})"
        self.db.execute(idle, [self.now, *values])
        self.db.execute(f"DELETE FROM fact WHERE {mine}", values)

    def answer(self, token):
        value = self.one("SELECT value FROM answer WHERE account = ? AND token = ?", self.name, token)
        return value and pickle.loads(value)

    def keep_answer(self, token, applied):
        self.db.execute("INSERT INTO answer VALUES (?, ?, ?, ?)", [self.name, token, self.now, pickle.dumps(applied)])

    def blob_size(self, blob_id):
        return self.one("SELECT size FROM blob WHERE account = ? AND blob = ?", self.name, blob_id)

    def write_piece(self, blob_id, start, octets):
        upsert = "INSERT INTO blob VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size"
        self.db.execute(upsert, [blob_id, self.name, start + len(octets), self.now])
        self.db.execute("INSERT INTO piece VALUES (?, ?, ?)", [blob_id, start, octets])

    def read_blob(self, blob_id, offset, size):
        if self.blob_size(blob_id) is None:
            raise BlobNotFound(blob_id)
        piece = "blob = ? AND start <= ? ORDER BY start DESC LIMIT 1"
        query = f"SELECT substr(octets, ? - start + 1, ?) FROM piece WHERE {piece}"
        return self.one(query, offset, size, blob_id, offset) or b""  # of no octets, SQLite gives NULL
