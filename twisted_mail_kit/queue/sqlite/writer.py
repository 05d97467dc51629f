"""The writer: one thread a spool, in which all who wait share the next transaction, and its sync."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.errors import MailError, OverQuota, Unavailable
from twisted_mail_kit.queue.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.segments import Mistrusted

LONGEST = 1000
"""Requests in one transaction."""
SPENT = (sqlite3.OperationalError, sqlite3.InternalError)
"""After these, the transaction is over. So it is after a bare DatabaseError; its other kinds are one request's own."""

T = TypeVar("T")
Job = Callable[[Batch], Any]


class Request:
    """Somebody waits for this."""

    __slots__ = ("answer", "deferred", "is_durable", "job")

    def __init__(self, job: Job, is_durable: bool) -> None:
        self.job = job
        self.is_durable = is_durable
        self.answer: Any = None
        """What comes of it; an exception is raised to whoever waits."""
        self.deferred: Deferred[Any] = Deferred()


class Writer:
    """Takes requests in the reactor thread, does them in its own."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        batch: Batch,
        interval: float,
        tidy: Callable[[Batch], bool],
        removed: Callable[[list[int]], None],
    ) -> None:
        self.mistrusts = ""
        """Why nothing is written any more; empty while all is well."""
        self._reactor = reactor
        self._batch = batch
        self._interval = interval
        self._tidy = tidy
        self._removed = removed
        self._waiting: list[Request] = []
        self._bell = threading.Condition()
        self._is_closing = False
        self._closed: Deferred[None] = Deferred()
        self._thread = threading.Thread(target=self._live, name="mail spool writer", daemon=True)

    # --- in the reactor thread ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work; with housekeeping."""
        self._thread.start()

    def submit(self, job: Callable[[Batch], T], is_durable: bool = True) -> Deferred[T]:
        """Do it with the next transaction. What is durable has survived a power cut when the answer comes."""
        request = Request(job, is_durable)
        if self.mistrusts or self._is_closing:
            request.deferred.errback(Unavailable(self.mistrusts or "the spool is closed"))
            return request.deferred
        with self._bell:
            self._waiting.append(request)
            self._bell.notify()
        return request.deferred

    def close(self) -> Deferred[None]:
        """Finish what was submitted, and end the thread."""
        with self._bell:
            self._is_closing = True
            self._bell.notify()
        return self._closed

    def _deliver(self, requests: list[Request]) -> None:
        for request in requests:
            if request.deferred.called:
                continue  # it was cancelled: nobody waits any more
            if isinstance(request.answer, BaseException):
                request.deferred.errback(Failure(request.answer))
            else:
                request.deferred.callback(request.answer)

    # --- in the writer's thread --------------------------------------------------------------------------------------

    def mistrust(self, why: Mistrusted) -> None:
        """Nothing is written any more; reading goes on. In any thread."""
        if not self.mistrusts:
            self.mistrusts = f"read-only until it is opened again: {why}"
            self.log.critical("queue is read-only until it is opened again: {why}", why=str(why))

    def keep_house(self) -> None:
        """Let what is old be forgotten, a piece at a time."""
        try:
            while self._tidy(self._batch) and not self._waiting and not self._is_closing:
                pass
        except Exception:
            self.log.failure("queue: housekeeping failed; it is tried again later")
            self._roll_back()

    def _live(self) -> None:
        due = time.monotonic()
        while True:
            with self._bell:
                if not self._waiting and not self._is_closing:
                    self._bell.wait(max(0.0, due - time.monotonic()))
                requests, self._waiting = self._waiting[:LONGEST], self._waiting[LONGEST:]
                if not requests and self._is_closing:
                    break
            if requests:
                self._do(requests)
                self._reactor.callFromThread(self._deliver, requests)
            if time.monotonic() >= due:
                due = time.monotonic() + self._interval
                if not self.mistrusts and not self._is_closing:
                    self.keep_house()
            requests = []  # no octets are held while we wait
        try:
            self._batch.connection.close()
        except sqlite3.Error:
            self.log.failure("queue did not close cleanly")
        self._reactor.callFromThread(self._closed.callback, None)

    def _do(self, requests: list[Request]) -> None:
        """Answer all of them; what could not be done has an exception for an answer."""
        if self.mistrusts:
            self._fail(requests, lambda: Unavailable(self.mistrusts))
            return
        batch = self._batch
        try:
            batch.begin(any(request.is_durable for request in requests))
            for request in requests:
                try:
                    request.answer = request.job(batch)
                except MailError as error:
                    request.answer = error
            dead = batch.commit()
        except Exception as error:
            self._roll_back()
            if isinstance(error, SPENT) or type(error) is sqlite3.DatabaseError:
                self._fail(requests, self._trouble(error))
            elif len(requests) == 1:
                requests[0].answer = error
            else:  # one of them cannot be done: it shall be the only one
                for request in requests:
                    self._do([request])
        else:
            if dead:
                self._removed(dead)

    def _roll_back(self) -> None:
        try:
            self._batch.rollback()
        except sqlite3.Error as error:
            self.mistrust(Mistrusted(f"rollback failed: {error}"))

    def _fail(self, requests: list[Request], trouble: Callable[[], MailError]) -> None:
        for request in requests:
            request.answer = trouble()

    def _trouble(self, error: Exception) -> Callable[[], MailError]:
        name = getattr(error, "sqlite_errorname", "")
        text = f"{name} {error}"
        if name == "SQLITE_FULL":
            self.log.warn("queue: the disk is full, nothing was changed")
            return lambda: OverQuota("the disk is full")
        if "FSYNC" in name:
            self.mistrust(Mistrusted(text))
        self.log.error("queue: a transaction was given up, nothing was changed: {text}", text=text)
        return lambda: Unavailable(text)
