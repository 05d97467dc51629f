"""Sessions over the embedded store: what one has done, and what another process has, is told by all."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from twisted_mail_kit.imap.factory import make_factory
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import Add, Remove, SetFlags
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import pack
from twisted_mail_kit.stores.feed import Feed
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.testing.fakes import FakeAuthenticator, MemoryTransport

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "later", "$Done"]


class Sessions:
    """Joe's inbox with ten messages in a store on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = SQLiteStore(root, reactor)
        self.feed = Feed(self.store, reactor)
        self.clients: list[Client] = []

    async def open(self) -> None:
        self.account = await self.store.open_account("joe", create=True)
        self.box = (await self.account.mailboxes())[0].id
        authenticator = FakeAuthenticator({"joe": ("secret", self.account)})
        self.factory = make_factory("h", authenticator, None, IMAPSettings(), reactor, self.feed.watch)
        await self.deliver(10)

    async def deliver(self, count: int) -> None:
        scanner = Scanner()
        scanner.feed(b"Subject: Hello\r\n\r\nText\r\n")
        summary = pack(scanner.close())
        ops = []
        for _ in range(count):
            writer = self.account.new_blob()
            await writer.write(b"Subject: Hello\r\n\r\nText\r\n")
            ops.append(Add(self.box, await writer.commit(), 1_600_000_000, summary))
        await self.account.apply(ops)

    async def client(self) -> Client:
        client = Client(self)
        self.clients.append(client)
        await client.ok("LOGIN joe secret")
        await client.ok("SELECT INBOX")
        return client

    async def close(self) -> None:
        for client in self.clients:
            client.transport.drop()
            client.transport.turn()
        self.feed.stop()
        await self.store.close()


class Client:
    def __init__(self, sessions: Sessions) -> None:
        self.transport = MemoryTransport("127.0.0.1", port=143)
        self.session: Any = sessions.factory.buildProtocol(self.transport.peer)
        self.transport.connect(self.session)
        self.tags = 0
        self.transport.take()

    async def hear(self, sign: bytes, seconds: float = 10.0) -> bytes:
        heard = b""
        for _ in range(int(seconds / 0.002)):
            heard += self.transport.take()
            if sign in heard:
                return heard
            await deferLater(reactor, 0.002)
        raise AssertionError(f"{sign!r} was not said, but {heard!r}")

    async def ok(self, command: str) -> list[bytes]:
        self.tags += 1
        tag = b"t%d " % self.tags
        self.transport.send(tag + command.encode() + b"\r\n")
        lines = (await self.hear(tag)).split(b"\r\n")
        assert lines[-2].startswith(tag + b"OK"), lines
        return lines[:-2]


@pytest_twisted.async_yield_fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    some = Sessions(tmp_path)
    await some.open()
    yield some
    await some.close()


def reading_of(sessions: Sessions) -> list[str]:
    """What the reactor's thread asks the index from now on."""
    asked: list[str] = []
    sessions.store._reader.connection.set_trace_callback(asked.append)
    return asked


async def test_an_idler_is_told_what_another_session_does_in_the_same_mailbox(sessions: Sessions) -> None:
    busy, idler = await sessions.client(), await sessions.client()
    idler.transport.send(b"i IDLE\r\n")
    await idler.hear(b"+ Idling\r\n")
    await busy.ok("STORE 2 +FLAGS (\\Deleted)")
    assert b"* 2 FETCH (UID 2 FLAGS (\\Deleted))\r\n" in await idler.hear(b"\r\n", 0.5)
    await busy.ok("STORE 3 +FLAGS.SILENT (\\Seen)")
    assert b"* 3 FETCH (UID 3 FLAGS (\\Seen))\r\n" in await idler.hear(b"\r\n", 0.5)
    await busy.ok("EXPUNGE")
    assert await idler.hear(b"\r\n", 0.5) == b"* 2 EXPUNGE\r\n"
    # Once more what the other one has asked for at the same moment as the store has told it.
    await sessions.deliver(1)
    await busy.ok("NOOP")
    assert (await idler.hear(b"\r\n", 0.5)).startswith(b"* 10 EXISTS\r\n")


async def test_after_a_store_the_index_is_not_asked_for_what_it_has_just_said(sessions: Sessions) -> None:
    client = await sessions.client()
    asked = reading_of(sessions)
    assert await client.ok("STORE 4 +FLAGS (\\Seen later)") == [
        b"* FLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen later)",
        b"* OK [PERMANENTFLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen later \\*)] Flags that are kept",
        b"* 4 FETCH (FLAGS (\\Seen later \\Recent))",
    ]
    assert await client.ok("STORE 4 +FLAGS (\\Seen)") == [b"* 4 FETCH (FLAGS (\\Seen later \\Recent))"]
    assert await client.ok("UID STORE 4:6 -FLAGS.SILENT (later)") == []
    assert asked == []
    await client.ok("NOOP")
    assert asked != []


