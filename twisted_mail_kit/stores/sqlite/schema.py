"""The index: its tables, and how its database is opened."""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path

from twisted.logger import Logger

from twisted_mail_kit.errors import ConfigurationError, Unavailable
from twisted_mail_kit.stores import folders
from twisted_mail_kit.stores.sqlite import wal
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.header import Header, read_header
from twisted_mail_kit.stores.sqlite.keeping import keep_copy
from twisted_mail_kit.stores.sqlite.upgrade import upgrade

log = Logger()

APPLICATION_ID = 0x544D4B31
VERSION = 3
INDEX = "index.sqlite"
LOST = "lost+found"
OURS = {INDEX, f"{INDEX}-wal", f"{INDEX}-shm", f"{INDEX}-journal", "segments", "large", LOST}
OURS |= {f"{INDEX}.old", f"{INDEX}.new"}

# A message's row id is mailbox << 32 | uid: a mailbox's messages lie side by side, in the order of their UIDs, and
# one number finds each. Flags are an integer (system flags), or JSON where there are keywords; see rows.py.
# It has two rows: what changes, and what lists are made of, is an entry of some 30 octets; what never changes, with
# the summary of some 500, are its facts. So flags that are set in a whole mailbox write a twentieth of it, and what
# only needs entries reads no more. The view has both: its columns are read as if they were one table's, and where only
# an entry's are asked for, the facts are not looked at.
SCHEMA = (
    "CREATE TABLE store (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    """CREATE TABLE accounts (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, modseq INTEGER NOT NULL,
        emails INTEGER NOT NULL, removals INTEGER NOT NULL, forgotten INTEGER NOT NULL, serial INTEGER NOT NULL)""",
    "CREATE INDEX accounts_serial ON accounts (serial)",
    "CREATE INDEX accounts_removals ON accounts (removals) WHERE removals > 0",
    """CREATE TABLE mailboxes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, name TEXT NOT NULL, role TEXT,
        uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL, modseq INTEGER NOT NULL, total INTEGER NOT NULL,
        unseen INTEGER NOT NULL, size INTEGER NOT NULL, subscribed INTEGER NOT NULL, UNIQUE (account, name))""",
    "CREATE UNIQUE INDEX mailboxes_role ON mailboxes (account, role) WHERE role IS NOT NULL",
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, account INTEGER NOT NULL, modseq INTEGER NOT NULL, flags NOT NULL,
        size INTEGER NOT NULL, internal_date INTEGER NOT NULL)""",
    "CREATE INDEX entries_modseq ON entries (account, modseq)",
    """CREATE TABLE facts (
        id INTEGER PRIMARY KEY, email_id TEXT NOT NULL, thread_id TEXT NOT NULL, blob_id TEXT NOT NULL,
        saved_date INTEGER NOT NULL, created INTEGER NOT NULL, summary BLOB NOT NULL)""",
    """CREATE VIEW messages AS SELECT entries.id, account, email_id, thread_id, blob_id, size, internal_date,
        saved_date, flags, modseq, created, summary FROM entries LEFT JOIN facts ON facts.id = entries.id""",
    "CREATE TRIGGER entries_gone AFTER DELETE ON entries BEGIN DELETE FROM facts WHERE id = OLD.id; END",
    # uid 0: the mailbox itself
    """CREATE TABLE removals (
        account INTEGER NOT NULL, modseq INTEGER NOT NULL, message INTEGER NOT NULL, email_id TEXT NOT NULL,
        time INTEGER NOT NULL, PRIMARY KEY (account, modseq, message)) WITHOUT ROWID""",
    # Mailboxes that are gone, and whose messages housekeeping takes away; by its negated number, an account whose
    # removals it takes away.
    "CREATE TABLE graves (mailbox INTEGER PRIMARY KEY, account INTEGER NOT NULL)",
    # Who may read which octets, and where they are. `gone`: when the last reference went.
    """CREATE TABLE blobs (
        blob INTEGER NOT NULL, account INTEGER NOT NULL, segment INTEGER NOT NULL, "offset" INTEGER NOT NULL,
        size INTEGER NOT NULL, refs INTEGER NOT NULL, gone INTEGER, PRIMARY KEY (blob, account)) WITHOUT ROWID""",
    "CREATE INDEX blobs_gone ON blobs (gone) WHERE gone IS NOT NULL",
    # Blob numbers in a segment are low to high; closed: when the last record came, 0 while it may grow.
    """CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT, "end" INTEGER NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL,
        closed INTEGER NOT NULL)""",
    # A token's key is how it begins, and a hash of account and token. Those of deliveries begin with the time, so new
    # ones lie together, on few pages. `period` is the first of some days (rows.py says how many): it comes first, so
    # that a period is forgotten at once, and is long, so that there are few to look in.
    """CREATE TABLE tokens (
        period INTEGER NOT NULL, key BLOB NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (period, key)) WITHOUT ROWID""",
)


