"""The spool's writer: one transaction, and one sync, for all who wait."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from twisted_mail_kit.errors import MailError, Unavailable
from twisted_mail_kit.queue.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.groupcommit import GroupCommit, Waiting

SPENT = (sqlite3.OperationalError, sqlite3.InternalError)
"""After these, the transaction is over. So it is after a bare DatabaseError; its other kinds are one request's own."""

T = TypeVar("T")
Job = Callable[[Batch], Any]


class Request(Waiting):
    """Somebody waits for this."""

    __slots__ = ("is_durable", "job")

    def __init__(self, job: Job, is_durable: bool) -> None:
        super().__init__()
        self.job = job
        self.is_durable = is_durable


class Writer(GroupCommit[Request]):
    """The spool's."""

    what = "queue"

    def __init__(
        self,
        reactor: IReactorFromThreads,
        batch: Batch,
        interval: float,
        tidy: Callable[[Batch], bool],
        removed: Callable[[list[int]], None],
    ) -> None:
        super().__init__(reactor, interval, tidies_first=True)
        self._batch = batch
        self._tidy = tidy
        self._removed = removed

    def submit(self, job: Callable[[Batch], T], is_durable: bool = True) -> Deferred[T]:
        """Do it with the next transaction. What is durable has survived a power cut when the answer comes."""
        return self.ask(Request(job, is_durable))

    # --- in the writer's thread --------------------------------------------------------------------------------------

    def do(self, requests: list[Request]) -> None:
        """See GroupCommit."""
        if self.mistrusts:
            self.fail(requests, lambda: Unavailable(self.mistrusts))
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
            self.roll_back_well()
            if isinstance(error, SPENT) or type(error) is sqlite3.DatabaseError:
                self.fail(requests, self.trouble(error))
            elif len(requests) == 1:
                requests[0].answer = error
            else:  # one of them cannot be done: it shall be the only one
                for request in requests:
                    self.do([request])
        else:
            if dead:
                self._removed(dead)

    def tidy(self) -> bool:
        """See GroupCommit."""
        return self._tidy(self._batch)

    def roll_back(self) -> None:
        """See GroupCommit."""
        self._batch.rollback()

    def end(self) -> None:
        """See GroupCommit."""
        self._batch.connection.close()