async def test_what_came_between_is_told_with_ones_own(sessions: Sessions) -> None:
    client = await sessions.client()
    await sessions.account.apply([SetFlags(sessions.box, [7], add=frozenset({"\\Flagged"}))])
    await sessions.account.apply([Remove(sessions.box, [9])])
    lines = await client.ok("UID STORE 1 +FLAGS (\\Seen)")
    assert [line.replace(b" \\Recent", b"") for line in lines] == [
        b"* 1 FETCH (UID 1 FLAGS (\\Seen))",
        b"* 9 EXPUNGE",
        b"* 7 FETCH (UID 7 FLAGS (\\Flagged))",
    ]


async def test_sessions_and_store_agree_after_each_of_many_changes(sessions: Sessions) -> None:
    chance = random.Random(11)
    clients = [await sessions.client(), await sessions.client()]
    model = clients[0].session.selected.model
    quick = 0
    for _ in range(120):
        client = chance.choice(clients)
        low, high = sorted(chance.choices(range(1, 11), k=2))
        what = chance.random()
        before = model.modseq
        if what < 0.1:
            await sessions.account.apply([SetFlags(sessions.box, [low], replace=frozenset(chance.sample(FLAGS, 2)))])
            await client.ok("NOOP")
        else:
            flags = " ".join(chance.sample(FLAGS, chance.randint(0, 2)))
            silent = chance.choice(["", ".SILENT"])
            unchanged = chance.choice(["", "", f"(UNCHANGEDSINCE {before - 3}) "])
            await client.ok(f"UID STORE {low}:{high} {unchanged}{chance.choice(['+', '-', ''])}FLAGS{silent} ({flags})")
            quick += model.modseq == before + 1
        rows = await sessions.account.messages(sessions.box)
        assert [row.uid for row in rows] == list(model.uids)
        assert [row.flags for row in rows] == [model.flag_sets[number] for number in model.flag_ids]
        assert [row.modseq for row in rows] == list(model.modseqs)
        (box,) = await sessions.account.mailboxes()
        assert (box.modseq, await sessions.account.state()) == (model.mailbox.modseq, model.modseq)
        assert box.unseen == sum("\\Seen" not in row.flags for row in rows)
    assert quick > 50
    for client in clients:
        told = await client.ok("FETCH 1:* (FLAGS)")
        assert len([line for line in told if b"FETCH (FLAGS" in line]) == 10
        assert not client.session.selected.has_news()


ANOTHER_PROCESS = """
import sys
from pathlib import Path
from twisted.internet.task import react
from twisted_mail_kit.interfaces import SetFlags
from twisted_mail_kit.stores.sqlite import SQLiteStore

async def main(reactor):
    store = SQLiteStore(Path(sys.argv[1]), reactor)
    account = await store.open_account("joe")
    box = (await account.mailboxes())[0].id
    for line in sys.stdin:
        await account.apply([SetFlags(box, [int(line)], add=frozenset({"theirs"}))])
        print("done", flush=True)
    await store.close()

react(lambda reactor: __import__("twisted.internet.defer").internet.defer.Deferred.fromCoroutine(main(reactor)))
"""


async def test_what_another_process_has_changed_is_told_at_the_next_noop_and_to_idlers(sessions: Sessions) -> None:
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(sessions.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        client, idler = await sessions.client(), await sessions.client()
        idler.transport.send(b"i IDLE\r\n")
        await idler.hear(b"+ Idling\r\n")

        async def theirs(uid: int) -> None:
            child.stdin.write(b"%d\n" % uid)
            child.stdin.flush()
            assert await _line(child) == b"done\n"

        await theirs(3)
        assert b"* 3 FETCH (UID 3 FLAGS (theirs \\Recent))" in await client.ok("NOOP")
        assert b"* 3 FETCH (UID 3 FLAGS (theirs))" in await idler.hear(b"* 3 FETCH", 1)
        # Ours in between, which is not asked for, and theirs again; and the other way round.
        await client.ok("STORE 4 +FLAGS (\\Seen)")
        await theirs(5)
        lines = await client.ok("STORE 6 +FLAGS (\\Seen)")
        assert b"* 5 FETCH (UID 5 FLAGS (theirs \\Recent))" in lines, lines
        await theirs(4)
        assert b"* 4 FETCH (UID 4 FLAGS (\\Seen theirs \\Recent))" in await client.ok("NOOP")
        assert b"* 4 FETCH (UID 4 FLAGS (\\Seen theirs))" in await idler.hear(b"FLAGS (\\Seen theirs)", 1)
        child.stdin.close()


def _line(child: Any) -> Deferred[bytes]:
    return deferToThread(child.stdout.readline)
