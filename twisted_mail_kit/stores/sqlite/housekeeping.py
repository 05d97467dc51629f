"""What the writer does when there is time: it forgets what need not be remembered any more."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import Logger

from twisted_mail_kit.stores.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile
from twisted_mail_kit.stores.sqlite.operations import refer
from twisted_mail_kit.stores.sqlite.segments import LARGE, Mistrusted, large_path, segment_path
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

AT_ONCE = 1000
"""Rows a transaction, so that nobody waits for long."""
ORPHANED = 3 * 3600.0
"""Seconds after which a large blob's file that the index does not know is nobody's."""


class Housekeeping:
    """Each call is one short transaction. Only the writer thread comes here."""

    log = Logger()

    def __init__(self, root: Path, files: Files, settings: SQLiteSettings) -> None:
        self._root = root
        self._files = files
        self._settings = settings
        self._looked_at = 0
        """The last segment that was looked at."""
        self._directory = 0

    def tidy(self, batch: Batch) -> bool:
        """Do a little; answers whether there is more to do at once."""
        batch.begin()
        more = self._empty_graves(batch)
        more |= self._forget_removals(batch)
        more |= self._forget_tokens(batch)
        dead, more_dead = self._forget_blobs(batch)
        more |= more_dead
        segments = self._empty_segments(batch)
        batch.commit()
        try:
            # Only now: what the index still knows has to be there.
            for path in (*dead, *segments):
                self._files.remove(path)
        except OSError as error:
            self.log.warn("mail store: {path} could not be removed: {error}", path=str(path), error=str(error))
        self._remove_orphans(batch)
        return more

    def _empty_graves(self, batch: Batch) -> bool:
        row = batch.execute("SELECT mailbox, account FROM graves LIMIT 1").fetchone()
        if row is None:
            return False
        mailbox, account = row
        found = batch.execute(
            "SELECT id, blob_id FROM messages WHERE id > ? AND id < ? LIMIT ?",
            (mailbox << 32, mailbox + 1 << 32, AT_ONCE),
        ).fetchall()
        if found:
            batch.executemany("DELETE FROM messages WHERE id = ?", [(id,) for id, _ in found])
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
            old = batch.execute(
                "SELECT modseq, message FROM removals WHERE account = ? AND time < ? ORDER BY modseq LIMIT ?",
                (account, before, min(AT_ONCE, count - keep)),
            ).fetchall()
            if old:
                batch.executemany(
                    "DELETE FROM removals WHERE account = ? AND modseq = ? AND message = ?",
                    [(account, *row) for row in old],
                )
                batch.execute(
                    "UPDATE accounts SET removals = removals - ?, forgotten = ? WHERE id = ?",
                    (len(old), old[-1][0], account),
                )
                batch.forget(account)
        return bool(found)

    def _forget_tokens(self, batch: Batch) -> bool:
        last = batch.now // 86400 - self._settings.token_days - 1
        found = batch.execute("SELECT day, key FROM tokens WHERE day < ? LIMIT ?", (last, AT_ONCE)).fetchall()
        batch.executemany("DELETE FROM tokens WHERE day = ? AND key = ?", found)
        return len(found) == AT_ONCE

    def _forget_blobs(self, batch: Batch) -> tuple[list[Path], bool]:
        found = batch.execute(
            "SELECT blob, account, segment FROM blobs WHERE gone < ? LIMIT ?",
            (batch.now - int(self._settings.blob_grace), AT_ONCE),
        ).fetchall()
        batch.executemany("DELETE FROM blobs WHERE blob = ? AND account = ?", [row[:2] for row in found])
        dead = [
            large_path(self._root, blob)
            for blob in {row[0] for row in found if row[2] == LARGE}
            if not batch.execute("SELECT 1 FROM blobs WHERE blob = ?", (blob,)).fetchone()
        ]
        return dead, len(found) == AT_ONCE

    def _empty_segments(self, batch: Batch) -> list[Path]:
        """Segments in which nothing lives any more, and nothing that was committed within the hour can."""
        found = batch.execute(
            "SELECT id, low, high, closed FROM segments WHERE id > ? ORDER BY id LIMIT 100", (self._looked_at,)
        ).fetchall()
        self._looked_at = found[-1][0] if len(found) == 100 else 0
        empty = []
        for segment, low, high, closed in found:
            if not closed or closed > batch.now - max(int(self._settings.blob_grace), 0):
                continue
            alive = batch.execute(
                "SELECT 1 FROM blobs WHERE blob BETWEEN ? AND ? AND segment = ? LIMIT 1", (low, high, segment)
            ).fetchone()
            if alive is None and self._is_free(segment):
                batch.execute("DELETE FROM segments WHERE id = ?", (segment,))
                empty.append(segment_path(self._root, segment))
        return empty

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
        """Large blobs that were never finished, or never referred to; one directory of 256 at a time."""
        directory = self._root / "large" / f"{self._directory:02x}"
        self._directory = self._directory + 1 & 0xFF
        if not directory.is_dir():
            return
        before = batch.seconds() - ORPHANED
        for path in directory.glob("*.blob"):
            try:
                number = int(path.stem, 16)
                if path.stat().st_mtime > before:
                    continue
                if batch.execute("SELECT 1 FROM blobs WHERE blob = ? LIMIT 1", (number,)).fetchone():
                    continue
                self._files.remove(path)
            except (OSError, ValueError):
                continue


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
            size = files.size(file.fd)
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
