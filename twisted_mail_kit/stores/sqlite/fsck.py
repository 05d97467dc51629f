"""Checks a store's directory: every live record's checksum, and the index against itself; changes nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.stores.sqlite import rows, schema, wal
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile
from twisted_mail_kit.stores.sqlite.fsck_counts import WRONG
from twisted_mail_kit.stores.sqlite.housekeeping import ORPHANED
from twisted_mail_kit.stores.sqlite.records import check_record_in, record_path
from twisted_mail_kit.stores.sqlite.segments import HEADER_SIZE, Damaged, Location, segment_path

PAGE = 2000
"""Rows that are held at once."""
TOLD = 1000
"""Problems that are told one by one."""
ADVICE = "run mailkit fsck --repair with the server down, or mailkit restore"


@define
class Found:
    """What a check has found so far."""

    counts: dict[str, int] = field(factory=dict)
    problems: list[str] = field(factory=list)
    damaged: dict[int, str] = field(factory=dict)
    """Blob number -> what is wrong with its octets."""
    index_is_broken: bool = False
    log_is_damaged: bool = False
    """The index's log: commits that were promised are behind the damage."""

    def count(self, what: str, many: int = 1) -> None:
        """That many more of these."""
        self.counts[what] = self.counts.get(what, 0) + many

    def tell(self, problem: str) -> None:
        """One line that an operator can do something about; after the first thousand they are only counted."""
        self.count("problems")
        if len(self.problems) < TOLD:
            self.problems.append(problem)

    def findings(self) -> Findings:
        """As IMaintenance answers."""
        return Findings(dict(self.counts), tuple(self.problems))


