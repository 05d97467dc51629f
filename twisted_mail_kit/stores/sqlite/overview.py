"""What a store's directory holds, in numbers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.stores.sqlite import schema
from twisted_mail_kit.stores.sqlite.segments import HEADER_SIZE, LARGE


def overview(root: Path) -> Findings:
    """Accounts, mailboxes, messages; octets that live and that are dead; files. Waits for the disk, reads no bodies.

    Raises Unavailable, ConfigurationError.
    """
    index = root / schema.INDEX
    try:
        with closing(schema.open_reader(index, 5.0)) as connection:
            schema.see_that_it_is_ours(connection, index)
            connection.execute("BEGIN")
            counts = _counts(connection)
    except sqlite3.Error as error:
        raise schema.trouble(index, error) from error
    on_disk = _octets(root, "segments/*.log")
    live = counts.pop("live in segments")
    counts["segment octets"] = on_disk
    counts["segment octets live"] = live
    counts["segment octets dead"] = max(0, on_disk - live)
    counts["large file octets"] = _octets(root, "large/*/*.blob")
    counts["index octets"] = _octets(root, f"{schema.INDEX}*")
    return Findings(counts)


def octets_of_files(root: Path) -> dict[str, int]:
    """Octets of the segments and of the index: what grows. Waits for the disk, but not for long."""
    return {"segments": _octets(root, "segments/*.log"), "index": _octets(root, f"{schema.INDEX}*")}


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    counts = {}
    for what, sql in (
        ("format", "PRAGMA user_version"),
        ("accounts", "SELECT count(*) FROM accounts"),
        ("mailboxes", "SELECT count(*) FROM mailboxes"),
        ("messages", "SELECT coalesce(sum(total), 0) FROM mailboxes"),
        ("message octets", "SELECT coalesce(sum(size), 0) FROM mailboxes"),
        ("segments", "SELECT count(*) FROM segments"),
        ("large files", f"SELECT count(DISTINCT blob) FROM blobs WHERE segment = {LARGE}"),
        (
            "live in segments",
            f"SELECT coalesce(sum(size + {HEADER_SIZE}), 0) FROM"
            f" (SELECT DISTINCT blob, size FROM blobs WHERE segment != {LARGE})",
        ),
    ):
        (counts[what],) = connection.execute(sql).fetchone()
    return counts


def _octets(root: Path, pattern: str) -> int:
    total = 0
    for path in root.glob(pattern):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass  # removed meanwhile
    return total
