"""What a child process does to a store on a failing disk: one small scenario, with a fault at every call in turn."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import traceback
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TakesTooLong

from twisted_mail_kit.errors import MailError, OverQuota, Unavailable
from twisted_mail_kit.interfaces import (
    Add,
    Applied,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    IAccount,
    IMailStore,
    Move,
    Operation,
    Remove,
    SetFlags,
)
from twisted_mail_kit.testing.contracts.promise import finished, running_reactor
from twisted_mail_kit.testing.contracts.shim import NAME, OPEN, ROOM, SYNC, WRITE, Failed, Shim
from twisted_mail_kit.testing.contracts.steps import put_blob, read
from twisted_mail_kit.testing.contracts.witness import Body, Broken, Event, Witness

T = TypeVar("T")
FOR_EVER = 2**30
TEMPORARY = (Unavailable, OverQuota)
ANY = WRITE | SYNC | NAME | OPEN
ERRORS = {"ENOSPC": ROOM | SYNC, "EDQUOT": ROOM | SYNC, "EIO": ANY, "short write": WRITE}
FULL = ("ENOSPC", "EDQUOT")
BODIES = {"small": Body(1, 700), "large": Body(2, 300_000)}


class Point(NamedTuple):
    """One fault: which call fails, how, and whether it goes on failing."""

    error: str
    number: int
    lasts: bool

    def __str__(self) -> str:
        return f"{self.error} at call {self.number}{' and from then on' if self.lasts else ''}"

    @property
    def kinds(self) -> int:
        """A disk that stays full refuses writes, and can still sync what it has taken."""
        return ROOM if self.lasts and self.error in FULL else ERRORS[self.error]

    def begin(self, shim: Shim) -> None:
        """Let the disk fail."""
        last = FOR_EVER if self.lasts else self.number
        shim.fail(self.number, last, getattr(errno, self.error, 0), self.kinds)


async def fail_at_each_call(bench: Any, say: Callable[[str], None], seed: str, points: str) -> None:
    """So many points of all there are, 0: all of them. Says a JSON object for each: what failed, what was wrong."""
    shim, chance, place = Shim(), random.Random(seed), bench.tmp_path
    numbers = count()

    async def play(point: Point) -> tuple[Failed, str]:
        directory = place / f"faults {next(numbers)}"
        directory.mkdir(mode=0o700)
        bench.tmp_path = directory
        shim.journal(directory, None)
        scene = Scene(bench, directory, shim, point)
        wrong = await scene.play()
        if not wrong:
            shutil.rmtree(directory)
        return scene.seen, wrong

    there: dict[str, list[Point]] = {error: [] for error in ERRORS}
    for error, mine in there.items():
        for lasts in (False, True) if error != "short write" else (False,):
            calls = (await play(Point(error, FOR_EVER, lasts)))[0].calls
            mine.extend(Point(error, number, lasts) for number in range(1, calls + 1))
    say(json.dumps({"all": sum(len(mine) for mine in there.values())}))
    share = -(-int(points) // len(there))
    for point in [point for mine in there.values() for point in _some(mine, share, chance)]:
        seen, wrong = await play(point)
        say(json.dumps({"point": str(point), "failed": seen.failed, "first": seen.first, "wrong": wrong}))


def _some(points: list[Point], share: int, chance: random.Random) -> list[Point]:
    return chance.sample(points, min(share, len(points))) if share else points


fail_at_each_call.wants_bench = True  # type: ignore[attr-defined]


class Scene:
    """The scenario, once, in a directory of its own."""

    def __init__(self, bench: Any, directory: Path, shim: Shim, point: Point) -> None:
        self.bench, self.directory, self.shim, self.point = bench, directory, shim, point
        self.witness, self.chance = Witness(), random.Random(1)
        self.seen = Failed(0, 0, 0, "")
        self.is_well = False
        self.name = "alice"
        self.store: IMailStore | None = None

    async def play(self) -> str:
        """Gives what was wrong, in words; empty where all is as it has to be."""
        self.point.begin(self.shim)
        doing = "opening the store"
        try:
            await self._open()
            doing = "making an account"
            account = await self._account()
            for doing, ops in self._steps():
                await self._apply(account, doing, ops)
            doing = "closing the store"
            await self._close()
            self._well()
            doing = "opening the store again"
            await self._open()
            await self._look("after it was opened again", is_read_only=False)
            doing = "writing again"
            account = await self._account()
            await self._apply(account, doing, lambda: self._adds("small"))
            await self._look("after it was written to again")
            await self._close()
        except Broken as error:
            return self._told(f"{doing}: {error}")
        except Exception as error:
            return self._told(f"{doing}: {error!r}{_where(error)}")
        finally:
            self._well()
            if self.store is not None:
                await self._let_go(self.store)
        return ""

    def _told(self, what: str) -> str:
        self._well()
        failed = f"{self.seen.first} failed" if self.seen.failed else "nothing failed"
        return f"{self.point}: {failed}; {what}\n{self.witness.story()}\n    The store is in {self.directory}"

    # --- steps that may fail -----------------------------------------------------------------------------------------

    async def _tried(self, what: Callable[[], Awaitable[T]]) -> T | MailError:
        """Its answer, or the temporary error that it raised."""
        try:
            return await self._within(what)
        except TEMPORARY as error:
            if self.is_well and not self._mistrusts():
                raise Broken(f"the disk is well again, and still {error!r}") from error
            return error
        except TakesTooLong as error:
            raise Broken(f"it hangs: no answer in {self.bench.fault_patience} seconds") from error
        except MailError as error:
            raise Broken(f"{error!r}, which is no temporary error (Unavailable, OverQuota)") from error
        except Exception as error:
            told = f"{error!r}, which is none of errors.py: raise Unavailable or OverQuota{_where(error)}"
            raise Broken(told) from error

    def _mistrusts(self) -> bool:
        """After a failed sync a store may take nothing more until it is opened again."""
        return self.seen.syncs > 0

    async def _within(self, what: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await finished(what())  # type: ignore[no-any-return]

        answer: T = await Deferred.fromCoroutine(run()).addTimeout(self.bench.fault_patience, running_reactor())
        return answer

    async def _let_go(self, store: IMailStore) -> None:
        try:
            await self._within(store.close)
        except Exception:
            pass  # what was wrong is told already

    def _well(self) -> None:
        if not self.is_well:
            self.is_well, self.seen = True, self.shim.well()

    async def _open(self) -> None:
        opened: Any = await self._tried(lambda: self.bench.make_store(self.directory))
        if isinstance(opened, MailError):
            self._well()
            opened = await self._tried(lambda: self.bench.make_store(self.directory))
        self.store = opened

    async def _close(self) -> None:
        store, self.store = self.store, None
        assert store is not None
        await self._tried(store.close)

    async def _account(self) -> IAccount:
        store = self.store
        assert store is not None
        self.witness.hear([Event("making", self.name)])
        account = await self._tried(lambda: store.open_account(self.name, create=True))
        if isinstance(account, MailError):
            account = await self._again(lambda: self._opened().open_account(self.name, create=True))
        if self.name not in self.witness.accounts:
            boxes = await self._asked(account.mailboxes)
            applied = Applied(await self._asked(account.state), tuple(boxes))
            self.witness.hear([Event("made", self.name, applied=applied)])
        return account

    def _opened(self) -> IMailStore:
        assert self.store is not None
        return self.store

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T:
        answer = await self._tried(question)
        return await self._again(question) if isinstance(answer, MailError) else answer

    async def _again(self, what: Callable[[], Awaitable[T]]) -> T:
        """The disk is well again; so has to be the store, where it has seen a sync fail at the latest when it is
        opened again."""
        self._well()
        answer = await self._tried(what)
        if isinstance(answer, MailError):
            await self._reopened()
            answer = await self._tried(what)
            if isinstance(answer, MailError):
                raise Broken(f"the disk is well, the store was opened again, and still {answer!r}") from answer
        return answer

    async def _reopened(self) -> None:
        await self._close()
        await self._open()

    async def _apply(self, account: IAccount, doing: str, ops: Callable[[], Any]) -> None:
        """One apply, and where it failed: that nothing was done, and that it can be done when the disk is well."""
        begun: list[Event] = []

        async def attempt(token: str = f"token of {doing}") -> Applied:
            bodies: dict[str, Body] = {}
            wanted: list[Operation] = []
            mine = await self._opened().open_account(self.name)
            for op in ops():
                if isinstance(op, Add):
                    body = BODIES[op.blob_id]
                    op = Add(op.mailbox_id, await put_blob(mine, body.octets()), 1, b"summary", op.flags)
                    bodies[op.blob_id] = body
                wanted.append(op)
            begun[:] = [Event("begin", self.name, token, tuple(wanted), tuple(bodies.items()))]
            self.witness.hear(begun)
            try:
                applied = await mine.apply(wanted, token=token)
            except BaseException as error:
                self.witness.hear([Event("not", self.name, token, error=repr(error))])
                raise
            if applied.replayed:
                raise Broken("it failed, and was done: its token is known")
            self.witness.hear([Event("done", self.name, token, applied=applied)])
            self.witness.accounts[self.name].settle()
            return applied

        failed = await self._tried(attempt)
        if not isinstance(failed, MailError):
            if not self.is_well and not self.point.lasts and self.shim.has_failed():
                self._well()  # it was borne; what was said has to be true
                await self._reopened()
                await self._look(f"after {doing}, when it was opened again", is_read_only=False)
            return
        await self._reading_goes_on()
        self._well()
        await self._look(f"after it had failed with {failed!r}")
        if not isinstance(await self._tried(attempt), MailError):
            return
        # A sync has failed: nobody can know whether it was done. It may turn out that it was, whole, and by its token.
        await self._reopened()
        self.witness.hear(begun)
        await self._look("after a failed sync, when it was opened again", is_read_only=False)
        if begun and begun[0].token in self.witness.accounts[self.name].answers:
            return
        failed = await self._tried(lambda: attempt(f"token of {doing}, again"))
        if isinstance(failed, MailError):
            raise Broken(f"the disk is well, the store was opened again, and still {failed!r}") from failed

    async def _reading_goes_on(self) -> None:
        """While the disk is full."""
        rows = self.witness.accounts[self.name].rows
        there = [(box, uid) for box, uids in rows.items() for uid in uids]
        if self.is_well or self.point.error not in FULL or not there:
            return
        box, uid = there[0]
        try:
            account = await self._within(lambda: self._opened().open_account(self.name))
            (row,) = await self._within(lambda: account.messages(box, [uid]))
            octets = await self._within(lambda: read(account, row.blob_id))
        except Exception as error:
            raise Broken(f"the disk is full, and nothing can be read: {error!r}") from error
        if octets != rows[box][uid].body.octets():
            raise Broken("the disk is full, and other octets are read")

    async def _look(self, when: str, is_read_only: bool | None = None) -> None:
        try:
            is_read_only = self._mistrusts() if is_read_only is None else is_read_only
            self.witness.to_look_at.add(self.name)
            await self._within(lambda: self.witness.look(self._opened(), self.chance, is_read_only))
        except Broken as error:
            raise Broken(f"{when}: {error}") from error

    # --- what is applied ---------------------------------------------------------------------------------------------

    def _box(self, *name: str) -> str:
        boxes = self.witness.accounts[self.name].boxes
        return next(box for box, facts in boxes.items() if facts[0] == name)

    def _uids(self, *name: str) -> list[int]:
        return sorted(self.witness.accounts[self.name].rows[self._box(*name)])

    def _adds(self, *bodies: str) -> list[Operation]:
        """A blob's id is the name of its octets, until it is written."""
        return [Add(self._box("INBOX"), body, 1, flags=frozenset({"$x"})) for body in bodies]

    def _steps(self) -> Iterator[tuple[str, Callable[[], list[Operation]]]]:
        yield "adding a small message", lambda: self._adds("small")
        yield "adding a large message", lambda: self._adds("large", "small")
        yield (
            "making a mailbox, copying into it",
            lambda: [CreateMailbox(("There",)), Copy(self._box("INBOX"), self._uids("INBOX")[:2], "#0")],
        )
        yield (
            "setting flags, moving, adding",
            lambda: [
                SetFlags(self._box("INBOX"), self._uids("INBOX"), frozenset({"\\Seen"})),
                Move(self._box("INBOX"), self._uids("INBOX")[:1], self._box("There")),
                *self._adds("small", "small"),
            ],
        )
        yield "removing a message", lambda: [Remove(self._box("INBOX"), self._uids("INBOX")[:1])]
        yield "deleting a mailbox", lambda: [DeleteMailbox(self._box("There"))]


def _where(error: BaseException) -> str:
    *_, last = traceback.extract_tb(error.__traceback__)
    return f" ({last.filename}:{last.lineno}, in {last.name})"


async def hold_lock(bench: Any, say: Callable[[str], None]) -> None:
    """Hold the store's lock until the process is killed."""
    held = bench.hold_lock(bench.tmp_path)
    say(f"held by {os.getpid()}")
    await Deferred()
    del held


hold_lock.wants_bench = True  # type: ignore[attr-defined]
