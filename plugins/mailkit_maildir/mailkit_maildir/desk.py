"""One account's place in this process: its lock, its index, and what was seen of its files."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from twisted.logger import Logger

from mailkit_maildir import names, uidlist
from mailkit_maildir.deeds import Doing
from mailkit_maildir.dotlock import LOCK, dotlock
from mailkit_maildir.files import Files, SyncFailed, signature, sync_directory, troubles
from mailkit_maildir.index import Index, database_troubles
from mailkit_maildir.layout import NAME, OWN
from mailkit_maildir.ledger import MaildirLedger
from mailkit_maildir.lines import Places
from mailkit_maildir.look import Look, Seen
from mailkit_maildir.pen import HALF, Pen
from twisted_mail_kit.errors import AccountNotFound, MailError, Unavailable

T = TypeVar("T")
Deeds = list[list[Any]]
HOUR, DAY = 3600.0, 24 * 3600.0
TOMBSTONES = 5000
"""Removals that are remembered in any case; others for two weeks."""
TURN = 5
"""Another call of this process is waited for longer than a lock of another process: it may itself wait for one."""
PLACES = 16
"""Messages with bare line feeds that are read at the same time."""


class Desk:
    """Calls of one account come one at a time, from all processes."""

    log = Logger()

    def __init__(self, name: str, root: Path, seconds: Callable[[], float], timeout: float) -> None:
        self.name = name
        self.root = root
        self.seconds = seconds
        self.timeout = timeout
        self.files = Files(root)
        self.own = root / OWN
        self.pen = Pen(self.own / "pen")
        self.seen = Seen()
        self.places: OrderedDict[str, Places] = OrderedDict()
        self.broken = ""
        """Why nothing is written any more."""
        self.swept = 0.0
        self.told = -1
        """The modseq that was told of last."""
        self._turn = threading.RLock()
        self._index: Index | None = None
        self._inode = 0
        self._is_troubled = False

    # --- turns -------------------------------------------------------------------------------------------------------

    @contextmanager
    def turn(self, create: bool = False) -> Iterator[Index]:
        """Nobody else, in any process of this program, is at this account meanwhile. Raises AccountNotFound."""
        if not self._turn.acquire(timeout=self.timeout * TURN):
            raise Unavailable(f"{self.root}: another call has had it for {self.timeout * TURN:g} seconds")
        try:
            with troubles(), database_troubles(self.own / "index.sqlite"):
                if create:
                    self.files.make_directory(self.pen.directory)
                elif not (self.root / "cur").is_dir():
                    self.close()
                    raise AccountNotFound(self.name)
                with self._lock():
                    yield self._opened()
        finally:
            self._turn.release()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.files.make_directory(self.pen.directory)
        if not (self.own / LOCK).exists():
            try:
                os.close(self.files.create(self.own / LOCK))
            except FileExistsError:
                pass
            sync_directory(self.own)
        number = os.open(self.own / LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            end = time.monotonic() + self.timeout
            while True:
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                if time.monotonic() >= end:
                    where = self.own / LOCK
                    raise Unavailable(f"{where}: another process has held it for {self.timeout:g} seconds")
                time.sleep(0.002)
            yield
        finally:
            os.close(number)

    def _opened(self) -> Index:
        path = self.own / "index.sqlite"
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            inode = 0
        if self._index is not None and (inode != self._inode):
            self.close()  # it was removed, or put here anew
        if self._index is None:
            if not inode:
                os.close(self.files.create(path))
            self._index = Index(path, self.timeout)
            self._inode = path.stat().st_ino
            self.seen = Seen.kept(self._index)
            name = self.own / NAME
            if not name.exists():
                self.files.replace(name, self.name.encode("utf-8", "surrogatepass"), self.own)
            for file in path.parent.glob("index.sqlite-*"):
                self.files.own(file)
        return self._index

    def close(self) -> None:
        """Let go of the files."""
        index, self._index = self._index, None
        if index is not None:
            try:
                if (self.own / "index.sqlite").exists():
                    self.seen.keep(index, self.root)
            except (sqlite3.Error, OSError):
                pass  # everything is looked at anew then
            finally:
                index.close()
        self.seen = Seen()

    def try_close(self) -> bool:
        """Close, unless somebody is at it."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            self.close()
        finally:
            self._turn.release()
        return True

    def finish(self) -> None:
        """Close, after those who are at it."""
        with self._turn:
            self.close()

    # --- what is done in a turn --------------------------------------------------------------------------------------

    def ledger(self, index: Index) -> MaildirLedger:
        """For one transaction."""
        return MaildirLedger(self.name, self.seconds(), index, self.root, self.pen)

    def up_to_date(self, index: Index) -> None:
        """Look at the files, if that is possible; what was known before is true, too."""
        if self.broken:
            return
        try:
            self.catch_up(index)
        except (MailError, OSError, sqlite3.Error) as error:
            self._note(error)
            if not index.state():
                raise
            if not self._is_troubled:
                self.log.warn("{root} cannot be looked at: {error}", root=self.root, error=error)
            self._is_troubled = True
        else:
            self._is_troubled = False

    def catch_up(self, index: Index, held: frozenset[str] = frozenset()) -> None:
        """Do what a crash has left undone, then see what other programs have done."""
        deeds = index.deeds()
        if deeds:
            self.log.info("{root}: {count} steps of a change are done again", root=self.root, count=len(deeds))
            self._do(index, deeds, held, again=True)
        Look(self.name, self.root, self.files, index, self.seen, self.seconds(), self.timeout, held).look()

    def catch_up_made(self, index: Index) -> None:
        """Make the tree of an account that has only its index."""
        box = next(box for box in index.boxes() if box.role == "inbox")
        guid = index.one("SELECT guid FROM box WHERE id = ?", box.id)[0]
        self._do(index, [["make", names.INBOX, box.uidvalidity, guid, None], *index.deeds()], frozenset(), again=True)

    def commit(self, index: Index, work: Callable[[MaildirLedger], T], targets: list[str], strict: bool = False) -> T:
        """Do `work` with a ledger, durably, and then to the files what it means. `targets` are the boxes that get
        new messages: nobody else gives UIDs there meanwhile. With `strict` it is an error that the files could not be
        changed at once."""
        if self.pen.failed:
            self._note(self.pen.failed)
        if self.broken:
            raise Unavailable(self.broken)
        try:
            return self._commit(index, work, targets, strict)
        except (OSError, sqlite3.Error) as error:
            self._note(error)
            raise

    def _commit(self, index: Index, work: Callable[[MaildirLedger], T], targets: list[str], strict: bool) -> T:
        with ExitStack() as locks:
            directories = (index.directory(box_id) for box_id in targets)
            held = frozenset(directory for directory in directories if directory is not None)
            for directory in sorted(held):
                if (self.root / directory / "cur").is_dir():
                    locks.enter_context(dotlock(self.root / directory / uidlist.NAME, self.files, self.timeout))
            if index.state():
                self.catch_up(index, held)
            ledger = self.ledger(index)
            with index.transaction():
                done = work(ledger)
                deeds = ledger.plan()
                index.plan(deeds)
            if deeds:
                self._do_what_is_decided(index, deeds, held, strict)
            for directory in held:
                self.seen.uidlists[directory] = signature(self.root / directory / uidlist.NAME)
        return done

    def _do_what_is_decided(self, index: Index, deeds: Deeds, held: frozenset[str], strict: bool) -> None:
        """It is durable in the index already, so nothing that goes wrong here makes it undone: it is done later."""
        try:
            self._do(index, deeds, held, again=False)
        except (MailError, OSError, sqlite3.Error) as error:
            self.log.warn("{root}: a change is not in the files yet: {error}", root=self.root, error=error)
            self._note(error)
            if strict:
                raise

    def _do(self, index: Index, deeds: Deeds, held: frozenset[str], again: bool) -> None:
        Doing(self.root, self.pen.directory, self.files, self.timeout, held, again).all(deeds)
        with index.transaction(durable=False):
            index.db.execute("DELETE FROM deed")

    def _note(self, error: Exception) -> None:
        """Write nothing more after a failed sync: nobody knows what the disk has. It is looked at when it is opened."""
        if self.broken or not (isinstance(error, SyncFailed) or "FSYNC" in getattr(error, "sqlite_errorname", "")):
            return
        what = "nothing is written here until the server is restarted"
        self.broken = f"{self.root}: the disk has failed ({error}); {what}"
        self.log.error("{broken}", broken=self.broken)

    # --- sweeping ----------------------------------------------------------------------------------------------------

    def sweep(self, index: Index) -> None:
        """Once an hour: octets that no message has had for two hours go, and tokens after eight days."""
        now = self.seconds()
        if now < self.swept + HOUR or index.deeds() or self.broken:
            return
        self.swept = now
        with index.transaction():
            index.db.execute("DELETE FROM answer WHERE given < ?", [now - 8 * DAY])
            old = [row[0] for row in index.all("SELECT id FROM blob WHERE idle < ?", now - 2 * HOUR)]
            unused = [blob_id for blob_id in old if not index.is_used(blob_id)]
            index.db.executemany("DELETE FROM blob WHERE id = ?", [[blob_id] for blob_id in unused])
            index.db.executemany("UPDATE blob SET idle = NULL WHERE id = ?", [[blob_id] for blob_id in old])
            known = {row[0] for row in index.all("SELECT id FROM blob WHERE idle NOT NULL")}
            removals = "SELECT modseq FROM message WHERE blob IS NULL ORDER BY modseq DESC LIMIT -1 OFFSET ?"
            cut = index.one(
                f"SELECT max(modseq) FROM message WHERE blob IS NULL AND saved < ? AND modseq IN ({removals})",
                now - 14 * DAY,
                TOMBSTONES,
            )[0]
            if cut:
                index.db.execute("DELETE FROM message WHERE blob IS NULL AND modseq <= ?", [cut])
                index.keep_about("forgotten", cut)
        for path in self.pen.directory.iterdir():
            try:
                is_new = path.stat().st_mtime > now - (DAY if path.name.endswith(HALF) else 2 * HOUR)
            except FileNotFoundError:
                continue
            if path.name not in known and (path.name in old or not is_new):
                path.unlink(missing_ok=True)

    def piece(self, path: Path, blob_id: str, has_bare_lines: bool, offset: int, size: int) -> bytes:
        """Octets of a message's file."""
        if not has_bare_lines:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                return file.read(size) or b""
        places = self.places.setdefault(blob_id, Places())
        self.places.move_to_end(blob_id)
        while len(self.places) > PLACES:
            self.places.popitem(last=False)
        return places.read(path, offset, size)

    def in_use(self) -> bool:
        """Whether its files are open."""
        return self._index is not None
