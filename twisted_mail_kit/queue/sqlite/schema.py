"""The spool's database: its tables, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from twisted.logger import Logger

from twisted_mail_kit.errors import ConfigurationError, Unavailable
from twisted_mail_kit.stores.sqlite import schema as store_schema
from twisted_mail_kit.stores.sqlite.files import Files
from twisted_mail_kit.stores.sqlite.keeping import keep_copy

log = Logger()

APPLICATION_ID = 0x544D4B51
VERSION = 1
DATABASE = "queue.sqlite"
LOST = "lost+found"
OURS = {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", "large", "runs", LOST}
OURS |= {f"{DATABASE}.new"}

# `ready` is when a recipient may be leased: its next try; while it is leased, not before the lease runs out; NULL while
# it is held. `due` of a destination is the least of them. `run` is the process that leased, see runs.py.
SCHEMA = (
    "CREATE TABLE spool (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE messages (id TEXT PRIMARY KEY, blob INTEGER NOT NULL, size INTEGER NOT NULL, envelope TEXT NOT NULL)"
    " WITHOUT ROWID",
    "CREATE INDEX messages_blob ON messages (blob)",
    # octets NULL: in a file of its own
    "CREATE TABLE blobs (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, checksum INTEGER, octets BLOB)",
    # A message's recipients for one destination lie side by side: they are what one lease takes.
    """CREATE TABLE recipients (
        message TEXT NOT NULL, destination TEXT NOT NULL, number INTEGER NOT NULL, next_try REAL NOT NULL,
        attempts INTEGER NOT NULL, delay_told INTEGER NOT NULL, is_held INTEGER NOT NULL, owner TEXT, run INTEGER,
        until REAL, ready REAL, recipient TEXT NOT NULL, last TEXT, PRIMARY KEY (message, destination, number))
        WITHOUT ROWID""",
    "CREATE INDEX recipients_ready ON recipients (destination, ready) WHERE ready IS NOT NULL",
    "CREATE INDEX recipients_owner ON recipients (owner) WHERE owner IS NOT NULL",
    "CREATE TABLE destinations (name TEXT PRIMARY KEY, due REAL NOT NULL, turn INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX destinations_due ON destinations (due)",
    "CREATE INDEX destinations_turn ON destinations (turn, due)",
    """CREATE TABLE events (
        trace_id TEXT NOT NULL, time REAL NOT NULL, event TEXT NOT NULL, recipient TEXT NOT NULL, remote TEXT NOT NULL,
        text TEXT NOT NULL)""",
    "CREATE INDEX events_trace ON events (trace_id)",
)


def prepare(root: Path, files: Files) -> Path:
    """Make the directory, or see that it is ours; answers the database's path.

    Raises ConfigurationError where it belongs to another program, Unavailable where it cannot be used.
    """
    database = root / DATABASE
    try:
        store_schema.make_folder(root)
        # A hidden file is nobody's data: a mount point's `.snapshot`, a `.gitkeep`.
        strangers = {name for name in os.listdir(root) if not name.startswith(".")} - OURS  # noqa: PTH208
        is_missing = not database.is_symlink() and not database.exists()
        is_empty = database.is_file() and not database.stat().st_size
        if strangers and (is_missing or is_empty):
            raise ConfigurationError([f"{root}: not a mail queue, {min(strangers)} is in it"])
        if is_missing or is_empty:
            see_that_no_mail_is_here(root, database)
            store_schema.keep_a_log_without_database(database, root / LOST)
        if is_missing:
            store_schema.see_that_we_may_write(root)
            root.chmod(0o700)
            try:
                files.close(files.create(database))
            except FileExistsError:
                pass  # another process was quicker
            files.sync_directory(root)
        store_schema.see_that_it_is_a_file(database)
        store_schema.see_that_we_may_write(root)
        store_schema.see_that_we_may_write(database)
        damage = store_schema.look_before_opening(database, APPLICATION_ID, VERSION)
        if damage:
            keep_the_log(root, damage)
        files.make_directory(root / "large")
        files.make_directory(root / "runs")
    except OSError as error:
        raise Unavailable(f"{error.filename or root}: {error.strerror}") from error
    return database


def see_that_no_mail_is_here(root: Path, database: Path) -> None:
    """A database that is lost must not be taken for one that is yet to be made: large messages lie beside it."""
    for path in root.glob("large/*/*.blob"):
        raise ConfigurationError(
            [
                f"{database}: is missing or empty, but there are messages ({path.relative_to(root)}): put a backup back"
                f" with mailkit restore, or save them with mailkit fsck --salvage FOLDER, and take {root} away"
            ]
        )


def keep_the_log(root: Path, damage: str) -> None:
    """Not every commit here is synced (see batch.py): a power cut may have torn several, and that is no damage.

    So the server starts; what SQLite is about to pass over is kept aside. Raises OSError.
    """
    copy = keep_copy(root / DATABASE, root / LOST)
    log.critical("{damage}: the queue goes on without them; as it was: {copy}", damage=damage, copy=str(copy))


def open_writer(database: Path, lock_timeout: float, cache_size: int) -> sqlite3.Connection:
    """The connection that writes; makes the tables where there are none yet.

    Raises ConfigurationError for another program's database, or one of a newer format, and Unavailable.
    """
    try:
        connection = sqlite3.connect(
            database, timeout=lock_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.Error as error:
        raise store_schema.trouble(database, error) from error
    try:
        tables = see_that_it_is_ours(connection, database)
        if not tables:
            see_that_no_mail_is_here(database.parent, database)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute(f"PRAGMA cache_size = -{cache_size // 1024}")
        if not tables:
            _make_tables(connection)
        store_schema.begin_a_new_log(connection, lock_timeout)
    except ConfigurationError:
        connection.close()
        raise
    except sqlite3.OperationalError as error:
        connection.close()
        raise store_schema.trouble(database, error) from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ConfigurationError(
            [f"{database}: {error}: run mailkit fsck --repair, or put a backup back with mailkit restore"]
        ) from error
    return connection


def see_that_it_is_ours(connection: sqlite3.Connection, database: Path) -> int:
    """Answers how many tables there are. Raises ConfigurationError: another program's, or a newer format."""
    return store_schema.count_tables(connection, database, APPLICATION_ID, VERSION)


def open_reader(database: Path, lock_timeout: float) -> sqlite3.Connection:
    """A connection that only reads."""
    connection = sqlite3.connect(
        store_schema.reading(database),
        uri=True,
        timeout=lock_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA cache_size = -4096")
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO spool VALUES ('run', 0)")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
