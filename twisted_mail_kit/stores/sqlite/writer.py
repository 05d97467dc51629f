"""The store's writer: bodies into segments, then the index, with one pair of syncs for all who wait."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from twisted_mail_kit.errors import OverQuota, StateMismatch, Unavailable
from twisted_mail_kit.mail.facts import Applied
from twisted_mail_kit.mail.operations import Operation
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.blobs import Pending
from twisted_mail_kit.stores.sqlite.files import is_full
from twisted_mail_kit.stores.sqlite.groupcommit import GroupCommit, Waiting
from twisted_mail_kit.stores.sqlite.operations import Work
from twisted_mail_kit.stores.sqlite.segments import Mistrusted, SegmentLog
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

APPENDED_AT_ONCE = 512 * 1024
"""Octets of bodies after which no more are written with the same call. More at once go to larger pages of the system's
cache, which it takes from memory that was not used for long: eight megabytes cost five times as much each as one."""
NO_BLOBS: dict[str, Pending] = {}


class Request(Waiting):
    """Somebody waits for this: operations on an account, or `job`, anything else that writes."""

    __slots__ = ("account", "blobs", "if_state", "job", "keeps_house", "key", "ops", "token")

    def __init__(
        self,
        account: int = 0,
        ops: Sequence[Operation] = (),
        if_state: int | None = None,
        token: str | None = None,
        blobs: dict[str, Pending] = NO_BLOBS,
        job: Callable[[Batch], Any] | None = None,
        keeps_house: bool = False,
    ) -> None:
        super().__init__()
        self.account = account
        self.ops = ops
        self.if_state = if_state
        self.token = token
        self.blobs = blobs
        self.job = job
        self.keeps_house = keeps_house
        self.key = b""


class Writer(GroupCommit[Request]):
    """The store's."""

    what = "mail store"

    def __init__(
        self,
        reactor: IReactorFromThreads,
        batch: Batch,
        segment_log: SegmentLog,
        settings: SQLiteSettings,
        tidy: Callable[[Batch], bool],
        heard: Callable[[dict[str, int]], None],
    ) -> None:
        super().__init__(reactor, settings.housekeeping_interval)
        self._batch = batch
        self._segment_log = segment_log
        self._settings = settings
        self._tidy = tidy
        self._heard = heard

    # --- in the reactor thread ---------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Deferred[Any]:
        """Do it with the next batch; the answer comes when it would survive a power cut."""
        return self.ask(request)

    def heard(self, news: dict[str, int]) -> None:
        """Which accounts have changed."""
        self._heard(news)

    # --- in the writer's thread --------------------------------------------------------------------------------------

    def do(self, requests: list[Request]) -> dict[str, int]:
        """See GroupCommit. Gives which accounts have changed."""
        changed = self._do(requests)
        asked = [request for request in requests if request.keeps_house and request.answer is None]
        if asked and not self.mistrusts:
            more = self.keep_house()
            for request in asked:
                request.answer = more
        return changed

    def tidy(self) -> bool:
        """See GroupCommit."""
        return self._tidy(self._batch)

    def roll_back(self) -> None:
        """See GroupCommit."""
        self._batch.rollback()

    def end(self) -> None:
        """See GroupCommit."""
        if not self.mistrusts:
            self._segment_log.sync()
            self._segment_log.close(self._batch.connection)
        self._batch.connection.close()

    def _do(self, requests: list[Request]) -> dict[str, int]:
        """Answer all of them; what could not be done has an exception for an answer. Says which accounts changed."""
        if self.mistrusts:
            self.fail(requests, lambda: Unavailable(self.mistrusts))
            return {}
        batch = self._batch
        try:
            self._append(requests)
            batch.begin()
            known = self._known_tokens(requests)
            for request in requests:
                request.answer = self._answer(request, known)
            return batch.commit()
        except Mistrusted as error:
            self.mistrust(error)
            self.fail(requests, lambda: Unavailable(self.mistrusts))
        except sqlite3.Error as error:
            trouble = self.trouble(error)
            self.fail(requests, trouble)
        except Exception:
            self.log.failure("mail store: a batch failed")
            self.fail(requests, lambda: Unavailable("a batch failed"))
        self.roll_back_well()
        return {}

    def _append(self, requests: list[Request]) -> None:
        """Write the bodies that are still in memory, and sync. A disk that takes no more is told blob by blob."""
        fresh = {
            id(pending): pending
            for request in requests
            for pending in request.blobs.values()
            if pending.location is None
        }
        waiting = list(fresh.values())
        while waiting:
            some, size = [], 0
            while waiting and size < APPENDED_AT_ONCE:
                pending = waiting.pop()
                some.append(pending)
                size += pending.size
            self._append_some(some[::-1] if not waiting else some)
        self._segment_log.sync()

    def _append_some(self, some: list[Pending]) -> None:
        records = [(pending.number, pending.pieces or ()) for pending in some]
        try:
            locations = self._segment_log.append(self._batch.connection, records)
        except OSError as error:
            text, full = str(error), is_full(error)
            if full:
                self.log.warn("mail store: the disk is full, no message is taken")
            else:
                self.log.error("mail store: a segment could not be written: {text}", text=text)
            for pending in some:
                pending.trouble = lambda: OverQuota("the disk is full") if full else Unavailable(text)
            return
        for pending, location in zip(some, locations, strict=True):
            # In this order: the reactor thread looks at the octets first.
            pending.location = location
            pending.pieces = None

    def _known_tokens(self, requests: list[Request]) -> dict[bytes, str]:
        tokens: dict[bytes, tuple[int, str]] = {}
        for request in requests:
            if request.token is not None:
                request.key = rows.token_key(request.account, request.token)
                tokens[request.key] = request.account, request.token
        return self._batch.known_tokens(tokens, self._settings.token_days) if tokens else {}

    def _answer(self, request: Request, known: dict[bytes, str]) -> Any:
        """What comes of one request; its failure is its own. Raises sqlite3.Error where the whole batch has failed."""
        batch = self._batch
        try:
            if request.keeps_house:
                return None  # when the batch is done
            if request.job is not None:
                return self._careful(request, lambda: request.job(batch) if request.job else None)
            account = batch.account(request.account)
            if request.key:
                answer = batch.new_tokens.get(request.key) or known.get(request.key)
                if answer is not None:
                    return rows.unpack_answer(answer)
            if request.if_state is not None and request.if_state != account.modseq:
                raise StateMismatch(f"{request.if_state} was asked for, {account.modseq} it is")
            work = Work(batch, account, request.blobs, self._settings)
            if work.run_adds(request.ops) or work.run_flags(request.ops):
                return self._finish(request, work)

            def do() -> Applied:
                careful = Work(batch, batch.account(request.account), request.blobs, self._settings)
                careful.run(request.ops)
                return self._finish(request, careful)

            return self._careful(request, do)
        except (sqlite3.OperationalError, sqlite3.InternalError, Mistrusted):
            raise
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:
                raise
            return error
        except Exception as error:
            return error

    def _finish(self, request: Request, work: Work) -> Applied:
        applied = Applied(work.account.modseq, tuple(work.results))
        if request.key:
            self._batch.keep_token(request.key, rows.pack_answer(applied))
        return applied

    def _careful(self, request: Request, action: Callable[[], Any]) -> Any:
        """Do it within a savepoint, so that its failure undoes nothing else."""
        batch = self._batch
        batch.flush()
        changed = dict(batch.changed)
        batch.execute("SAVEPOINT one")
        try:
            answer = action()
            batch.flush()
        except (sqlite3.OperationalError, sqlite3.InternalError, Mistrusted):
            raise
        except BaseException:
            batch.undo(request.account or None, changed, request.key)
            raise
        batch.execute("RELEASE one")
        return answer
