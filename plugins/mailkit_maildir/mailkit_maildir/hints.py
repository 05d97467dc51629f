"""IChangeHints: tells of our own commits, and has a look when another program has touched an account's files."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import finalize

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorThreads
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.filepath import FilePath

GATHER = 0.02
"""Seconds in which more touches of the same account may come, before it is looked at."""
INTERVAL = 1.0
"""Seconds between two looks at every open account, where nothing tells of touches."""


class Hints:
    """Whoever watches is told; accounts that anybody has open are watched, until nobody has."""

    log = Logger()

    def __init__(self, reactor: Any, how: str, look: Callable[[str], None]) -> None:
        self.reactor = reactor
        self.how = how
        self.look = look
        self.watchers: dict[object, Callable[[str, int], None]] = {}
        self.told: dict[str, int] = {}
        self.watched: dict[str, Watched] = {}
        self.inotify: Any = None
        self.is_over = False
        self._lock = threading.Lock()
        self._polling: Any = None

    # --- telling, in any thread --------------------------------------------------------------------------------------

    def watch_changes(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        """See IChangeHints."""
        watch = object()
        self.watchers[watch] = heard
        if IReactorThreads.providedBy(self.reactor):
            self.reactor.callFromThread(self._begin)

        def unwatch() -> None:
            self.watchers.pop(watch, None)

        return unwatch

    def tell(self, name: str, modseq: int) -> None:
        """The account has this modseq. Called in the account's turn, so in order."""
        with self._lock:
            if self.told.get(name) == modseq:
                return
            self.told[name] = modseq
            watchers = list(self.watchers.values())
        for heard in watchers:
            try:
                heard(name, modseq)
            except Exception:  # the commit was made, whatever they think of it
                self.log.failure("a watcher of {account} failed", account=name)

    def watch(self, name: str, root: Path, account: object) -> None:
        """Look after that account's files for as long as `account` lives."""
        with self._lock:
            if name in self.watched or self.is_over:
                return
            watched = self.watched[name] = Watched(self, name, root)
        finalize(account, self._end, name)
        self._in_reactor(watched.begin)

    def stop(self) -> None:
        """Nobody is told any more."""
        self.is_over = True
        self.watchers.clear()
        self._in_reactor(self._stop)

    def _end(self, name: str) -> None:
        watched = self.watched.pop(name, None)
        if watched is not None:
            self._in_reactor(watched.end)

    def _in_reactor(self, call: Callable[[], None]) -> None:
        if IReactorThreads.providedBy(self.reactor):
            self.reactor.callFromThread(call)

    # --- watching, in the reactor ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Somebody wants to know: begin to look after files."""
        if self.is_over or self.inotify is not None or self._polling is not None:
            return
        if self.how != "poll":
            self.inotify = self._inotify()
        if self.inotify is None:
            self._polling = self.reactor.callLater(INTERVAL, self._poll)
        for watched in list(self.watched.values()):
            watched.begin()

    def _inotify(self) -> Any:
        if IReactorFDSet.providedBy(self.reactor):
            try:
                from twisted.internet.inotify import INotify

                inotify = INotify(self.reactor)
                inotify.startReading()
                return inotify
            except Exception as error:
                self.log.info("no inotify here ({error}): accounts are looked at once a second", error=error)
        return None

    def _poll(self) -> None:
        self._polling = self.reactor.callLater(INTERVAL, self._poll)
        for watched in list(self.watched.values()):
            watched.touched()

    def _stop(self) -> None:
        for watched in list(self.watched.values()):
            watched.end()
        self.watched.clear()
        if self._polling is not None and self._polling.active():
            self._polling.cancel()
        if self.inotify is not None:
            inotify, self.inotify = self.inotify, None
            inotify.stopReading()
            inotify.loseConnection()


class Watched:
    """The files of one account. All of it happens in the reactor thread."""

    log = Logger()

    def __init__(self, hints: Hints, name: str, root: Path) -> None:
        self.hints = hints
        self.name = name
        self.root = root
        self.paths: set[Path] = set()
        self.is_over = False
        self._waiting: Any = None
        self._looking: Deferred[None] | None = None
        self._again = False

    def begin(self) -> None:
        """Watch all directories in which mail comes."""
        inotify = self.hints.inotify
        if inotify is None or self.is_over:
            return
        from twisted.internet.inotify import IN_CHANGED, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO

        folders = [path for path in self.root.glob(".*") if (path / "cur").is_dir()]
        wanted = {self.root, *(folder / place for folder in (self.root, *folders) for place in ("new", "cur"))}
        mask = IN_CHANGED | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE
        for path in wanted - self.paths:
            try:
                inotify.watch(FilePath(str(path)), mask=mask, callbacks=[self._heard])
                self.paths.add(path)
            except Exception as error:
                if getattr(error, "errno", errno.ENOSPC) != errno.ENOENT:
                    self.log.warn("{path} cannot be watched: {error}", path=path, error=error)
                return

    def end(self) -> None:
        """No more."""
        self.is_over = True
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        for path in self.paths:
            if self.hints.inotify is not None:
                try:
                    self.hints.inotify.ignore(FilePath(str(path)))
                except KeyError:
                    pass  # the directory is gone, and its watch with it
        self.paths.clear()

    def _heard(self, ignored: object, path: Any, mask: int) -> None:
        name = path.basename()
        if path.parent().path == str(self.root) and not name.startswith(".") and name != "subscriptions":
            return  # Dovecot's own files, and ours
        if path.parent().path == str(self.root):
            self.begin()  # perhaps a new folder
        self.touched()

    def touched(self) -> None:
        """Have a look, soon; in a thread, one at a time."""
        if self.is_over:
            return
        if self._looking is not None:
            self._again = True
        elif self._waiting is None or not self._waiting.active():
            self._waiting = self.hints.reactor.callLater(GATHER, self._look)

    def _look(self) -> None:
        self._again = False
        self._looking = deferToThread(self.hints.look, self.name)
        self._looking.addBoth(self._looked)

    def _looked(self, result: object) -> None:
        self._looking = None
        if self._again:
            self.touched()
