"""Repairs a store that nobody has open: counts are made anew, damaged messages are put aside, nothing is invented."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.mail.facts import Findings, Message
from twisted_mail_kit.stores.sqlite import rows, schema
from twisted_mail_kit.stores.sqlite.files import PIECE, Files, OpenFile, read_all
from twisted_mail_kit.stores.sqlite.fsck import Checker, Found, is_held
from twisted_mail_kit.stores.sqlite.keeping import keep_copy
from twisted_mail_kit.stores.sqlite.lost import find_octets, save_unknown
from twisted_mail_kit.stores.sqlite.rebuild import know_segments, rebuild
from twisted_mail_kit.stores.sqlite.renumber import renumber
from twisted_mail_kit.stores.sqlite.segments import LARGE, large_path, segment_path

LOST = schema.LOST
"""The folder of the store in which a repair puts what it takes out of it."""


def repair(root: Path, files: Files | None = None) -> Findings:
    """Repair the directory; `problems` is what was found, and what was done about it, one line each.

    Raises Unavailable where a server has the store open, or where it cannot be repaired; then nothing was changed.
    """
    files = files or Files()
    with _alone(root, files):
        before = Checker(root, files).run()
        if not before.problems:
            return before.findings()
        copy = _keep_copy(root)
        told = [*before.problems, f"the index as it was: {copy}"]
        broken: Found | None = None
        if before.index_is_broken:
            broken = before
            told += rebuild(root, copy, broken.log_is_damaged)
            before = Checker(root, files).run()
            if before.index_is_broken:
                for name in (schema.INDEX, f"{schema.INDEX}-wal"):
                    if (copy / name).exists():
                        shutil.copy2(copy / name, root / name)
                raise Unavailable(f"{root / schema.INDEX}: cannot be repaired: put a backup back with mailkit restore")
        counts = dict(before.counts)
        with closing(sqlite3.connect(root / schema.INDEX, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                found = find_octets(root, connection, set(before.damaged))
                if found:
                    told.append(f"of {len(found)} messages, the octets were found in other places")
                before.damaged = {blob: why for blob, why in before.damaged.items() if blob not in found}
                told += _put_aside(root, files, connection, before)
                if broken is not None:
                    told += save_unknown(root, files, connection)
                _count_anew(connection)
                if broken is not None and broken.log_is_damaged:
                    # What was on the pages that are lost has been told to mail programs.
                    renumber(connection, int(time.time()))
                    told.append(
                        "every mailbox has a new UIDVALIDITY: mail programs will synchronise from the beginning"
                    )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        after = Checker(root, files).run()
        told += [f"still: {line}" for line in after.problems]
        counts["problems left"] = len(after.problems)
        return Findings(counts, tuple(told))


@contextmanager
def _alone(root: Path, files: Files) -> Iterator[None]:
    held = is_held(root, files)
    if held is not None:
        raise Unavailable(f"{held}: a running server has the store open: stop it, then repair")
    yield


def _keep_copy(root: Path) -> Path:
    """The index with its log, as they are; durable."""
    try:
        return keep_copy(root / schema.INDEX, root / LOST)
    except OSError as error:
        raise Unavailable(f"{root / LOST}: the index cannot be copied, nothing was changed: {error}") from error


# --- messages that are damaged ---------------------------------------------------------------------------------------


def _put_aside(root: Path, files: Files, connection: sqlite3.Connection, found: Found) -> list[str]:
    """Messages whose octets are damaged leave their mailboxes, with a tombstone; what can be read of them is kept."""
    told: list[str] = []
    if not found.damaged:
        return told
    secret = connection.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()[0]
    names = dict(connection.execute("SELECT id, name FROM accounts"))
    boxes = {id: "/".join(rows.unpack_name(name)) for id, name in connection.execute("SELECT id, name FROM mailboxes")}
    gone: dict[int, list[Message]] = {}
    for account, *row in connection.execute(f"SELECT account, {rows.MESSAGE} FROM messages ORDER BY id"):
        message = rows.message(tuple(row))
        if rows.blob_number(message.blob_id, secret) in found.damaged:
            gone.setdefault(account, []).append(message)
    for account, messages in gone.items():
        row = connection.execute("SELECT modseq FROM accounts WHERE id = ?", (account,)).fetchone()
        modseq = row[0] + 1 if row else 1
        for message in messages:
            box = rows.mailbox_number(message.mailbox_id) or 0
            number = rows.blob_number(message.blob_id, secret) or 0
            saved = _save(root, files, connection, number, f"{account}-{box}-{message.uid}.eml")
            date = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(message.internal_date))
            told.append(
                f"removed: account {names.get(account, account)}, mailbox {boxes.get(box, box)}, UID {message.uid},"
                f" of {date}, {message.size} octets; "
                + (f"what is left of it: {saved}" if saved else "nothing is left")
            )
            id = box << 32 | message.uid
            connection.execute("DELETE FROM entries WHERE id = ?", (id,))
            if row and box in boxes:
                connection.execute(
                    "INSERT OR REPLACE INTO removals VALUES (?, ?, ?, ?, ?)",
                    (account, modseq, id, message.email_id, int(time.time())),
                )
                connection.execute("UPDATE mailboxes SET modseq = ? WHERE id = ?", (modseq, box))
        connection.execute("UPDATE accounts SET modseq = ? WHERE id = ?", (modseq, account))
    connection.executemany("DELETE FROM blobs WHERE blob = ?", [(number,) for number in found.damaged])
    connection.execute("UPDATE accounts SET serial = (SELECT value FROM store WHERE key = 'serial') + 1")
    connection.execute("UPDATE store SET value = value + 1 WHERE key = 'serial'")
    if (root / LOST).is_dir():
        files.sync_directory(root / LOST)
    return told


def _save(root: Path, files: Files, connection: sqlite3.Connection, number: int, name: str) -> Path | None:
    """The octets that lie where the blob should be, as far as they can be read."""
    row = connection.execute('SELECT segment, "offset", size FROM blobs WHERE blob = ?', (number,)).fetchone()
    if row is None:
        return None
    segment, offset, size = row
    source = segment_path(root, segment) if segment != LARGE else large_path(root, number)
    try:
        file = OpenFile(files, files.open(source))
        path = root / LOST / name
        done = 0
        with path.open("wb") as target:
            path.chmod(0o600)
            while done < size and (octets := read_all(files, file.fd, min(PIECE, size - done), offset + done)):
                target.write(octets)
                done += len(octets)
            target.flush()
            os.fsync(target.fileno())
    except FileNotFoundError:
        return None
    except OSError as error:
        if not (root / LOST / name).exists():
            raise Unavailable(f"{root / LOST / name}: {error}") from error
        return root / LOST / name
    if not done and size:
        path.unlink()
        return None
    return path


# --- counts ----------------------------------------------------------------------------------------------------------


def _count_anew(connection: sqlite3.Connection) -> None:
    """What can be told from the rows. Counters that must never be set back only grow."""
    secret = connection.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()[0]
    used: dict[tuple[int, int], int] = {}
    boxes: dict[int, list[int]] = {}
    emails: dict[int, int] = {}
    for account, *row in connection.execute(f"SELECT account, {rows.MESSAGE} FROM messages ORDER BY id"):
        message = rows.message(tuple(row))
        key = rows.blob_number(message.blob_id, secret) or 0, account
        used[key] = used.get(key, 0) + 1
        box = boxes.setdefault(row[0] >> 32, [0, 0, 0, 0, 0])
        box[0] += 1
        box[1] += r"\Seen" not in message.flags
        box[2] += message.size
        box[3] = message.uid
        box[4] = max(box[4], message.modseq)
        maker, _, email = message.email_id.partition("-")
        if maker == f"{account:x}":
            emails[account] = max(emails.get(account, 0), int(email, 16))
    execute, now = connection.execute, int(time.time())
    know_segments(connection)
    # A message without a mailbox, or of a mailbox that another account has, stays: the check tells of it.
    for (number,) in execute("SELECT id FROM mailboxes").fetchall():
        total, unseen, size, uid, modseq = boxes.get(number, [0, 0, 0, 0, 0])
        execute(
            "UPDATE mailboxes SET total = ?, unseen = ?, size = ?, uidnext = max(uidnext, ?),"
            " modseq = max(modseq, ?) WHERE id = ?",
            (total, unseen, size, uid + 1, modseq, number),
        )
    execute(
        "UPDATE mailboxes SET uidnext = max(uidnext, 1 + coalesce((SELECT max(message & 0xFFFFFFFF) FROM removals"
        " WHERE removals.account = mailboxes.account AND message >> 32 = mailboxes.id), 0))"
    )
    execute("DELETE FROM removals WHERE message IN (SELECT id FROM messages)")
    for blob, account in execute("SELECT blob, account FROM blobs").fetchall():
        times = used.get((blob, account), 0)
        execute(
            "UPDATE blobs SET refs = ?, gone = CASE WHEN ? THEN NULL ELSE coalesce(gone, ?) END"
            " WHERE blob = ? AND account = ? AND (refs != ? OR (gone IS NULL) != ?)",
            (times, times, now, blob, account, times, bool(times)),
        )
    for account, last in emails.items():
        execute("UPDATE accounts SET emails = max(emails, ?) WHERE id = ?", (last + 1, account))
    execute(
        "UPDATE accounts SET removals = (SELECT count(*) FROM removals WHERE account = accounts.id), modseq ="
        " max(modseq, coalesce((SELECT max(modseq) FROM mailboxes WHERE account = accounts.id), 0),"
        " coalesce((SELECT max(modseq) FROM removals WHERE account = accounts.id), 0))"
    )
    execute(
        "UPDATE segments SET low = min(low, coalesce((SELECT min(blob) FROM blobs WHERE segment = segments.id), low)),"
        " high = max(high, coalesce((SELECT max(blob) FROM blobs WHERE segment = segments.id), high))"
    )
    for counter, sql in (
        ("uidvalidity", "SELECT coalesce(max(uidvalidity), 0) FROM mailboxes"),
        ("run", "SELECT coalesce(max(blob), 0) >> 32 FROM blobs"),
        ("serial", "SELECT coalesce(max(serial), 0) FROM accounts"),
    ):
        execute(f"UPDATE store SET value = max(coalesce(value, 0), ({sql})) WHERE key = ?", (counter,))
