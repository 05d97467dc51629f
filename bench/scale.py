"""A store with a mailbox of 1,000,000 and 100,000 accounts: what each question costs, and who is held up meanwhile."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.effort import Effort
from bench.scale_imap import scale_imap
from bench.table import Table

ADDS = 5_000
"""Messages in one `apply`."""
SUMMARY = b"s" * 500


def memory() -> int:
    """Octets of this process that are nobody else's and no file's: the index is read through a mapping of its file."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise LookupError("Pss_Anon")


class Watch:
    """Looks how long the reactor was away, and prints rows of the table."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.longest = 0.0
        self._last = time.monotonic()
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self.reactor.callLater(0.001, self._tick)

    @contextmanager
    def row(self, what: str, many: int = 1) -> Iterator[None]:
        """One thing that is measured; `many` are done at once."""
        self.longest, self._last = 0.0, time.monotonic()
        began, cpu = time.monotonic(), time.process_time()
        yield
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        held = max(self.longest, time.monotonic() - self._last) * 1000
        each = f"{seconds / many * 1e6:.1f} us" if many > 1 else ""
        print(
            f"| {what} | {seconds * 1000:,.1f} ms | {each} | {cpu:.2f} s | {held:.0f} ms | {memory() / 1e6:.0f} MB |",
            flush=True,
        )


async def _measure(reactor: Any, folder: Path, effort: Effort) -> None:
    messages, accounts = effort.million, effort.accounts
    from twisted.internet.defer import Deferred, gatherResults

    from twisted_mail_kit.imap.model import OpenMailbox
    from twisted_mail_kit.imap.turns import Turns, next_turn
    from twisted_mail_kit.imap.view import View
    from twisted_mail_kit.mail.operations import Add, CreateMailbox, DeleteMailbox, Move, Remove, SetFlags
    from twisted_mail_kit.stores.sqlite import SQLiteStore

    store = SQLiteStore(folder, reactor)
    watch = Watch(reactor)
    account = await store.open_account("joe@example.org", create=True)
    (inbox,) = await account.mailboxes()
    writer = account.new_blob()
    await writer.write(b"Subject: one for all\r\n\r\n" + b"x" * 2000)
    blob_id = await writer.commit()
    with watch.row(f"{accounts:,} accounts made, 1,000 at a time", accounts):
        for start in range(0, accounts, 1000):
            names = [f"user{number}@example.org" for number in range(start, start + 1000)]
            opening = []
            for name in names:
                opening.append(Deferred.fromCoroutine(store.open_account(name, create=True)))
                if len(opening) % 50 == 0:
                    await next_turn(reactor)  # as connections would ask
            await gatherResults(opening)
    with watch.row(f"{messages:,} added, {ADDS:,} an apply", messages):
        for start in range(0, messages, ADDS):
            await account.apply(
                [Add(inbox.id, blob_id, 1_700_000_000 + start + number, SUMMARY) for number in range(ADDS)]
            )
    await store.close()
    shutil.copytree(folder, folder.with_name("imap"))
    store = SQLiteStore(folder, reactor)
    account = await store.open_account("joe@example.org")
    state = await account.state()

    async def often(what: str, question: Callable[[int], Awaitable[Any]]) -> None:
        with watch.row(what, 1000):
            for number in range(1000):
                await question(number)

    step = messages // 1000
    await often("open_account", lambda n: store.open_account(f"user{n * (accounts // 1000)}@example.org"))
    await often("state", lambda n: account.state())
    await often("mailboxes", lambda n: account.mailboxes())
    await often("messages: one by UID", lambda n: account.messages(inbox.id, [n * step + 1]))
    await often("changes: none", lambda n: account.changes(state))
    with watch.row("messages: a page of 1,000 in the middle", 1000):
        await account.messages(inbox.id, after=messages // 2)
    with watch.row("messages: all, 1,000 a page", messages):
        after = 0
        while page := await account.messages(inbox.id, after=after):
            after = page[-1].uid
    for what, since in (("all", 0), ("the last 10,000", state - 10_000 // ADDS)):
        with watch.row(f"changes: {what}, 1,000 a page"):
            more = True
            while more:
                changes = await account.changes(since)
                since, more = changes.until, changes.more
    one = SetFlags(inbox.id, [messages // 2], add=frozenset({r"\Flagged"}))
    with watch.row("SetFlags: one"):
        await account.apply([one])
    with watch.row("changes: that one"):
        await account.changes(state, inbox.id)

    def no_watch(*_: object) -> Callable[[], None]:
        return lambda: None

    before = memory()
    model = OpenMailbox(account, (await account.mailboxes())[0], no_watch, Turns(reactor))
    with watch.row("SELECT: the view that all sessions share", messages):
        await model.refresh()
        view = View(model, False)
        assert view.exists == messages
    grown = memory() - before
    each, besides = model.octets / messages, grown / messages
    print(f"| of that, in columns | {each:.0f} octets a message, {besides:.0f} grown | | | | |")
    with watch.row("NOOP after one flag was set"):
        await account.apply([SetFlags(inbox.id, [5], add=frozenset({r"\Flagged"}))])
        await model.refresh()
    view.close()
    everything = range(1, messages + 1)
    with watch.row("SetFlags: all", messages):
        await account.apply([SetFlags(inbox.id, everything, add=frozenset({r"\Seen"}))])
    await account.apply([CreateMailbox(("Trash",))])
    trash = next(box.id for box in await account.mailboxes() if box.id != inbox.id)
    with watch.row("Move: half", messages // 2):
        await account.apply([Move(inbox.id, everything[: messages // 2], trash)])
    with watch.row("Remove: the other half", messages // 2):
        await account.apply([Remove(inbox.id, everything)])
    with watch.row("DeleteMailbox: half"):
        await account.apply([DeleteMailbox(trash)])
    with watch.row("housekeeping after that, while others write", messages // 2):
        await store.keep_house()
    with watch.row("an apply just afterwards"):
        await account.apply([Add(inbox.id, blob_id, 0, SUMMARY)])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"| the store's directory | {size / 1e6:,.0f} MB | | | | |")
    with watch.row("close"):
        await store.close()
    with watch.row("open again"):
        store = SQLiteStore(folder, reactor)
    await store.close()


def _in_a_process(folder: Path, effort: Effort) -> None:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    try:
        react(lambda reactor: Deferred.fromCoroutine(_measure(reactor, folder, effort)))
    except SystemExit as end:
        if end.code:
            raise


def scale(effort: Effort) -> None:
    """The embedded store at its promised size, in a process of its own."""
    what = f"{effort.million:,} messages in a mailbox, {effort.accounts:,} accounts"
    Table(what, "time", "each", "CPU", "reactor held up", "memory")
    folder = Path(tempfile.mkdtemp(prefix="mailkit-scale-"))
    try:
        process = multiprocessing.get_context("spawn").Process(target=_in_a_process, args=(folder / "store", effort))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit("the measurement failed")
        print()
        scale_imap(folder / "imap", effort)
    finally:
        shutil.rmtree(folder)
