"""The embedded store alone: what a message costs it, by how many are written at once."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.effort import Effort
from bench.table import Table, note, percentile
from bench.text import message_of

ROWS = ((2_000, 1), (2_000, 20), (2_000, 100), (50_000, 1), (50_000, 20), (1_000_000, 1), (1_000_000, 20))
"""Octets a message, and how many are on their way at any time."""
PIECE = 64 * 1024
"""Octets as a session hands them on."""
SUMMARY = b"s" * 450
"""As long as an ordinary message's."""


class Loader:
    """Delivers as `delivery/local.py` does: a shared blob, then one `apply` with a token."""

    def __init__(self, reactor: Any, store: Any, account: Any, inbox: str) -> None:
        self.reactor = reactor
        self.store = store
        self.account = account
        self.inbox = inbox
        self.delivered = 0
        self.waits: list[float] = []

    async def deliver(self, pieces: list[bytes], size: int) -> None:
        """One message."""
        from twisted_mail_kit.mail.operations import Add
        from twisted_mail_kit.mail.trace import new_trace_id

        began = time.monotonic()
        writer = self.store.new_blob(size)
        for piece in pieces:
            await writer.write(piece)
        add = Add(self.inbox, await writer.commit(), int(self.reactor.seconds()), SUMMARY)
        await self.account.apply([add], token=f"{new_trace_id(self.reactor.seconds())}:{self.account.name}")
        self.waits.append(time.monotonic() - began)
        self.delivered += 1

    async def session(self, messages: list[list[bytes]], size: int, until: float) -> None:
        """One message after the other."""
        while time.monotonic() < until:
            await self.deliver(messages[self.delivered % len(messages)], size)


async def _measure(reactor: Any, folder: Path, effort: Effort, answers: Any) -> None:
    from twisted.internet.defer import Deferred, gatherResults

    from twisted_mail_kit.stores.sqlite import SQLiteStore

    store = SQLiteStore(folder, reactor)
    writer = time.pthread_getcpuclockid(store.writer._thread.ident or 0)
    for size, sessions in ROWS:
        messages = []
        for _ in range(20 if size > PIECE else 200):
            whole = message_of(size)
            messages.append([whole[at : at + PIECE] for at in range(0, len(whole), PIECE)])
        # A mailbox that has some messages already, as most have.
        account = await store.open_account(f"u{size}-{sessions}@example.org", create=True)
        (inbox,) = await account.mailboxes()
        loader = Loader(reactor, store, account, inbox.id)
        for seconds in (effort.seconds / 5, effort.seconds):
            loader.delivered, loader.waits = 0, []
            before, at_writer, began = (
                resource.getrusage(resource.RUSAGE_SELF),
                time.clock_gettime(writer),
                time.monotonic(),
            )
            until = began + seconds
            await gatherResults(
                [Deferred.fromCoroutine(loader.session(messages, size, until)) for _ in range(sessions)]
            )
            after, at_writer, took = (
                resource.getrusage(resource.RUSAGE_SELF),
                time.clock_gettime(writer) - at_writer,
                time.monotonic() - began,
            )
        count = loader.delivered
        user, system = (after.ru_utime - before.ru_utime) / count, (after.ru_stime - before.ru_stime) / count
        answers.put((size, sessions, count / took, user, system, at_writer / count, percentile(loader.waits, 99)))
    await store.close()


def _in_a_process(folder: Path, effort: Effort, answers: Any) -> None:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    try:
        react(lambda reactor: Deferred.fromCoroutine(_measure(reactor, folder, effort, answers)))
    except SystemExit as end:
        if end.code:
            raise


def store(effort: Effort) -> None:
    """The embedded store's share of a message that comes in, in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    found: dict[tuple[int, int], list[tuple[float, ...]]] = defaultdict(list)
    for _ in range(effort.rounds):
        folder = Path(tempfile.mkdtemp(prefix="mailkit-store-"))
        try:
            answers = spawn.SimpleQueue()
            process = spawn.Process(target=_in_a_process, args=(folder / "store", effort, answers))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit("the measurement failed")
            while not answers.empty():
                size, sessions, *numbers = answers.get()
                found[size, sessions].append(tuple(numbers))
        finally:
            shutil.rmtree(folder)
    table = Table("the store alone", "messages/s", "CPU a message", "of that system", "of that writer", "p99")
    for (size, sessions), rounds in found.items():
        rate, user, system, writer, late = (statistics.median(column) for column in zip(*rounds, strict=True))
        what = f"{size // 1_000_000} MB" if size >= 1_000_000 else f"{size // 1_000} KB"
        table.row(
            f"{what}, {sessions} at once",
            f"{rate:,.0f}",
            f"{(user + system) * 1e6:,.0f} us",
            f"{system * 1e6:,.0f} us",
            f"{writer * 1e6:,.0f} us",
            f"{late * 1000:.1f} ms",
        )
    note("No session and no pipeline: octets that are there already go into the store as local delivery puts them.")