def prepare(root: Path, files: Files) -> Path:
    """Make the directory and an empty index, or see that it is ours; answers the index's path.

    Raises ConfigurationError where it belongs to another program, Unavailable where it cannot be used.
    """
    index = root / INDEX
    try:
        make_folder(root)
        see_that_we_may_write(root)
        # A hidden file is nobody's data: a mount point's `.snapshot`, a `.gitkeep`.
        strangers = {name for name in os.listdir(root) if not name.startswith(".")} - OURS  # noqa: PTH208
        is_missing = not index.is_symlink() and not index.exists()
        is_empty = index.is_file() and not index.stat().st_size
        if strangers and (is_missing or is_empty):
            raise ConfigurationError([f"{root}: not a mail store, {min(strangers)} is in it"])
        if is_missing or is_empty:
            _see_that_no_mail_is_here(root, index)
            keep_a_log_without_database(index, root / LOST)
        if is_missing:
            root.chmod(0o700)
            try:
                files.close(files.create(index))
            except FileExistsError:
                pass  # another process was quicker
            files.sync_directory(root)
        see_that_it_is_a_file(index)
        see_that_we_may_write(index)
    except OSError as error:
        raise Unavailable(f"{error.filename or root}: {error.strerror}") from error
    return index


def make_folder(root: Path) -> None:
    """Where there is none yet. Raises ConfigurationError, OSError."""
    if root.is_symlink() and not root.exists():
        raise ConfigurationError([f"{root}: a link to {root.readlink()}, which is not there: is a disk not mounted?"])
    if root.exists() and not root.is_dir():
        raise ConfigurationError([f"{root}: there is something here that is no folder: take it away"])
    folders.make_folder(root)


def _see_that_no_mail_is_here(root: Path, index: Path) -> None:
    """An index that is lost must not be taken for one that is yet to be made: its mail would be given up."""
    for pattern in ("segments/*.log", "large/*/*.blob"):
        for path in root.glob(pattern):
            raise ConfigurationError(
                [
                    f"{index}: is missing or empty, but there is mail ({path.relative_to(root)}): put a backup"
                    " back with mailkit restore, or save the messages with mailkit fsck --salvage FOLDER"
                ]
            )


def keep_a_log_without_database(database: Path, lost: Path) -> None:
    """SQLite removes a log whose database is empty. After the first commit that is no half-made database. Raises
    OSError."""
    its_log = wal.read_log(wal.log_path(database))
    if its_log is not None and sum(frame.is_commit for frame in its_log.frames) > 1:
        log.critical(
            "{database}: is missing or empty, but its log is not: it is begun anew; the log as it was: {copy}",
            database=str(database),
            copy=str(keep_copy(database, lost)),
        )


def has_octets(path: Path) -> bool:
    """There is such a file, and something in it. Raises OSError."""
    return path.is_file() and path.stat().st_size > 0


def trouble(index: Path, error: sqlite3.Error) -> Unavailable:
    """What SQLite says, with the file's name; and what to do, where the file is damaged."""
    code, advice = getattr(error, "sqlite_errorcode", 0) & 0xFF, ""
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        advice = ": run mailkit fsck"
    elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        advice = ": see whose it is; from a read-only disk, copy the folder to another one first"
    return Unavailable(f"{index}: {error}{advice}")


def see_that_it_is_a_file(path: Path) -> None:
    """Not a directory, a pipe, or a link to nowhere. Raises ConfigurationError, OSError."""
    if path.is_symlink() and not path.exists():
        raise ConfigurationError([f"{path}: a link to {path.readlink()}, which is not there: is a disk not mounted?"])
    if not path.is_file():
        raise ConfigurationError([f"{path}: there is something here that is no file: take it away"])


def see_that_we_may_write(path: Path) -> None:
    """A store that can only be read is no store: flags, removals and the index's own log have to go somewhere."""
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise Unavailable(f"{path}: this server may not write here: give it the right, or a disk that is writable")


