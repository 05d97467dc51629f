"""A mail store in one SQLite file: every promise kept, nothing clever. Copy it, and make it yours."""

import pickle
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from twisted_mail_kit import errors
from twisted_mail_kit import interfaces as mail

# A fact is a Mailbox (uid 0), a Message or the Removal that it became, or the answer to a token (uid -1). Facts stay
# for ever: so the greatest modseq is the account's state, and no id or number is used twice. Octets go, a day later.
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL; -- COMMIT returns when it would survive a power cut
CREATE TABLE IF NOT EXISTS fact (account TEXT, box TEXT, uid INTEGER, modseq INTEGER, blob TEXT, gone REAL, value BLOB,
                                 PRIMARY KEY (account, box, uid));
CREATE INDEX IF NOT EXISTS fact_modseq ON fact (account, modseq);
CREATE INDEX IF NOT EXISTS fact_blob ON fact (blob);
CREATE TABLE IF NOT EXISTS piece (account TEXT, blob TEXT, start INTEGER, written REAL, octets BLOB,
                                  PRIMARY KEY (account, blob, start));
"""
SWEEP = """DELETE FROM piece WHERE written < :then AND NOT EXISTS
           (SELECT 1 FROM fact WHERE fact.blob = piece.blob AND (gone IS NULL OR gone > :then))"""
PIECE, HOUR = 256 * 1024, 3600


def transaction(method):
    """All of it or nothing. SQLite blocks, so it runs in a thread; one at a time, for all share `db`."""

    def transact(self, *arguments, **more):
        with self.db:  # commits, or rolls back
            self.db.execute("BEGIN IMMEDIATE")
            return method(self, *arguments, **more)

    return lambda self, *arguments, **more: self.turn.run(deferToThread, transact, self, *arguments, **more)


@implementer(mail.IMailStore)
class ExampleStore:
    def __init__(self, path, seconds=time.time):
        Path(path).mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(Path(path) / "mail.sqlite", isolation_level=None, check_same_thread=False, timeout=30)
        self.db.executescript(SCHEMA)
        self.turn, self.seconds, self.swept = DeferredLock(), seconds, 0

    async def open_account(self, name, create=False):
        account = ExampleAccount(self, name)
        if not await account.state():
            if not create:
                raise errors.AccountNotFound(name)
            with suppress(errors.StateMismatch):  # then another was quicker, and it is there
                await account.apply([mail.CreateMailbox(("INBOX",), "inbox")], if_state=0)
        return account

    async def close(self):
        await self.turn.run(deferToThread, self.db.close)


@implementer(mail.IAccount)
class ExampleAccount:
    def __init__(self, store, name):
        self.store, self.db, self.turn, self.name = store, store.db, store.turn, name

    @transaction
    def state(self):
        return self.last_modseq()

    @transaction
    def mailboxes(self):
        return self.values("uid = 0 AND gone IS NULL")

    @transaction
    def messages(self, mailbox_id, uids=None, after=0, limit=1000):
        self.box(mailbox_id)
        if uids is None:
            return self.values("box = ? AND uid > ? AND gone IS NULL ORDER BY uid LIMIT ?", mailbox_id, after, limit)
        return self.rows(mailbox_id, [uid for uid in uids if uid > after])[:limit]

    @transaction
    def changes(self, since, mailbox_id=None, limit=1000):
        if mailbox_id is not None:
            self.box(mailbox_id)
        later = "uid >= 0 AND box = ifnull(?, box) AND modseq > ?"
        page = self.values(f"{later} ORDER BY modseq LIMIT ?", mailbox_id, since, limit)
        until = page[-1].modseq if page else since  # the modseq that fills the page is told to its end
        more = bool(self.values(f"{later} LIMIT 1", mailbox_id, until))
        told = self.values(f"{later} AND modseq <= ? ORDER BY modseq, box, uid", mailbox_id, since, until)
        boxes, rows, gone = ([one for one in told if isinstance(one, kind)] for kind in KINDS)
        here, away = [box for box in boxes if box.name], [box.id for box in boxes if not box.name]
        until = until if more else self.last_modseq()
        return mail.Changes(since, until, more, tuple(here), tuple(away), tuple(rows), tuple(gone))

    @transaction
    def apply(self, ops, if_state=None, token=None):
        self.now, state = self.store.seconds(), self.last_modseq()
        for answer in self.values("box = ? AND uid = -1", token):
            return answer._replace(replayed=True)
        if if_state not in (None, state):
            raise errors.StateMismatch(f"it is {state}, not {if_state}")
        self.modseq = state + 1
        results = tuple([self.do(op, f"id{self.modseq}-{number}") for number, op in enumerate(ops)])
        applied = mail.Applied(self.last_modseq(), results)  # where nothing was put, that is the state as it was
        if token is not None:
            self.put(applied, token, -1)
        if self.now > self.store.swept + HOUR:
            self.store.swept = self.now
            self.db.execute(SWEEP, {"then": self.now - 24 * HOUR})
        return applied

    def new_blob(self, size_hint=None):
        return BlobWriter(self)

    @transaction
    def read_blob(self, blob_id, offset, size):
        where = "account = ? AND blob = ? AND start <= ? ORDER BY start DESC LIMIT 1"
        query = f"SELECT substr(octets, ? - start + 1, ?) FROM piece WHERE {where}"
        for (octets,) in self.db.execute(query, [offset, size, self.name, blob_id, offset]).fetchall():
            return octets or b""  # SQLite's substr() of no octets is NULL
        raise errors.BlobNotFound(blob_id)

    # --- within a transaction ----------------------------------------------------------------------------------------

    def do(self, op, new_id):
        if isinstance(op, mail.CreateMailbox):
            validity = max([int(self.now), *(box.uidvalidity + 1 for box in self.values("uid = 0"))])
            box = mail.Mailbox(new_id, tuple(op.name), op.role, validity, 1, self.modseq, 0, 0, 0, op.subscribed)
            return self.put_box(box)
        box = self.box(op.mailbox_id)
        match op:
            case mail.UpdateMailbox():
                asked = {"name": op.name, "role": op.role, "subscribed": op.subscribed}
                new = box._replace(**{field: value for field, value in asked.items() if value is not mail.UNSET})
                return box if new == box else self.put_box(new)
            case mail.DeleteMailbox():
                if box.role == "inbox":
                    raise errors.Forbidden("the inbox stays")
                forget = "UPDATE fact SET gone = ?, modseq = 0 WHERE account = ? AND box = ? AND uid > 0"
                self.db.execute(forget, [self.now, self.name, box.id])
                self.put(box._replace(name=(), role=None, modseq=self.modseq), box.id, gone=self.now)
                return None
            case mail.Add():
                query = "SELECT max(start + length(octets)) FROM piece WHERE account = ? AND blob = ?"
                ((size,),) = self.db.execute(query, [self.name, op.blob_id])
                if size is None:
                    raise errors.BlobNotFound(op.blob_id)
                ...
