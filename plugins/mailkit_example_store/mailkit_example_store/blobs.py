"""Messages' octets, in the same SQLite file, in pieces: so none is ever in memory as a whole."""

from tempfile import TemporaryFile
from uuid import uuid4

from twisted.internet.threads import deferToThread
from zope.interface import implementer

from mailkit_example_store.transactions import transaction
from twisted_mail_kit import errors
from twisted_mail_kit import interfaces as mail

SCHEMA = """
CREATE TABLE IF NOT EXISTS blob (id TEXT PRIMARY KEY, account TEXT, size INTEGER, idle REAL); -- unused since
CREATE TABLE IF NOT EXISTS piece (id TEXT REFERENCES blob ON DELETE CASCADE, start INTEGER, octets BLOB,
                                  PRIMARY KEY (id, start));
"""
PIECE = 256 * 1024
UNUSED = "NOT EXISTS (SELECT 1 FROM fact WHERE fact.blob = blob.id)"


@implementer(mail.IBlobWriter)
class BlobWriter:
    """Collects in a temporary file, which goes when the writer goes; commit copies it into the database."""

    def __init__(self, account):
        self.db, self.turn, self.name = account.db, account.turn, account.name
        self.file = TemporaryFile()  # noqa: SIM115 - it lives as long as the writer

    async def write(self, octets):
        await deferToThread(self.file.write, octets)

    @transaction
    def commit(self):
        blob_id, size = uuid4().hex, self.file.tell()
        self.db.execute("INSERT INTO blob VALUES (?, ?, ?, NULL)", [blob_id, self.name, size])
        self.file.seek(0)
        for start in range(0, size, PIECE):
            self.db.execute("INSERT INTO piece VALUES (?, ?, ?)", [blob_id, start, self.file.read(PIECE)])
        return blob_id

    async def abort(self):
        self.file.close()


def size_of(db, account, blob_id):
    for (size,) in db.execute("SELECT size FROM blob WHERE id = ? AND account = ?", [blob_id, account]).fetchall():
        return size
    raise errors.BlobNotFound(blob_id)


def use_blob(db, account, blob_id):
    """A message gets it. Answers its size."""
    db.execute("UPDATE blob SET idle = NULL WHERE id = ? AND account = ?", [blob_id, account])
    return size_of(db, account, blob_id)


def read_octets(db, account, blob_id, offset, size):
    """From the piece that `offset` lies in: at most `size` octets."""
    if offset >= size_of(db, account, blob_id):
        return b""
    query = "SELECT substr(octets, ?, ?) FROM piece WHERE id = ? AND start = ?"
    start = offset - offset % PIECE
    return db.execute(query, [offset - start + 1, size, blob_id, start]).fetchone()[0]


def forget_unused_blobs(db, now):
    """Those that no message has had for an hour."""
    db.execute(f"DELETE FROM blob WHERE idle < ? AND {UNUSED}", [now - 3600])
    db.execute(f"UPDATE blob SET idle = ? WHERE idle IS NULL AND {UNUSED}", [now])
