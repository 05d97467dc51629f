"""The index of one mailbox: blocks, the tail, and which messages are in none of them yet."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twisted_mail_kit.imap.index.block import Block, Damaged, pack
from twisted_mail_kit.imap.index.program import Program
from twisted_mail_kit.imap.index.shelf import Shelf
from twisted_mail_kit.imap.index.tail import Tail, mark
from twisted_mail_kit.imap.packed import SLICE, Columns

if TYPE_CHECKING:
    from twisted_mail_kit.imap.model import OpenMailbox

InThread = Callable[..., Awaitable[Any]]
"""``in_thread(function, *arguments)``: what it answers."""

_FEW = 16
"""One in so many is looked up; of more, all are gone through."""
_HEAVY = 64
"""A program of more words is judged in a thread, and not held against the tail."""


class MailboxIndex:
    """What has been learned of one mailbox; every message of which is in a block, or in the tail, or open."""

    log = Logger()

    def __init__(self, identity: bytes, shelf: Shelf | None, in_thread: InThread) -> None:
        self.identity = identity
        self.shelf = shelf
        self.tail = Tail()
        self.blocks: dict[str, Block] = {}
        self.known_to = 0
        """No message with a UID up to this one is unknown, but for those that are open."""
        self.open: set[int] = set()
        """Those that have still to be looked at."""
        self.unreadable: set[int] = set()
        """Those of which nothing can be told: too long, or not to be read when it was tried."""
        self.searches = 0
        """That have asked."""
        self._sealed = 0
        self._in_thread = in_thread
        self._seen = -1
        """`Shelf.changed` when we looked."""
        self._looking = False

    @property
    def octets(self) -> int:
        """In memory, about."""
        waiting = len(self.open) + len(self.unreadable)
        return self.tail.octets + sum(block.octets for block in self.blocks.values()) + 64 * waiting

    # --- asking ------------------------------------------------------------------------------------------------------

    async def sift(
        self, uids: Sequence[int], program: Program, breathe: Callable[[], Awaitable[None]], most: float = 1.0
    ) -> tuple[Sequence[int], list[int]]:
        """Those of these messages (ascending) that have to be looked at, and those that match in any case. Where more
        than that share of all has to be, it is all of them."""
        self.searches += 1
        may: set[int] = self.open | self.unreadable
        does: set[int] = set()
        # Of one moment: what is learned meanwhile counts the next time.
        known_to, blocks = self.known_to, list(self.blocks.items())
        is_heavy = program.weight() > _HEAVY
        if is_heavy:
            may.update(self.tail.uids)
        else:
            its_may, its_does = program.judge(self.tail.find, set(self.tail.uids))
            may |= its_may
            does |= its_does
        for name, block in blocks:
            await breathe()
            try:
                if is_heavy:
                    its_may, its_does = await self._in_thread(_judge, program, block)
                else:
                    its_may, its_does = _judge(program, block)
            except (Damaged, OSError) as problem:
                self._lose(name, problem)
                may.update(block.uids)
            else:
                may |= its_may
                does |= its_does
        stop = bisect_right(uids, known_to)
        look = await _those(uids, stop, may - does, breathe)
        look += uids[stop:]
        if len(look) > most * len(uids):
            return uids, []
        return look, await _those(uids, stop, does, breathe)

    # --- learning ----------------------------------------------------------------------------------------------------

    def unknown(self, columns: Columns, most: int) -> list[int]:
        """At most so many messages that have still to be looked at, ascending."""
        waiting = sorted(self.open)[:most]
        gone = [uid for uid in waiting if columns.index(uid) < 0]
        if gone:
            self.open.difference_update(gone)
            waiting = [uid for uid in waiting if uid in self.open]
        start = bisect_right(columns.uids, self.known_to)
        return [*waiting, *columns.uids[start : start + most - len(waiting)]]

    def count_unknown(self, columns: Columns) -> int:
        """All of them."""
        return len(self.open) + len(columns.uids) - bisect_right(columns.uids, self.known_to)

    def learned(self, uid: int, its_mark: int, rows: Sequence[bytes]) -> None:
        """What one message has in it; no rows: nothing can be told of it."""
        if rows:
            self.tail.add(uid, its_mark, rows)
        else:
            self.unreadable.add(uid)
        self.open.discard(uid)
        self.known_to = max(self.known_to, uid)

    async def seal(self, breathe: Callable[[], Awaitable[None]]) -> bool:
        """Make a block of the tail, if it is full. Answers whether a file was written. Raises OSError, Damaged: none
        could be, and the block is in memory."""
        if self.tail.room:
            return False
        self._sealed += 1
        tail, name, pieces = self.tail, f"in memory {self._sealed}", []
        for piece in pack(tail, self.identity):
            pieces.append(piece)
            await breathe()
        block: Block | None = None
        try:
            if self.shelf is not None:
                name = str(await self._in_thread(self.shelf.write, tail.uids, pieces))
                block = self.shelf.read(name)
        finally:
            self.blocks[name] = block or Block(b"".join(pieces), self.identity)
            self.open.difference_update(tail.uids)
            if self.tail is tail:
                self.tail = Tail()
        return block is not None

    # --- what lies in the files --------------------------------------------------------------------------------------

    async def look_at_files(self, model: OpenMailbox, breathe: Callable[[], Awaitable[None]]) -> None:
        """Take in what is there: of an earlier run, or made by another process meanwhile."""
        if self.shelf is None or self._looking:
            return
        changed = self.shelf.changed()
        if changed == self._seen:
            return
        self._looking, is_first = True, self._seen < 0
        try:
            for name in self.shelf.names():
                if name in self.blocks:
                    continue
                try:
                    self._take_in(name, self.shelf.read(name), model, is_first)
                except (Damaged, OSError) as problem:
                    self._lose(name, problem)
                await breathe()
            if is_first:
                self.shelf.touch()
                changed = self.shelf.changed()
            self._seen = changed
        finally:
            self._looking = False

    def _take_in(self, name: str, block: Block, model: OpenMailbox, is_first: bool) -> None:
        uids = block.uids.tolist()
        there, gone = [], 0
        for uid, its_mark in zip(uids, block.marks, strict=True):
            at = model.index(uid)
            if at < 0:
                gone += uid < model.uidnext
                continue
            there.append(uid)
            if mark(model.sizes[at], model.dates[at]) != its_mark:
                raise Damaged("it is of other messages")
        new = [uid for uid in there if uid > self.known_to or uid in self.open]
        if gone * 2 > len(uids) or (is_first and not new):
            # Most of its messages are gone, and with it goes what it tells of them; or others say all that it says.
            assert self.shelf is not None
            self.shelf.remove(name)
            return
        self.blocks[name] = block
        start = bisect_right(model.uids, self.known_to)
        # Whoever made it may know of later messages than we do: of those not in it we have still to hear.
        self.known_to = max((self.known_to, *there))
        self.open.update(model.uids[start : bisect_right(model.uids, self.known_to)])
        self.open.difference_update(uids)
        self.unreadable.difference_update(uids)
        if len(self.tail.uids) < 2 * len(set(self.tail.uids).intersection(uids)):
            # Another process was quicker: what is in its block need not be in one of ours.
            self.open.update(set(self.tail.uids).difference(uids))
            self.tail = Tail()

    def _lose(self, name: str, problem: Exception) -> None:
        """A block cannot be used: its messages are looked at anew."""
        block = self.blocks.pop(name, None)
        if block is not None:
            self.open.update([uid for uid in block.uids if uid <= self.known_to])
        if isinstance(problem, Damaged) and self.shelf is not None:
            self.log.warn("an index for SEARCH is made anew: {file}: {problem}", file=name, problem=problem)
            self.shelf.remove(name)


def _judge(program: Program, block: Block) -> tuple[set[int], set[int]]:
    with block.looking() as find:
        return program.judge(find, set(block.uids))


async def _those(uids: Sequence[int], stop: int, wanted: set[int], breathe: Callable[[], Awaitable[None]]) -> list[int]:
    """Those of the ascending first `stop` UIDs that are wanted."""
    found: list[int] = []
    if len(wanted) * _FEW < stop:
        for uid in sorted(wanted):
            at = bisect_left(uids, uid, 0, stop)
            if at < stop and uids[at] == uid:
                found.append(uid)
        return found
    for start in range(0, stop, SLICE):
        found += [uid for uid in uids[start : min(start + SLICE, stop)] if uid in wanted]
        await breathe()
    return found
