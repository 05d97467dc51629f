"""A queue of 100,000 messages for dead hosts: what it costs in memory, and what it does to a message for a live one."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from bench import load
from bench.effort import Effort
from bench.servers import CONFIGURATION, Ours, free_port, memory
from bench.table import Table
from bench.text import message_of

DOMAINS = 500


async def _fill(reactor: Any, folder: Path, messages: int) -> None:
    """Put the messages into the spool's files, as a server would have done over days."""
    from twisted.internet.defer import Deferred, gatherResults

    from twisted_mail_kit.interfaces import Address, Envelope, Peer, QueuedMessage, QueuedRecipient, Recipient
    from twisted_mail_kit.mail.trace import new_trace_id
    from twisted_mail_kit.queue.sqlite import SQLiteSpool

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    spool = SQLiteSpool(folder, reactor)
    octets = message_of(2000)

    async def one(number: int) -> None:
        now = time.time()
        writer = spool.new_blob(len(octets))
        await writer.write(octets)
        envelope = Envelope(Address("ann", "example.net"), Peer("127.0.0.1"), new_trace_id(now), received_at=now - 3600)
        message = QueuedMessage(envelope, await writer.commit(), len(octets))
        domain = f"host{number % DOMAINS}.dead.example"
        await spool.add(message, [QueuedRecipient(message.id, 0, Recipient(Address("bob", domain)), domain, now - 1)])

    for start in range(0, messages, 1000):
        await gatherResults([Deferred.fromCoroutine(one(number)) for number in range(start, start + 1000)])
    await spool.close()


def _fill_in_a_process(folder: Path, messages: int) -> None:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    try:
        react(lambda reactor: Deferred.fromCoroutine(_fill(reactor, folder, messages)))
    except SystemExit as end:
        if end.code:
            raise


class Live:
    """A host that is well, and tells when something has arrived."""

    def __init__(self) -> None:
        self.arrived = threading.Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.arrived.set()
        return "250 OK"


class WithDeadHosts(Ours):
    """Our server with a name server that does not answer, a full queue, and a way to one live host."""

    def __init__(self, sink: int, spool: Path | None) -> None:
        self.spool = spool
        route = f'\n[[relay.routes]]\ndomain = "away.example"\nhost = "127.0.0.1"\nport = {sink}\n'
        trust = '\n[delivery]\ntrusted_networks = ["127.0.0.0/8"]\n'
        dns = f'\n[dns]\nservers = ["127.0.0.1:{free_port()}"]\n'
        super().__init__(CONFIGURATION + route + trust + dns)

    def before_start(self) -> None:
        """Put the full spool in its place."""
        if self.spool is not None:
            shutil.copytree(self.spool, self.folder / "state" / "queue")


def queue(effort: Effort) -> None:
    """Memory with and without the queue; how long a message for a live host takes."""
    import multiprocessing
    import tempfile

    table = Table(f"{effort.queued:,} queued for {DOMAINS} dead hosts", "empty queue", "full queue")
    full = Path(tempfile.mkdtemp(prefix="mailkit-spool-")) / "queue"
    filling = multiprocessing.get_context("spawn").Process(target=_fill_in_a_process, args=(full, effort.queued))
    filling.start()
    filling.join()
    found: list[tuple[float, float, float]] = []
    for spool in (None, full):
        live = Live()
        host = Controller(live, hostname="127.0.0.1", port=free_port())
        host.start()
        server = WithDeadHosts(host.port, spool)
        try:
            time.sleep(effort.pause)  # the queue is at work on the dead
            waits = []
            for _ in range(20):
                live.arrived.clear()
                began = time.monotonic()
                load.send(server.ports["smtp"], 1, 1, 2000, "bob@away.example")
                if not live.arrived.wait(60):
                    raise SystemExit("it did not arrive within a minute")
                waits.append(time.monotonic() - began)
            rate = load.send(server.ports["smtp"], 20, 1000, 2000, "joe@example.org").rate
            found.append((memory(server.process.pid) / 1e6, sorted(waits)[10] * 1000, rate))
        finally:
            server.stop()
            host.stop()
    empty, filled = found
    shutil.rmtree(full.parent)
    table.row("memory of the server", f"{empty[0]:.0f} MB", f"{filled[0]:.0f} MB")
    name = "a message for a live host, submission to arrival, median"
    table.row(name, f"{empty[1]:.0f} ms", f"{filled[1]:.0f} ms")
    table.row("messages in for our own users, 20 sessions", f"{empty[2]:.0f}/s", f"{filled[2]:.0f}/s")
