"""What a child process does to measure a store: one large message, or one large mailbox."""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted_mail_kit.interfaces import Add, Copied, Copy, FlagsSet, IMailStore, Operation, Remove, Removed, SetFlags
from twisted_mail_kit.testing.contracts.promise import running_reactor
from twisted_mail_kit.testing.contracts.steps import create, inbox, mailbox, put_blob
from twisted_mail_kit.testing.contracts.streaming import MEGA, checksum

Say = Callable[[str], None]
PIECE = 64 * 1024
PAGE = 1000
TICK = 0.01


async def large_message(store: IMailStore, say: Say, size_said: str) -> None:
    """Write it in pieces, read it in pieces."""
    size, account = int(size_said), await store.open_account("alice", create=True)
    box, lags = await inbox(account), Lags()
    pattern = random.Random(1).randbytes(MEGA + PIECE)
    await account.apply([Add(box.id, await put_blob(account, pattern), 1)])  # what grows once has grown now

    memory, written, writer = Memory(), 0, account.new_blob(size)
    async with lags.of("writing"):
        for start in range(0, size, PIECE):
            place = start // PIECE * 4099 % MEGA
            piece = pattern[place : place + min(PIECE, size - start)]
            written = checksum(piece, written)
            await writer.write(piece)
        await account.apply([Add(box.id, await writer.commit(), 1)])
    say(json.dumps({"written": written, "grown by writing": memory.grown()}))

    row = (await account.messages(box.id))[-1]
    memory, came, offset = Memory(), 0, 0
    async with lags.of("reading"):
        while octets := await account.read_blob(row.blob_id, offset, PIECE):
            came, offset = checksum(octets, came), offset + len(octets)
    say(json.dumps({"read": came, "size": row.size, "grown by reading": memory.grown(), "lags": lags.longest}))


async def large_mailbox(store: IMailStore, say: Say, many_said: str) -> None:
    """Fill it, page through it, flag, copy and remove all of it."""
    many, account = int(many_said), await store.open_account("alice", create=True)
    box, there, lags = await inbox(account), await create(account, "There"), Lags()
    blobs = [await put_blob(account, b"message %d" % number) for number in range(10)]
    await account.apply([Add(there.id, blob, 1) for blob in blobs])
    memory, since = Memory(), await account.state()
    times: dict[str, list[float]] = {"adding": [], "listing": [], "telling": []}

    async with lags.of("adding"):
        for start in range(0, many, PAGE):
            ops = [Add(box.id, blobs[number % 10], 1) for number in range(start, min(start + PAGE, many))]
            began = time.perf_counter()
            await account.apply(ops)
            times["adding"].append(time.perf_counter() - began)
    uids: list[int] = []
    async with lags.of("listing"):
        while True:
            began = time.perf_counter()
            page = await account.messages(box.id, after=uids[-1] if uids else 0, limit=PAGE)
            times["listing"].append(time.perf_counter() - began)
            uids.extend(row.uid for row in page)
            if len(page) < PAGE:
                break
    told = 0
    async with lags.of("telling"):
        while True:
            began = time.perf_counter()
            changes = await account.changes(since, limit=PAGE)
            times["telling"].append(time.perf_counter() - began)
            told, since = told + len(changes.messages), changes.until
            if not changes.more:
                break
    done = {"flagged": 0, "copied": 0, "removed": 0}
    for what, make in (
        ("flagged", lambda some: SetFlags(box.id, some, add=frozenset({"\\Seen"}))),
        ("copied", lambda some: Copy(box.id, some, there.id)),
        ("removed", lambda some: Remove(box.id, some)),
    ):
        async with lags.of(what):
            for start in range(0, len(uids), 10 * PAGE):
                op: Operation = make(uids[start : start + 10 * PAGE])
                (result,) = (await account.apply([op])).results
                done[what] += _how_many(result)
    left = (await mailbox(account, there.id)).total - len(blobs)
    say(json.dumps({"listed": len(uids), "told": told, **done, "left": left, "grown": memory.grown()}))
    say(json.dumps({"lags": lags.longest, **{f"times of {what}": each for what, each in times.items()}}))


def _how_many(result: Any) -> int:
    match result:
        case FlagsSet():
            return len(result.changed)
        case Copied():
            return len(result.pairs)
        case Removed():
            return len(result.uids)
    raise AssertionError(result)


class Memory:
    """How much this process has grown, at its largest, since this was made."""

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: see proc(5)
        except OSError:
            pass  # then the peak is that of the whole life, which is more
        self._before = _resident("VmRSS")

    def grown(self) -> int:
        """Octets."""
        return max(0, _resident("VmHWM") - self._before)


def _resident(what: str) -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Lags:
    """For how long the reactor was held up at most, in each of several times."""

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}

    @asynccontextmanager
    async def of(self, what: str) -> AsyncIterator[None]:
        """Look at the reactor meanwhile."""
        reactor = running_reactor()
        self.longest[what] = 0.0
        call: Any
        last = time.perf_counter(), _waited()

        def tick() -> None:
            nonlocal last, call
            now = time.perf_counter(), _waited()
            # What the system gave to other processes is not the store's fault.
            lag = (now[0] - last[0] - TICK) - (now[1] - last[1])
            self.longest[what] = max(self.longest[what], lag)
            last = now
            call = reactor.callLater(TICK, tick)

        call = reactor.callLater(TICK, tick)
        try:
            yield
        finally:
            call.cancel()
            now = time.perf_counter(), _waited()
            self.longest[what] = max(self.longest[what], now[0] - last[0] - TICK - (now[1] - last[1]))


def _waited() -> float:
    """Seconds for which this thread could have run, and another process did (Linux)."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
