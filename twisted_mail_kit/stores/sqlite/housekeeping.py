"""What the writer does when there is time: it forgets what need not be remembered any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from twisted_mail_kit.metrics.catalogue import FREED_BYTES
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.blobs import PATIENCE
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile, used_size
from twisted_mail_kit.stores.sqlite.hold import is_held, may_remove
from twisted_mail_kit.stores.sqlite.operations import refer
from twisted_mail_kit.stores.sqlite.segments import LARGE, Mistrusted, large_path, segment_path
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

AT_ONCE = 1000
"""Rows a transaction, so that nobody waits for long."""
ORPHANED = 3 * 3600.0
"""Seconds after which a file that the index does not know is nobody's."""

MILLISECONDS = 0.005
"""Seconds between two looks at whether another process has removed its files."""


def _nobody(segments: set[int]) -> None:
    """Nobody wants to know."""


class Housekeeping:
    """Each call is one short transaction. Only the writer thread comes here."""

    log = Logger()

    def __init__(
        self, root: Path, files: Files, settings: SQLiteSettings, kept: Callable[[set[int]], None] = _nobody
    ) -> None:
        self.files_freed = self.octets_freed = 0
        """What has been removed since the store was opened."""
        self.is_held = False
        """No file could be removed the last time: somebody makes a backup."""
        self.emptied: set[int] = set()
        """Segments that compaction has emptied, and that are to be removed."""
        self._root = root
        self._files = files
        self._settings = settings
        self._kept = kept
        """Is told the segments in which something has died."""
        self._died_in: set[int] = set()
        self._looked_at = 0
        """The last segment that was looked at."""
        self._directory = 0

    def tidy(self, batch: Batch) -> bool:
        """Do a little; answers whether there is more to do at once."""
        # Until we are done: no backup begins between the commit and the removal. While one runs, files stay.
        right = may_remove(self._root, self._files)
        self.is_held = right is None and is_held(self._root, self._files)
        dead: list[Path] = []
        more_dead = False
        segments: list[int] = []
        batch.begin()
        more = self._empty_graves(batch)
        more |= self._forget_removals(batch)
        more |= self._forget_tokens(batch)
        if right is not None:
            dead, more_dead = self._forget_blobs(batch)
            segments = self._empty_segments(batch)
            more_dead |= bool(self.emptied)
        batch.commit()
        # Only now: what the index still knows has to be there.
        for path in (*dead, *(segment_path(self._root, segment) for segment in segments)):
            self._remove(path)
        if right is not None:
            self._remove_orphans(batch)
        elif not self.is_held:
            more = True  # another process is at it, for some milliseconds
            time.sleep(MILLISECONDS)
        more |= more_dead
        if not more:
            died_in, self._died_in = self._died_in, set()
            self._kept(died_in)
        return more

    def _remove(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            self._files.remove(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.log.warn("mail store: {path} could not be removed: {error}", path=str(path), error=str(error))
        else:
            self.files_freed += 1
            self.octets_freed += size
            FREED_BYTES.value += size

    def _empty_graves(self, batch: Batch) -> bool:
        row = batch.execute("SELECT mailbox, account FROM graves LIMIT 1").fetchone()
        if row is None:
            return False
        mailbox, account = row
        if mailbox < 0:
            if not self._forget_rows(batch, account, "account = ? LIMIT ?", (account, AT_ONCE)):
                batch.execute("DELETE FROM graves WHERE mailbox = ?", (mailbox,))
            return True
        found = batch.execute(
            "SELECT id, blob_id FROM messages WHERE id > ? AND id < ? LIMIT ?",
            (mailbox << 32, mailbox + 1 << 32, AT_ONCE),
        ).fetchall()
        if found:
            batch.executemany("DELETE FROM entries WHERE id = ?", [(id,) for id, _ in found])
            refer(batch, ((blob_id, account) for _, blob_id in found), -1)
        else:
            batch.execute("DELETE FROM graves WHERE mailbox = ?", (mailbox,))
        return True

    def _forget_removals(self, batch: Batch) -> bool:
        keep, before = self._settings.tombstones, batch.now - int(self._settings.tombstone_age)
        # The index knows accounts that have removals at all; their number is small beside that of all accounts.
        found = batch.execute(
            "SELECT id, removals FROM accounts WHERE removals > 0 AND removals > ?"
            " AND (SELECT time FROM removals WHERE account = accounts.id ORDER BY modseq LIMIT 1) < ? LIMIT 100",
            (keep, before),
        ).fetchall()
        for account, count in found:
            which = "account = ? AND time < ? ORDER BY modseq LIMIT ?"
            old = self._forget_rows(batch, account, which, (account, before, min(AT_ONCE, count - keep)))
            if old:
                batch.execute(
                    "UPDATE accounts SET removals = removals - ?, forgotten = ? WHERE id = ?",
                    (len(old), old[-1][0], account),
                )
                batch.forget(account)
        return bool(found)

    def _forget_rows(self, batch: Batch, account: int, which: str, values: tuple[int, ...]) -> list[tuple[int, int]]:
        old = batch.execute(f"SELECT modseq, message FROM removals WHERE {which}", values).fetchall()
        sql = "DELETE FROM removals WHERE account = ? AND modseq = ? AND message = ?"
        batch.executemany(sql, [(account, *row) for row in old])
        return old

    def _forget_tokens(self, batch: Batch) -> bool:
        last = rows.token_periods(batch.now, self._settings.token_days)[0]
        found = batch.execute("SELECT period, key FROM tokens WHERE period < ? LIMIT ?", (last, AT_ONCE)).fetchall()
        batch.executemany("DELETE FROM tokens WHERE period = ? AND key = ?", found)
        return len(found) == AT_ONCE

    def _forget_blobs(self, batch: Batch) -> tuple[list[Path], bool]:
        found = batch.execute(
            "SELECT blob, account, segment FROM blobs WHERE gone < ? LIMIT ?",
            (batch.now - int(self._settings.blob_grace), AT_ONCE),
        ).fetchall()
        batch.executemany("DELETE FROM blobs WHERE blob = ? AND account = ?", [row[:2] for row in found])
        self._died_in.update(row[2] for row in found)
        dead = [
            large_path(self._root, blob)
            for blob in {row[0] for row in found if row[2] == LARGE}
            if not batch.execute("SELECT 1 FROM blobs WHERE blob = ?", (blob,)).fetchone()
        ]
        return dead, len(found) == AT_ONCE

    def _empty_segments(self, batch: Batch) -> list[int]:
        """Segments in which nothing lives any more, and nothing that was committed within the hour can."""
        found = batch.execute(
            "SELECT id, low, high, closed FROM segments WHERE id > ? ORDER BY id LIMIT 100", (self._looked_at,)
        ).fetchall()
        self._looked_at = found[-1][0] if len(found) == 100 else 0
        known = {row[0] for row in found}
        for segment in list(self.emptied - known)[:100]:
            self.emptied.discard(segment)
            found += batch.execute("SELECT id, low, high, closed FROM segments WHERE id = ?", (segment,)).fetchall()
        self.emptied -= known
        empty = []
        for segment, low, high, closed in found:
            if not self.is_quiet(closed, batch.now):
                continue
            alive = batch.execute(
                "SELECT 1 FROM blobs WHERE blob BETWEEN ? AND ? AND segment = ? LIMIT 1", (low, high, segment)
            ).fetchone()
            if alive is None and self._is_free(segment):
                batch.execute("DELETE FROM segments WHERE id = ?", (segment,))
                empty.append(segment)
        return empty

    def is_quiet(self, closed: int, now: float) -> bool:
        """Whether all blobs of a segment that was closed then have been referred to by now, or never will be."""
        grace = self._settings.blob_grace
        return 0 < closed <= now - (max(int(grace), int(PATIENCE)) if grace >= 0 else 0)

    def _is_free(self, segment: int) -> bool:
        """No process writes to it."""
        try:
            file = OpenFile(self._files, self._files.open(segment_path(self._root, segment)))
            return self._files.lock(file.fd)
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def _remove_orphans(self, batch: Batch) -> None:
        """Large blobs that were never finished, or never referred to, one directory of 256 at a time; segments that
        were given up just before a crash."""
        directory = self._root / "large" / f"{self._directory:02x}"
        self._directory = self._directory + 1 & 0xFF
        for path in directory.glob("*.blob"):
            self._remove_orphan(batch, path, "SELECT 1 FROM blobs WHERE blob = ? LIMIT 1", 16)
        if not self._directory:
            # The number of one that is newer than the index tells of an index that was put back from a copy.
            sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'segments'"
            (newest,) = batch.execute(sql).fetchone()
            for path in (self._root / "segments").glob("*.log"):
                if path.stem.isdecimal() and int(path.stem) <= newest and self._is_free(int(path.stem)):
                    self._remove_orphan(batch, path, "SELECT 1 FROM segments WHERE id = ?", 10)

    def _remove_orphan(self, batch: Batch, path: Path, known: str, base: int) -> None:
        try:
            if path.stat().st_mtime > batch.seconds() - ORPHANED:
                return
            if not batch.execute(known, (int(path.stem, base),)).fetchone():
                self._files.remove(path)
        except (OSError, ValueError):
            pass


def recover(root: Path, files: Files, batch: Batch, log: Logger) -> None:
    """Close segments whose process is gone, and say what it left behind.

    Their ends need no repair: what the index does not know is never read, and nobody writes there again.
    """
    found = batch.execute('SELECT id, "end" FROM segments WHERE closed = 0').fetchall()
    for segment, end in found:
        path = segment_path(root, segment)
        try:
            file = OpenFile(files, files.open(path))
            if not files.lock(file.fd):
                continue  # another process is at it
            size = used_size(files, file.fd, end)
        except FileNotFoundError:
            size = 0
        except OSError as error:
            raise Mistrusted(f"{path}: {error}") from error
        if size > end:
            log.warn(
                "{path}: {octets} octets of an interrupted write are passed over", path=str(path), octets=size - end
            )
        elif size < end:
            log.critical("{path}: {octets} octets of messages are missing", path=str(path), octets=end - size)
        batch.execute("UPDATE segments SET closed = ? WHERE id = ?", (int(batch.seconds()), segment))