def look_before_opening(database: Path, application: int, version: int) -> str:
    """What SQLite must not open at all, as it would change it: another program's, or one of a newer format.

    Answers what is damaged in its log (see wal.py), or nothing. Raises ConfigurationError, Unavailable.
    """
    try:
        its_log = wal.read_log(wal.log_path(database))
        header = read_header(database, its_log)
        if header is not None:
            see_whose_it_is(database, header, application, version)
        elif has_octets(database):
            raise ConfigurationError(
                [
                    f"{database}: is not a database: another program's file, or damaged: run mailkit fsck --repair, or"
                    " put a backup back with mailkit restore"
                ]
            )
        return wal.damage(database, its_log) if its_log is not None else ""
    except OSError as error:
        raise Unavailable(f"{error.filename or database}: {error.strerror}") from error


def see_that_it_is_ours(connection: sqlite3.Connection, index: Path) -> int:
    """Answers how many tables there are. Raises ConfigurationError: another program's, or a newer format."""
    return count_tables(connection, index, APPLICATION_ID, VERSION)


def count_tables(connection: sqlite3.Connection, database: Path, application: int, version: int) -> int:
    """As `see_that_it_is_ours`, of any database of ours."""
    (its_application,) = connection.execute("PRAGMA application_id").fetchone()
    (its_version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    see_whose_it_is(database, Header(its_application, its_version, not tables), application, version)
    return tables


def see_whose_it_is(database: Path, header: Header, application: int, version: int) -> None:
    """Raises ConfigurationError: another program's, or a newer format."""
    if header.application != application and (header.application or not header.is_empty):
        raise ConfigurationError([f"{database}: a database of another program: see which folder is meant"])
    if header.version > version:
        raise ConfigurationError(
            [f"{database}: format {header.version} is newer than this program's {version}: run the newer program"]
        )


def see_that_it_is_todays(connection: sqlite3.Connection, index: Path) -> None:
    """For those who only read, or repair. Raises ConfigurationError, and Unavailable for an older format."""
    if see_that_it_is_ours(connection, index):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version < VERSION:
            raise Unavailable(f"{index}: format {version}: start the server once, it brings it to format {VERSION}")


def open_writer(index: Path, lock_timeout: float, cache_size: int) -> sqlite3.Connection:
    """The connection that writes; makes the tables where there are none yet, and brings older ones to this format.

    Raises ConfigurationError for another program's database, or one of a newer format, and Unavailable.
    """
    damage = look_before_opening(index, APPLICATION_ID, VERSION)
    if damage:
        raise ConfigurationError([f"{damage}: run mailkit fsck --repair, or put a backup back with mailkit restore"])
    try:
        connection = sqlite3.connect(
            index, timeout=lock_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.Error as error:
        raise Unavailable(f"{index}: {error}") from error
    try:
        tables = see_that_it_is_ours(connection, index)
        if not tables:
            _see_that_no_mail_is_here(index.parent, index)
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute(f"PRAGMA cache_size = -{cache_size // 1024}")
        if tables:
            upgrade(connection, index, VERSION)
        else:
            _make_tables(connection)
        begin_a_new_log(connection, lock_timeout)
    except (ConfigurationError, Unavailable):
        connection.close()
        raise
    except sqlite3.OperationalError as error:
        connection.close()
        raise Unavailable(f"{index}: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ConfigurationError(
            [f"{index}: {error}: run mailkit fsck --repair, or put a backup back with mailkit restore"]
        ) from error
    return connection


def begin_a_new_log(connection: sqlite3.Connection, lock_timeout: float) -> None:
    """What a crash has left at the end of the log is not to be taken for damage after the next. Raises sqlite3.Error.

    Where another process has the database open, its log stays.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout = {int(lock_timeout * 1000)}")


def empty_log(index: Path) -> None:
    """Bring the log's commits into the database, and take the log away, where nobody else has it open."""
    try:
        connection = sqlite3.connect(index, timeout=0, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()
    except sqlite3.Error:
        pass  # the log stays, and is read at the next start


def reading(database: Path) -> str:
    """The address of a database that is only read. On a read-only disk nobody writes to it, so no lock is asked for.

    Where commits are still in its log there, SQLite cannot read it: it would have to make a file.
    """
    address = f"{database.absolute().as_uri()}?mode=ro"
    try:
        is_fixed = os.statvfs(database).f_flag & os.ST_RDONLY and not has_octets(wal.log_path(database))
    except OSError:
        is_fixed = False
    return f"{address}&immutable=1" if is_fixed else address


def open_reader(index: Path, lock_timeout: float) -> sqlite3.Connection:
    """A connection that only reads."""
    connection = sqlite3.connect(
        reading(index),
        uri=True,
        timeout=lock_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA mmap_size = 268435456")
    connection.execute("PRAGMA cache_size = -4096")
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in SCHEMA:
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO store VALUES (?, ?)",
                [("uidvalidity", 0), ("serial", 0), ("run", 0), ("secret", secrets.token_bytes(16))],
            )
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
