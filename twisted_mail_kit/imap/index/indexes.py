"""The indexes of a listener's mailboxes: what they may hold in memory and on the disk, and who learns when."""

from __future__ import annotations

import hashlib
import platform
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twisted_mail_kit.imap.index import words
from twisted_mail_kit.imap.index.block import Damaged
from twisted_mail_kit.imap.index.learning import Reading, Summarize
from twisted_mail_kit.imap.index.mailbox import MailboxIndex
from twisted_mail_kit.imap.index.program import program_of
from twisted_mail_kit.imap.index.shelf import Shelf, sweep
from twisted_mail_kit.imap.turns import Turns
from twisted_mail_kit.imap.wire.commands import SearchKey
from twisted_mail_kit.mail import summary
from twisted_mail_kit.mail.part import ScanLimits

if TYPE_CHECKING:
    from twisted_mail_kit.imap.model import OpenMailbox
    from twisted_mail_kit.imap.server import OpenAccount

FEW = 64
"""So few messages are looked at as quickly as an index is asked, or learned."""
LITTLE = 256 * 1024
"""The same of their octets."""
PAUSE = 0.005
"""Seconds after each page that is learned, so that others have half of the time at least."""
_PATIENCE = 100
"""Pauses that a page waits for those who search just now."""
_SWEEP = 64
"""Blocks that are written between two looks at how much room all of them take."""
_DAY = 86_400.0


class Indexes:
    """By account, mailbox and UIDVALIDITY; used last is last."""

    log = Logger()

    def __init__(
        self, clock: Any, memory: int, disk: int, folder: Path | None, limits: ScanLimits, summarize: Summarize
    ) -> None:
        self.most = memory
        """Octets in memory; 0: there are no indexes."""
        self.folder = folder if disk else None
        """Where blocks are kept; None: in memory."""
        self._clock = clock
        self._disk = disk
        self._summarize = summarize
        # What makes the same message another text: each is part of the name.
        self._form = (words.VERSION, summary.VERSION, platform.python_version(), repr(limits))
        self._indexes: OrderedDict[bytes, MailboxIndex] = OrderedDict()
        self._touched: dict[bytes, float] = {}
        self._waiting: OrderedDict[bytes, tuple[OpenAccount, OpenMailbox]] = OrderedDict()
        self._is_learning = False
        self._searching = 0
        """How many wait for an answer."""
        self._written = 0
        self._has_complained = False

    @property
    def octets(self) -> int:
        """In memory, about."""
        return sum(index.octets for index in self._indexes.values())

    async def search(
        self,
        home: OpenAccount,
        model: OpenMailbox,
        uids: Sequence[int],
        key: SearchKey,
        look_at: Callable[[Sequence[int]], Awaitable[list[int]]],
        most: float,
    ) -> list[int]:
        """Those of these messages (ascending) that match. `look_at` reads what it is given, and tells the same; it is
        given those of which an index cannot tell. To look at more than that share of all, here and there, takes
        longer than to look at all in a row."""
        self._searching += 1
        try:
            program = program_of(key) if self.most and len(uids) >= FEW else None
            if program is None:
                return await look_at(uids)
            turns = Turns(self._clock)
            turns.begin()
            identity = self._identity(model)
            index = self._index(identity)
            await index.look_at_files(model, turns.give)
            look, sure = await index.sift(uids, program, turns.give, most)
            found = await look_at(look)
        finally:
            self._searching -= 1
        self._learn_when_worth_it(identity, index, home, model)
        return sorted([*found, *sure]) if sure else found

    # --- inside ------------------------------------------------------------------------------------------------------

    def _learn_when_worth_it(self, identity: bytes, index: MailboxIndex, home: OpenAccount, model: OpenMailbox) -> None:
        if self._is_worth_learning(index, model):
            self._waiting[identity] = home, model
            if not self._is_learning:
                self._is_learning = True
                Deferred.fromCoroutine(self._learn())

    def _identity(self, model: OpenMailbox) -> bytes:
        mailbox = model.mailbox
        whose = (model.account.name, mailbox.id, mailbox.uidvalidity, *self._form)
        return hashlib.sha256(repr(whose).encode("utf-8", "surrogatepass")).digest()[:16]

    def _index(self, identity: bytes) -> MailboxIndex:
        index = self._indexes.get(identity)
        if index is None:
            shelf = Shelf(self.folder, identity) if self.folder is not None else None
            index = self._indexes[identity] = MailboxIndex(identity, shelf, self._in_thread)
        self._indexes.move_to_end(identity)
        now = self._clock.seconds()
        if index.shelf is not None and now - self._touched.get(identity, 0.0) > _DAY:
            self._touched[identity] = now
            index.shelf.touch()
        return index

    def _is_worth_learning(self, index: MailboxIndex, model: OpenMailbox) -> bool:
        new = index.unknown(model, FEW)
        if len(new) < FEW and sum(model.sizes[at] for at in model.places(new)) <= LITTLE:
            return False
        # What makes no block is in memory only, and soon forgotten where many mailboxes are searched in: it is learned
        # for who searches a second time.
        return index.searches > 1 or index.count_unknown(model) >= index.tail.room

    async def _learn(self) -> None:
        """All that waits, in turns; with the session that asked it ends."""
        try:
            while self._waiting:
                identity, (home, model) = self._waiting.popitem(last=False)
                try:
                    await self._learn_one(identity, home, model)
                except Exception:
                    if home.open.get(model.mailbox.id) is model:
                        self.log.failure("a mailbox of {account} could not be indexed", account=model.account.name)
        finally:
            self._is_learning = False

    async def _learn_one(self, identity: bytes, home: OpenAccount, model: OpenMailbox) -> None:
        index = self._index(identity)
        reading = Reading(model, index, self._summarize, self._in_thread)
        turns = Turns(self._clock)
        while True:
            await self._rest()
            for _ in range(_PATIENCE):
                if not self._searching:
                    break
                await self._rest()
            turns.begin()
            if home.open.get(model.mailbox.id) is not model or model.is_gone:
                return
            if not self._make_room(identity, index) or not await reading.page(turns.give):
                return
            if index.tail.room:
                continue
            if self._waiting:
                # A mailbox of a million takes minutes: others have their turn after each block.
                self._waiting[identity] = home, model
            try:
                if await index.seal(self._rest):
                    self._has_complained = False
                    await self._sweep_now_and_then()
            except (OSError, Damaged) as problem:
                if not self._has_complained:
                    self._has_complained = True
                    self.log.warn("no index for SEARCH can be kept in {folder}: {e}", folder=self.folder, e=problem)
            if identity in self._waiting:
                return

    async def _rest(self) -> None:
        await deferLater(self._clock, PAUSE)

    def _make_room(self, identity: bytes, index: MailboxIndex) -> bool:
        """Forget those that were used least lately. False: this one alone holds all that may be held."""
        while self.octets > self.most:
            least = next(iter(self._indexes))
            if least == identity:
                return False
            del self._indexes[least]
            self._touched.pop(least, None)
        return self._indexes.get(identity) is index

    async def _sweep_now_and_then(self) -> None:
        self._written += 1
        if self._written % _SWEEP == 1 and self.folder is not None:
            removed = await self._in_thread(sweep, self.folder, self._disk, self._clock.seconds())
            if removed:
                self.log.info("{removed} indexes for SEARCH were removed, to be made again", removed=removed)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if not IReactorThreads.providedBy(self._clock):
            return function(*arguments)
        waiting: Awaitable[Any] = deferToThreadPool(self._clock, self._clock.getThreadPool(), function, *arguments)
        return await waiting
