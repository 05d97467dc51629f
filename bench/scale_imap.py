"""IMAP on a mailbox of a million, while mail goes to other accounts: how long each command takes, whom it holds up."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.effort import Effort
from bench.lines import IMAPLine
from bench.table import Table

PAUSE = 0.02
"""Seconds between two deliveries to others."""
MOST = 1000
"""Accounts that get them in turn."""


def peak() -> int:
    """The most that this process has had in memory since `forget_peak`, in octets."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("VmHWM")


class Served:
    """In a process of its own: the server, the deliveries, and a look at how long the reactor was away."""

    def __init__(self, reactor: Any, folder: Path, control: Connection) -> None:
        from twisted_mail_kit.stores.feed import Feed
        from twisted_mail_kit.stores.sqlite import SQLiteStore

        self.reactor = reactor
        self.control = control
        self.store: Any = SQLiteStore(folder, reactor)
        self.feed = Feed(self.store, reactor)
        self.waits: list[float] = []
        self._count = 0
        self._begin()
        self._tick()
        self._deliver_again()

    async def listen(self) -> int:
        """Answers the port."""
        from twisted.internet.endpoints import serverFromString

        from twisted_mail_kit.imap.factory import make_factory
        from twisted_mail_kit.imap.settings import IMAPSettings
        from twisted_mail_kit.running import settle_memory
        from twisted_mail_kit.testing.fakes import FakeAuthenticator

        account = await self.store.open_account("joe@example.org")
        who = FakeAuthenticator({"joe@example.org": ("secret", account)})
        factory = make_factory("h", who, None, IMAPSettings(), self.reactor, self.feed.watch)
        port = await serverFromString(self.reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        settle_memory()
        return int(port.getHost().port)

    # --- a descriptor that the reactor reads: orders from the one who measures ---------------------------------------

    def fileno(self) -> int:
        return self.control.fileno()

    def logPrefix(self) -> str:
        return "orders"

    def connectionLost(self, reason: object) -> None:
        self.reactor.removeReader(self)

    def doRead(self) -> None:
        from twisted.internet.defer import Deferred

        try:
            order = self.control.recv()
        except EOFError:
            self.reactor.stop()
            return
        if order == "begin":
            self._begin()
            self.control.send(None)
        elif order == "end":
            self.control.send(self._end())
        else:
            done: Deferred[None] = Deferred.fromCoroutine(getattr(self, order)())
            done.addBoth(lambda result: self.control.send(str(result)))

    async def keep_house(self) -> None:
        await self.store.keep_house()

    async def remove(self) -> None:
        await self.store.remove_account("joe@example.org")

    async def list_accounts(self) -> None:
        names = await self.store.account_names()
        while names:
            names = await self.store.account_names(names[-1])

    # --- what is seen ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self.longest = self.longest_own = 0.0
        self._last, self._last_own = time.monotonic(), time.process_time()
        self._cpu = time.process_time()
        self.waits.clear()

    def _end(self) -> tuple[float, float, float, int, list[float]]:
        self._look()
        return self.longest, self.longest_own, time.process_time() - self._cpu, peak(), sorted(self.waits)

    def _look(self) -> None:
        now, own = time.monotonic(), time.process_time()
        self.longest = max(self.longest, now - self._last)
        self.longest_own = max(self.longest_own, own - self._last_own)
        self._last, self._last_own = now, own

    def _tick(self) -> None:
        self._look()
        self.reactor.callLater(0.001, self._tick)

    def _deliver_again(self) -> None:
        from twisted.internet.defer import Deferred

        self.reactor.callLater(PAUSE, self._deliver_again)
        self._count += 1
        Deferred.fromCoroutine(self._deliver(self._count)).addErrback(lambda failure: failure.printTraceback())

    async def _deliver(self, count: int) -> None:
        from twisted_mail_kit.mail.operations import Add

        began = time.monotonic()
        account = await self.store.open_account(f"user{count % MOST}@example.org")
        inbox = next(iter(await account.mailboxes()))
        writer = account.new_blob()
        await writer.write(b"Subject: hello\r\n\r\n" + b"x" * 2000)
        await account.apply([Add(inbox.id, await writer.commit(), 0, b"s" * 300)], token=f"{count} {began}")
        self.waits.append(time.monotonic() - began)


def _serve(folder: Path, control: Connection) -> None:
    from twisted.internet import reactor as _reactor
    from twisted.internet.defer import Deferred

    reactor: Any = _reactor

    def start() -> None:
        served = Served(reactor, folder, control)
        reactor.addReader(served)
        Deferred.fromCoroutine(served.listen()).addCallback(control.send)

    reactor.callWhenRunning(start)
    reactor.run()


class Rows:
    """One row of the table after the other."""

    def __init__(self, control: Connection) -> None:
        self.control = control

    def row(self, what: str, do: Callable[[], object]) -> None:
        self.control.send("begin")
        self.control.recv()
        began = time.monotonic()
        do()
        seconds = time.monotonic() - began
        self.control.send("end")
        longest, own, cpu, most, waits = self.control.recv()
        others = f"{waits[len(waits) // 2] * 1000:.0f} / {waits[len(waits) * 99 // 100] * 1000:.0f} ms" if waits else ""
        print(
            f"| {what} | {seconds:,.2f} s | {cpu:.2f} s | {longest * 1000:.0f} ms | {own * 1000:.0f} ms | {others} |"
            f" {most / 1e6:.0f} MB |",
            flush=True,
        )

    def order(self, name: str) -> Callable[[], object]:
        """Something that the server does by itself."""

        def do() -> None:
            self.control.send(name)
            self.control.recv()

        return do


def scale_imap(folder: Path, effort: Effort) -> None:
    """Two sessions of one account, on a store that `scale` has made."""
    Table(
        f"IMAP, {effort.million:,} messages, deliveries to others meanwhile",
        "time",
        "CPU",
        "reactor held up",
        "CPU of all threads in it, at most",
        "a delivery, p50 / p99",
        "memory, at most",
    )
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, theirs))
    process.start()
    try:
        port = ours.recv()
        rows, one, other = Rows(ours), IMAPLine(port), IMAPLine(port)
        half, tenth = effort.million // 2, effort.million // 10

        def ask(line: IMAPLine, command: str) -> None:
            rows.row(command, lambda: line.drink(command.encode()))

        rows.row("nothing, for a second", lambda: time.sleep(1))
        ask(one, "SELECT INBOX")
        ask(other, "SELECT INBOX")
        ask(one, "FETCH 1:* (FLAGS)")
        ask(one, "UID SEARCH UNSEEN SINCE 1-Jan-2020")
        ask(one, "SEARCH NOT 1:10 LARGER 5 OR SEEN SINCE 1-Jan-2020")
        ask(one, r"STORE 1:* +FLAGS (\Seen)")
        rows.row("NOOP of the other session, which is told all that", lambda: other.drink(b"NOOP"))
        ask(one, r"STORE 1:* +FLAGS.SILENT (\Answered)")
        ask(one, "FETCH 1:* (FLAGS) (CHANGEDSINCE 5)")
        ask(one, rf"STORE 1:{tenth} +FLAGS.SILENT (\Deleted)")
        rows.row(f"EXPUNGE of {tenth:,}", lambda: one.drink(b"EXPUNGE"))
        rows.row("NOOP of the other session, which is told all that", lambda: other.drink(b"NOOP"))
        ask(one, "CREATE Big")
        ask(one, f"COPY 1:{tenth} Big")
        ask(one, f"MOVE 1:{half} Big")
        ask(one, "UNSELECT")
        ask(one, "RENAME Big Bigger")
        ask(one, "DELETE Bigger")
        rows.row("housekeeping after that", rows.order("keep_house"))
        ask(one, "SELECT INBOX")
        ask(one, r"STORE 1:* +FLAGS.SILENT (\Deleted)")
        rows.row("EXPUNGE of the rest", lambda: one.drink(b"EXPUNGE"))
        rows.row(f"{effort.accounts:,} accounts listed, page by page", rows.order("list_accounts"))
        rows.row("an account removed", rows.order("remove"))
    finally:
        ours.close()
        process.join(20)
        process.kill()
