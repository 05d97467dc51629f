"""One thread that writes, and in which all who wait share the next transaction and its syncs."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.errors import MailError, OverQuota, Unavailable
from twisted_mail_kit.metrics.catalogue import READ_ONLY, Commits
from twisted_mail_kit.net.turn import AtTurnsEnd
from twisted_mail_kit.stores.sqlite.segments import Mistrusted

LONGEST = 2000
"""Requests after which a transaction takes no more turns' requests."""
AT_ONCE = 100
"""Answers in one turn of the reactor."""
SOON = 0.2
"""Seconds until housekeeping goes on that was interrupted by somebody who waits."""


class Waiting:
    """Somebody waits for this."""

    __slots__ = ("answer", "deferred")

    def __init__(self) -> None:
        self.answer: Any = None
        """What comes of it; an exception is raised to whoever waits."""
        self.deferred: Deferred[Any] = Deferred()


Asked = TypeVar("Asked", bound=Waiting)


class GroupCommit(Generic[Asked]):
    """Takes requests in the reactor thread, does them in its own.

    Subclasses say what is done with a group of requests, and what is tidied when nobody waits. The thread begins with
    `start`, and ends after `close` when all that was submitted is done.
    """

    log = Logger()
    what = ""
    """What the log calls it."""

    def __init__(self, reactor: Any, interval: float, tidies_first: bool = False) -> None:
        """Housekeeping comes every `interval` seconds, and at the beginning where it `tidies_first`."""
        self.mistrusts = ""
        """Why nothing is written any more; empty while all is well."""
        self._reactor = reactor
        self._interval = interval
        self._first = 0.0 if tidies_first else interval
        self._gathered: list[Asked] = []
        """Asked for in this turn of the reactor."""
        self._handing_over = AtTurnsEnd(reactor, self._hand_over)
        self._waiting: SimpleQueue[list[Asked] | None] = SimpleQueue()
        """None comes last."""
        self._is_closing = False
        self._untold: deque[tuple[list[Asked], Any]] = deque()
        """In the order of the commits."""
        self._closed: Deferred[None] = Deferred()
        self._counts = Commits(self.what)
        READ_ONLY.read(self._is_read_only)
        self._thread = threading.Thread(target=self._live, name=f"{self.what} writer", daemon=True)

    # --- for subclasses: in the thread -------------------------------------------------------------------------------

    def do(self, requests: list[Asked]) -> Any:
        """Answer all of them; what could not be done has an exception for an answer. Gives what `heard` is told. Never
        raises."""
        raise NotImplementedError

    def tidy(self) -> bool:
        """A short piece of housekeeping; True: there is more to do."""
        return False

    def roll_back(self) -> None:
        """Nothing of the transaction that was begun ever was. Raises sqlite3.Error."""
        raise NotImplementedError

    def end(self) -> None:
        """Close all files. Raises Mistrusted, sqlite3.Error."""
        raise NotImplementedError

    # --- for subclasses: in the reactor thread -----------------------------------------------------------------------

    def heard(self, news: Any) -> None:
        """Those who waited have their answers; this is what `do` gave."""

    # --- in the reactor thread ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def ask(self, request: Asked) -> Deferred[Any]:
        """Do it with the next transaction; the answer comes when it would survive a power cut."""
        if self.mistrusts or self._is_closing:
            request.deferred.errback(Unavailable(self.mistrusts or f"the {self.what} is closed"))
            return request.deferred
        # Hot path: the thread is woken once a turn, not by the first of those who ask in it, for that one alone.
        self._gathered.append(request)
        self._handing_over.soon()
        return request.deferred

    def close(self) -> Deferred[None]:
        """Finish what was submitted, and end the thread."""
        if not self._is_closing:
            self._is_closing = True
            self._handing_over.now()
            self._waiting.put(None)
        return self._closed

    def _hand_over(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._waiting.put(gathered)

    def _deliver(self, requests: list[Asked], news: Any) -> None:
        self._untold.append((requests, news))
        if len(self._untold) == 1:
            self._tell(0)

    def _tell(self, start: int) -> None:
        """Each that is answered has a session that goes on now: others want to be heard in between."""
        requests, news = self._untold[0]
        for request in requests[start : start + AT_ONCE]:
            if request.deferred.called:
                continue  # it was cancelled: nobody waits any more
            if isinstance(request.answer, BaseException):
                request.deferred.errback(Failure(request.answer))
            else:
                request.deferred.callback(request.answer)
        if start + AT_ONCE < len(requests):
            self._reactor.callFromThread(self._tell, start + AT_ONCE)
            return
        self._untold.popleft()
        if news:
            self.heard(news)
        if self._untold:
            self._reactor.callFromThread(self._tell, 0)

    def _ended(self) -> None:
        if self._untold:
            self._reactor.callFromThread(self._ended)  # behind those who still have no answer
        else:
            self._closed.callback(None)

    # --- in the thread -----------------------------------------------------------------------------------------------

    def mistrust(self, why: Mistrusted) -> None:
        """Nothing is written any more; reading goes on. In any thread."""
        if not self.mistrusts:
            self.mistrusts = f"read-only until it is opened again: {why}"
            self.log.critical("{what} is read-only until it is opened again: {why}", what=self.what, why=str(why))

    def keep_house(self) -> bool:
        """Tidy until somebody waits for a commit; answers whether there is more to do."""
        self._counts.housekeeping.value += 1
        try:
            while self.tidy():
                if not self._waiting.empty() or self._is_closing:
                    return True
        except Exception:
            self.log.failure("{what}: housekeeping failed; it is tried again later", what=self.what)
            self.roll_back_well()
        return False

    def roll_back_well(self) -> None:
        """`roll_back`, after which nothing is trusted where it fails."""
        try:
            self.roll_back()
        except sqlite3.Error as error:
            self.mistrust(Mistrusted(f"rollback failed: {error}"))

    def fail(self, requests: Sequence[Asked], trouble: Callable[[], MailError]) -> None:
        """The same answer for all, each an exception of its own."""
        self._counts.failures.value += 1
        for request in requests:
            request.answer = trouble()

    def trouble(self, error: Exception) -> Callable[[], MailError]:
        """What a transaction that was given up means to those who wait for it."""
        name = getattr(error, "sqlite_errorname", "")
        text = f"{name} {error}"
        if name == "SQLITE_FULL":
            self.log.warn("{what}: the disk is full, nothing was changed", what=self.what)
            return lambda: OverQuota("the disk is full")
        if "FSYNC" in name:
            self.mistrust(Mistrusted(text))
        self.log.error("{what}: a batch was given up, nothing was changed: {text}", what=self.what, text=text)
        return lambda: Unavailable(text)

    def _is_read_only(self) -> dict[str, float]:
        return {self.what: 1.0 if self.mistrusts else 0.0}

    def _live(self) -> None:
        due = time.monotonic() + self._first
        is_last = False
        while not is_last:
            requests: list[Asked] = []
            try:
                some = self._waiting.get(timeout=max(0.0, due - time.monotonic()))
                while some is not None:
                    requests += some
                    if len(requests) >= LONGEST:
                        break
                    some = self._waiting.get_nowait()
                is_last = some is None
            except Empty:
                pass
            if requests:
                began = time.monotonic()
                news = self.do(requests)
                self._counts.count(len(requests), time.monotonic() - began)
                self._reactor.callFromThread(self._deliver, requests, news)
            if time.monotonic() >= due:
                due = time.monotonic() + self._interval
                if not self.mistrusts and not self._is_closing and self.keep_house():
                    due = time.monotonic() + min(SOON, self._interval)
            requests = []  # no octets are held while we wait
        try:
            self.end()
        except (Mistrusted, sqlite3.Error):
            self.log.failure("{what} did not close cleanly", what=self.what)
        self._reactor.callFromThread(self._ended)