class Checker:
    """One check of one directory, in one thread, on one snapshot of the index."""

    def __init__(self, root: Path, files: Files | None = None, is_wanted: Callable[[], bool] = lambda: True) -> None:
        self.found = Found()
        self._root = root
        self._index = root / schema.INDEX
        self._files = files or Files()
        self._is_wanted = is_wanted
        self._read = 0

    def run(self) -> Found:
        """Read everything. Raises Unavailable where the index cannot even be opened, or nobody waits any more."""
        try:
            damage = wal.damage(self._index)
            if damage:
                self.found.log_is_damaged = self.found.index_is_broken = True
                self.found.tell(f"{damage}: {ADVICE}; nothing else was looked at")
                return self.found
            connection = schema.open_reader(self._index, 5.0)
        except OSError as error:
            raise Unavailable(f"{wal.log_path(self._index)}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise Unavailable(f"{self._index}: {error}") from error
        with closing(connection):
            try:
                schema.see_that_it_is_todays(connection, self._index)
            except sqlite3.OperationalError as error:
                raise schema.trouble(self._index, error) from error
            except sqlite3.DatabaseError as error:
                self._broken(str(error))
                return self.found
            self.check(connection)
        return self.found

    def check(self, connection: sqlite3.Connection) -> None:
        """All of it, on a connection that is not in a transaction."""
        try:
            connection.execute("PRAGMA query_only = 0")  # for our own temporary tables
            connection.execute("PRAGMA mmap_size = 0")  # a file that is cut short must not end the process
            connection.execute("BEGIN")
            self._check_pages(connection)
            self._secret = connection.execute("SELECT value FROM store WHERE key = 'secret'").fetchone()[0]
            self._check_messages(connection)
            self._check_references(connection)
            self._check_accounts(connection)
            self._check_records(connection)
            self._check_numbers(connection)
            self._check_files(connection)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Unavailable(f"{self._index}: {error}") from error
            self._broken(str(error))
        except (TypeError, ValueError, OverflowError) as error:
            self._broken(f"a row that cannot be: {error}")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _broken(self, why: str) -> None:
        self.found.index_is_broken = True
        self.found.tell(f"{self._index}: the index is damaged: {why}: {ADVICE}")

    # --- the index ---------------------------------------------------------------------------------------------------

    def _check_pages(self, connection: sqlite3.Connection) -> None:
        for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall():
            if line != "ok":
                self._broken(" ".join(str(line).split()))

    def _pages(self, connection: sqlite3.Connection, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        cursor = connection.execute(sql)
        while page := cursor.fetchmany(PAGE):
            self._rest()
            yield page

    def _rest(self) -> None:
        time.sleep(0)  # sessions are served between two pages
        if not self._is_wanted():
            raise Unavailable("the check was given up: the store is closed")

    def _check_messages(self, connection: sqlite3.Connection) -> None:
        """Unpack each row; gather what each mailbox and each blob should know of them, in temporary tables."""
        connection.execute(
            "CREATE TEMP TABLE told (mailbox INTEGER PRIMARY KEY, account, total, unseen, size, uid, modseq, email)"
        )
        connection.execute(
            # Of the same type as in `blobs`: SQLite looks nothing up in a key of another one, and reads all of it.
            "CREATE TEMP TABLE used (blob INTEGER, account INTEGER, times, low, high, PRIMARY KEY (blob, account))"
            " WITHOUT ROWID"
        )
        now: list[Any] = []
        for page in self._pages(connection, f"SELECT account, {rows.MESSAGE} FROM messages ORDER BY id"):
            used = []
            for account, *row in page:
                mailbox, uid = row[0] >> 32, row[0] & 0xFFFFFFFF
                try:
                    message = rows.message(tuple(row))
                    number = rows.blob_number(message.blob_id, self._secret)
                    if number is None or not isinstance(message.size, int) or not isinstance(message.modseq, int):
                        raise ValueError(f"its blob is called {message.blob_id!r}")
                except Exception as error:  # whatever a row with flipped bits makes of it
                    self._broken(f"mailbox {mailbox}, UID {uid}: its row cannot be read: {error}")
                    continue
                self.found.count("messages")
                if not now or now[0] != mailbox:
                    self._tell_mailbox(connection, now)
                    now = [mailbox, account, 0, 0, 0, 0, 0, -1]
                if account != now[1]:
                    self.found.tell(f"{self._index}: mailbox {mailbox}, UID {uid}: belongs to account {account}")
                now[2] += 1
                now[3] += r"\Seen" not in message.flags
                now[4] += message.size
                now[5] = uid
                now[6] = max(now[6], message.modseq)
                maker, _, email = message.email_id.partition("-")
                if maker == f"{account:x}":
                    now[7] = max(now[7], int(email, 16))
                used.append((number, account, 1, message.size, message.size))
            connection.executemany(
                "INSERT INTO used VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET times = times + 1,"
                " low = min(low, excluded.low), high = max(high, excluded.high)",
                used,
            )
        self._tell_mailbox(connection, now)

    def _tell_mailbox(self, connection: sqlite3.Connection, now: list[Any]) -> None:
        if now:
            connection.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?, ?, ?, ?)", now)

    def _check_references(self, connection: sqlite3.Connection) -> None:
        for page in self._pages(
            connection,
            "SELECT used.blob, used.account, times, low, high, refs, size, gone FROM used LEFT JOIN blobs"
            " ON blobs.blob = used.blob AND blobs.account = used.account"
            " WHERE refs IS NULL OR refs != times OR low != size OR high != size OR gone IS NOT NULL",
        ):
            for blob, account, times, low, _, refs, size, gone in page:
                if refs is None:
                    self.found.damaged[blob] = "the index does not know where it is"
                    self._tell_blob(connection, blob, self.found.damaged[blob], account)
                elif refs != times or gone is not None:
                    self.found.tell(f"{self._index}: blob {blob:x}: {refs} references are counted, {times} there are")
                else:
                    self.found.tell(f"{self._index}: blob {blob:x}: {size} octets, its message says {low}")
        for page in self._pages(
            connection,
            "SELECT blobs.blob, refs FROM blobs LEFT JOIN used USING (blob, account)"
            " WHERE used.blob IS NULL AND (refs != 0 OR gone IS NULL)",
        ):
            for blob, refs in page:
                self.found.tell(f"{self._index}: blob {blob:x}: {refs} references are counted, 0 there are")

    def _check_accounts(self, connection: sqlite3.Connection) -> None:
        (self.found.counts["accounts"],) = connection.execute("SELECT count(*) FROM accounts").fetchone()
        (self.found.counts["mailboxes"],) = connection.execute("SELECT count(*) FROM mailboxes").fetchone()
        for what, sql in WRONG:
            for page in self._pages(connection, sql):
                for row in page:
                    self.found.tell(f"{self._index}: {what.format(*row)}")
        for page in self._pages(connection, f"SELECT {rows.MAILBOX} FROM mailboxes"):
            for row in page:
                rows.mailbox(row)  # raises where a name cannot be

    def _check_numbers(self, connection: sqlite3.Connection) -> None:
        """What is never used twice must not have been set back."""
        kept = dict(connection.execute("SELECT key, value FROM store"))
        for key, sql in (
            ("uidvalidity", "SELECT coalesce(max(uidvalidity), 0) FROM mailboxes"),
            ("run", "SELECT coalesce(max(blob), 0) >> 32 FROM blobs"),
            ("serial", "SELECT coalesce(max(serial), 0) FROM accounts"),
        ):
            (least,) = connection.execute(sql).fetchone()
            if not isinstance(kept.get(key), int) or kept[key] < least:
                self.found.tell(f"{self._index}: the counter {key} is {kept.get(key)}, but {least} was given out")

    # --- the octets --------------------------------------------------------------------------------------------------

    def _check_records(self, connection: sqlite3.Connection) -> None:
        before: tuple[int, ...] = ()
        opened: tuple[Path, OpenFile | None] = (Path(), None)
        for page in self._pages(connection, 'SELECT segment, "offset", blob, size FROM blobs ORDER BY 1, 2, 3'):
            for row in page:
                if row == before:
                    continue  # shared by several accounts
                before, (segment, offset, blob, size) = row, row
                path = record_path(self._root, Location(blob, segment, offset, size))
                try:
                    if opened[0] != path or opened[1] is None:
                        opened = path, None
                        opened = path, OpenFile(self._files, self._files.open(path))
                    assert opened[1] is not None
                    check_record_in(self._files, opened[1], Location(blob, segment, offset, size), self._rest)
                except FileNotFoundError:
                    self._damaged(connection, row, f"{path}: the file is missing")
                except (OSError, Damaged) as error:
                    self._damaged(connection, row, f"{path}: {error}")
                else:
                    self.found.count("records")
                    self.found.count("octets", size)

    def _damaged(self, connection: sqlite3.Connection, row: tuple[Any, ...], why: str) -> None:
        # What has been moved or given back since our snapshot is no damage.
        segment, offset, blob, _ = row
        try:
            with closing(schema.open_reader(self._index, 5.0)) as fresh:
                there = fresh.execute(
                    'SELECT 1 FROM blobs WHERE blob = ? AND segment = ? AND "offset" = ?', (blob, segment, offset)
                ).fetchone()
        except sqlite3.Error:
            there = (1,)
        if there is not None:
            self.found.damaged[blob] = why
            self._tell_blob(connection, blob, why)

    def _tell_blob(self, connection: sqlite3.Connection, blob: int, why: str, account: int | None = None) -> None:
        accounts = (
            [account]
            if account is not None
            else [number for (number,) in connection.execute("SELECT account FROM blobs WHERE blob = ?", (blob,))]
        )
        names = [
            str(name)
            for number in accounts[:5]
            for (name,) in connection.execute("SELECT name FROM accounts WHERE id = ?", (number,))
        ]
        whose = f" (of {', '.join(names)})" if names else ""
        self.found.tell(f"blob {blob:x}{whose}: {why}: {ADVICE}")

    # --- files that nobody knows -------------------------------------------------------------------------------------

    def _check_files(self, connection: sqlite3.Connection) -> None:
        """Dead octets and orphans are no damage: they are counted."""
        on_disk = 0
        for path in self._root.glob("segments/*.log"):
            on_disk += path.stat().st_size if path.exists() else 0
        (live,) = connection.execute(
            f"SELECT coalesce(sum(size + {HEADER_SIZE}), 0) FROM"
            " (SELECT DISTINCT blob, size FROM blobs WHERE segment != 0)"
        ).fetchone()
        self.found.counts["dead octets"] = max(0, on_disk - live)
        for path in self._root.glob("large/*/*.blob"):
            try:
                number, old = int(path.stem, 16), path.stat().st_mtime < time.time() - ORPHANED
            except (ValueError, OSError):
                continue
            if old and not connection.execute("SELECT 1 FROM blobs WHERE blob = ? LIMIT 1", (number,)).fetchone():
                self.found.count("orphaned large files")


def tell_missing(root: Path, connection: sqlite3.Connection, log: Logger) -> None:
    """Say at the start, in one line, which segments are shorter than the index knows them. Reads no octets."""
    short = []
    for segment, end in connection.execute('SELECT id, "end" FROM segments WHERE closed > 0 AND "end" > 0'):
        path = segment_path(root, segment)
        try:
            size = path.stat().st_size
        except OSError:
            size = 0
        if size < end:
            short.append(f"{path}: {end - size} octets of {end}")
    if short:
        log.critical(
            "mail store: octets of messages are missing in {count} files ({first}): run mailkit fsck",
            count=len(short),
            first=short[0],
        )


def is_held(root: Path, files: Files | None = None) -> Path | None:
    """A segment that some running process writes to; None: nobody has the store open for writing."""
    files = files or Files()
    for path in sorted(root.glob("segments/*.log"), reverse=True):
        try:
            file = OpenFile(files, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError:
            continue
        if not files.lock(file.fd):
            return path
    return None


def check(root: Path, files: Files | None = None, is_wanted: Callable[[], bool] = lambda: True) -> Findings:
    """As IMaintenance.check; waits for the disk. Raises Unavailable."""
    return Checker(root, files, is_wanted).run().findings()
