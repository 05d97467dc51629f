"""100,000 messages and 10,000 accounts: how much is asked, held and said at once does not grow with them.

Nothing here is timed. Work is counted: statements, steps of SQLite's machine, messages of a transaction, octets that
are said in one turn of the reactor.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol

from twisted_mail_kit.imap.commands.basis import AT_ONCE
from twisted_mail_kit.imap.factory import make_factory
from twisted_mail_kit.imap.packed import SLICE
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.imap.turns import Turns
from twisted_mail_kit.mail.operations import Add, CreateMailbox, DeleteMailbox, Move, Remove, SetFlags
from twisted_mail_kit.net.outflow import Outflow
from twisted_mail_kit.stores.feed import Feed
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore, schema
from twisted_mail_kit.stores.sqlite.batch import Batch
from twisted_mail_kit.stores.sqlite.housekeeping import AT_ONCE as AT_A_TIME
from twisted_mail_kit.testing.fakes import FakeAuthenticator

from .conftest import add

MESSAGES = 100_000
ACCOUNTS = 10_000
FIRST = 5
"""Joe's mailbox has these many messages put in through the door, as patterns for the others."""


def multiply(index: Path, messages: int, accounts: int) -> None:
    """Put rows beside those that a store has written, as it would; `check` says whether that is so."""
    with closing(sqlite3.connect(index)) as connection:
        connection.execute(
            f"WITH RECURSIVE n(n) AS (SELECT {FIRST + 1} UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
            " INSERT INTO entries SELECT (id & ~0xFFFFFFFF) + n, account, modseq + n / 1000, flags, size,"
            " internal_date + n FROM n JOIN entries ON id & 0xFFFFFFFF = 1",
            (messages,),
        )
        connection.execute(
            f"WITH RECURSIVE n(n) AS (SELECT {FIRST + 1} UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
            " INSERT INTO facts SELECT (facts.id & ~0xFFFFFFFF) + n, printf('%x-%x', account, n), 't' || n, blob_id,"
            " saved_date, created + n / 1000, summary FROM n JOIN facts ON facts.id & 0xFFFFFFFF = 1"
            " JOIN entries ON entries.id = facts.id",
            (messages,),
        )
        ((size, modseq),) = connection.execute("SELECT sum(size), max(modseq) FROM entries")
        connection.execute(
            "UPDATE mailboxes SET uidnext = ? + 1, total = ?, unseen = ?, size = ?, modseq = ?",
            (messages, messages, messages, size, modseq),
        )
        connection.execute("UPDATE accounts SET modseq = ?, emails = emails + ?", (modseq, messages))
        connection.execute(
            "UPDATE blobs SET refs = (SELECT count(*) FROM facts WHERE substr(blob_id, 2) = lower(printf('%x', blob)))"
        )
        connection.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
            " INSERT INTO accounts (name, modseq, emails, removals, forgotten, serial)"
            " SELECT 'user' || n || '@example.org', 1, 0, 0, 0, 1 FROM n",
            (accounts,),
        )
        connection.execute(
            "INSERT INTO mailboxes (account, name, role, uidvalidity, uidnext, modseq, total, unseen, size, subscribed)"
            " SELECT id, '[\"INBOX\"]', 'inbox', 1000 + id, 1, 1, 0, 0, 0, 1 FROM accounts WHERE name LIKE 'user%'"
        )
        connection.execute("UPDATE store SET value = max(value, 100000000) WHERE key = 'uidvalidity'")
        connection.commit()


async def pattern(path: Path) -> None:
    """A store in which joe has a few messages."""
    store = SQLiteStore(path, reactor)
    account = await store.open_account("joe", create=True)
    for number in range(FIRST):
        await add(account, (await account.mailboxes())[0].id, b"Subject: %d\r\n\r\n" % number)
    await store.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "store"
    pytest_twisted.blockon(Deferred.fromCoroutine(pattern(path)))
    multiply(path / schema.INDEX, MESSAGES, ACCOUNTS)
    return path


@pytest_twisted.async_yield_fixture
async def store(made: Path, tmp_path: Path) -> Any:
    shutil.copytree(made, tmp_path / "store")
    store = SQLiteStore(tmp_path / "store", reactor, SQLiteSettings(tombstones=0, tombstone_age=-10.0))
    yield store
    await store.close()


async def test_what_was_multiplied_is_a_store(store: SQLiteStore) -> None:
    findings = await store.check()
    assert not findings.problems
    assert findings.counts["messages"] == MESSAGES


# --- accounts ------------------------------------------------------------------------------------------------------


class Steps:
    """What connections do: statements, and steps of SQLite's machine."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps = 0

    def listen(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.set_trace_callback(self.said.append)
        connection.set_progress_handler(self._step, 1)
        return connection

    def _step(self) -> int:
        self.steps += 1
        return 0

    def reset(self) -> None:
        self.said.clear()
        self.steps = 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()

    def listening(really: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        return lambda *args: steps.listen(really(*args))

    monkeypatch.setattr(schema, "open_reader", listening(schema.open_reader))
    monkeypatch.setattr(schema, "open_writer", listening(schema.open_writer))
    return steps


async def life_of(account_name: str, store: SQLiteStore, steps: Steps) -> dict[str, tuple[int, int]]:
    """What is done to one account, and what each takes: statements, steps."""
    taken = {}

    async def take(what: str, action: Any) -> Any:
        steps.reset()
        answer = await action
        taken[what] = len(steps.said), steps.steps
        return answer

    account = await take("open", store.open_account(account_name))
    (inbox,) = await take("mailboxes", account.mailboxes())
    await take("state", account.state())
    await take("listing", account.listing(inbox.id))
    await take("changes", account.changes(0))
    writer = account.new_blob()
    await writer.write(b"x")
    blob_id = await writer.commit()
    await take("add", account.apply([Add(inbox.id, blob_id, 0)], token="t"))
    await take("flags", account.apply([SetFlags(inbox.id, [1], add=frozenset({r"\Seen"}))]))
    await take("remove", account.apply([Remove(inbox.id, [1])]))
    await take("make another", store.open_account(f"{account_name}.too", create=True))
    await take("a page of names", store.account_names("user1", 1))
    await take("remove the account", store.remove_account(account_name))
    return taken


async def test_one_account_takes_as_much_work_among_ten_thousand_as_alone(
    made: Path, tmp_path: Path, steps: Steps
) -> None:
    lives = []
    for name, accounts in (("few", 1), ("many", ACCOUNTS)):
        await pattern(tmp_path / name)
        multiply(tmp_path / name / schema.INDEX, FIRST, accounts)
        store = SQLiteStore(tmp_path / name, reactor)
        lives.append(await life_of("user1@example.org", store, steps))
        await store.close()
    few, many = lives
    assert few.keys() == many.keys() and all(steps > 0 for _, steps in few.values())
    for what, (statements, taken) in many.items():
        assert statements == few[what][0], what
        assert taken <= few[what][1] + 20, what


# --- a mailbox -----------------------------------------------------------------------------------------------------


class Impatient:
    """The reactor, in a world in which every piece of work takes a second: each ends a turn."""

    def __init__(self) -> None:
        self.is_impatient = False
        self.turns = 0
        self._seconds = reactor.seconds()

    def seconds(self) -> float:
        self._seconds += 1.0 if self.is_impatient else 0.0
        return self._seconds

    def callLater(self, delay: float, action: Any, *args: Any, **more: Any) -> Any:
        self.turns += delay == 0
        return reactor.callLater(delay, action, *args, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Client(Protocol):
    """Says a command, and keeps what comes until it is answered."""

    def __init__(self) -> None:
        self.heard = b""
        self.waiting: tuple[bytes, Deferred[bytes]] | None = None

    async def do(self, command: bytes) -> bytes:
        self.heard = b""
        self.waiting = b"\r\nx ", Deferred()
        self.transport.write(b"x " + command + b"\r\n")
        return b"\r\n" + await self.waiting[1]

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        start = max(0, len(self.heard) - len(data) - 200)
        if self.waiting and self.heard.endswith(b"\r\n") and b"\r\nx OK" in b"\r\n" + self.heard[start:]:
            (_, deferred), self.waiting = self.waiting, None
            deferred.callback(self.heard)


class Server:
    """IMAP over a store, and what it does at once."""

    def __init__(self, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.clock = Impatient()
        self.feed = Feed(store, reactor)
        self.most_said = 0
        """Octets in one turn."""
        self.transactions: list[int] = []
        """Messages in each."""
        self.held = 0
        self._said = (0, 0)
        really_write, really_apply = Outflow.write, type(store).open_account

        def write(outflow: Any, octets: bytes) -> None:
            turn, said = self._said
            self._said = (self.clock.turns, len(octets) + (said if turn == self.clock.turns else 0))
            self.most_said = max(self.most_said, self._said[1])
            really_write(outflow, octets)

        async def open_account(store: Any, name: str, create: bool = False) -> Any:
            account = await really_apply(store, name, create)
            apply = account.apply

            async def counted(ops: Any, *args: Any) -> Any:
                self.transactions.extend(len(op.uids) for op in ops if hasattr(op, "uids"))
                return await apply(ops, *args)

            account.apply = counted
            return account

        monkeypatch.setattr(Outflow, "write", write)
        monkeypatch.setattr(type(store), "open_account", open_account)

    async def start(self) -> None:
        account = await self.store.open_account("joe")
        factory = make_factory(
            "h", FakeAuthenticator({"joe": ("secret", account)}), None, IMAPSettings(), self.clock, self.feed.watch
        )
        self.port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)

    async def client(self) -> Client:
        to = clientFromString(reactor, f"tcp:127.0.0.1:{self.port.getHost().port}")
        client: Client = await to.connect(Factory.forProtocol(Client))
        await client.do(b"LOGIN joe secret")
        return client


@pytest_twisted.async_yield_fixture
async def server(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    server = Server(store, monkeypatch)
    await server.start()
    yield server
    server.feed.stop()
    await server.port.stopListening()


async def test_a_mailbox_of_a_hundred_thousand_is_served_in_small_pieces(server: Server) -> None:
    one, other = await server.client(), await server.client()
    server.clock.is_impatient = True

    async def ask(client: Client, command: bytes) -> bytes:
        server.clock.turns = server.most_said = 0
        del server.transactions[:]
        answer = await client.do(command)
        assert server.most_said <= 128 * 1024, command
        assert all(messages <= AT_ONCE for messages in server.transactions), command
        return answer

    assert b"\r\n* 100000 EXISTS\r\n" in await ask(one, b"SELECT INBOX")
    assert server.clock.turns >= MESSAGES // SLICE
    await ask(other, b"SELECT INBOX")
    assert (await ask(one, b"FETCH 1:* (FLAGS)")).count(b"FETCH (FLAGS (") == MESSAGES
    assert server.clock.turns >= MESSAGES // SLICE
    found = await ask(one, b"UID SEARCH UNSEEN NOT 1:10 SINCE 1-Jan-1970 OR LARGER 5 SEEN")
    assert found.startswith(b"\r\n* SEARCH 11 12 ") and found.count(b" ") > MESSAGES - 10
    assert server.clock.turns >= 2 * (MESSAGES // SLICE), "looking, and telling"
    assert (await ask(one, b"STORE 1:* +FLAGS (\\Seen)")).count(b"FETCH (FLAGS (\\Seen") == MESSAGES
    assert sum(server.transactions) == MESSAGES
    assert (await ask(other, b"NOOP")).count(b"FETCH (UID ") == MESSAGES
    assert server.clock.turns >= MESSAGES // SLICE
    await ask(one, b"STORE 1:50000 +FLAGS.SILENT (\\Deleted)")
    await ask(other, b"NOOP")
    assert (await ask(one, b"EXPUNGE")).count(b" EXPUNGE\r\n") == MESSAGES // 2
    assert sum(server.transactions) == MESSAGES // 2
    assert (await ask(other, b"NOOP")).count(b" EXPUNGE\r\n") == MESSAGES // 2
    assert server.clock.turns >= MESSAGES // 2 // SLICE
    assert b"* 1 FETCH (UID 50001)" in await ask(other, b"FETCH 1 UID")


async def test_one_change_of_everything_is_taken_in_piece_by_piece(server: Server, store: SQLiteStore) -> None:
    client = await server.client()
    await client.do(b"SELECT INBOX")
    account = await store.open_account("joe")
    (inbox,) = await account.mailboxes()
    everything = range(1, MESSAGES + 1)
    await account.apply([SetFlags(inbox.id, everything, add=frozenset({r"\Flagged"}))])
    (applied,) = (await account.apply([Move(inbox.id, everything[: MESSAGES // 4], inbox.id)])).results
    assert applied.pairs == tuple(zip(everything[: MESSAGES // 4], range(MESSAGES + 1, 2 * MESSAGES), strict=False))
    (gone,) = (await account.apply([Remove(inbox.id, range(1, 2 * MESSAGES, 2))])).results
    server.clock.is_impatient = True
    server.clock.turns = server.most_said = 0
    news = await client.do(b"NOOP")
    assert news.count(b" EXPUNGE\r\n") == MESSAGES // 4 + (MESSAGES - MESSAGES // 4) // 2
    assert b"* %d EXISTS" % (MESSAGES - len(gone.uids)) in news
    assert news.count(b"FETCH (UID ") == (MESSAGES - MESSAGES // 4) // 2
    assert server.most_said <= 128 * 1024
    assert server.clock.turns >= MESSAGES // SLICE


def rows_written(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many each transaction changes from now on."""
    rows: list[int] = []
    really, before = Batch.commit, [store._batch.connection.total_changes]

    def commit(batch: Batch) -> Any:
        now = batch.connection.total_changes
        rows.append(now - before[0])
        before[0] = now
        return really(batch)

    monkeypatch.setattr(Batch, "commit", commit)
    return rows


async def test_housekeeping_after_it_makes_short_transactions(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.open_account("joe")
    (inbox,) = await account.mailboxes()
    box = (await account.apply([CreateMailbox(("Old",))])).results[0]
    await account.apply([Remove(inbox.id, range(1, 3001)), Move(inbox.id, range(3001, 6001), box.id)])
    await account.apply([DeleteMailbox(box.id)])
    rows = rows_written(store, monkeypatch)
    for _ in range(30):
        await store.keep_house()
    assert sum(rows) > 6000 and max(rows) <= 4 * AT_A_TIME
    findings = await store.check()
    assert not findings.problems
    assert findings.counts["messages"] == MESSAGES - 6000


async def test_a_removed_account_goes_in_short_transactions(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.open_account("joe")
    (inbox,) = await account.mailboxes()
    await account.apply([Remove(inbox.id, range(1, MESSAGES // 5))])
    rows = rows_written(store, monkeypatch)
    await store.remove_account("joe")
    for _ in range(100):
        await store.keep_house()
        with closing(sqlite3.connect(store.path / schema.INDEX)) as connection:
            tables = "graves", "removals", "entries", "facts"
            left = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
        if not any(left):
            break
    assert left == [0, 0, 0, 0]
    assert sum(rows) > MESSAGES and max(rows) <= 4 * AT_A_TIME
    assert not (await store.check()).problems


async def test_all_names_come_page_by_page(store: SQLiteStore) -> None:
    names: list[str] = []
    while page := await store.account_names(names[-1] if names else ""):
        assert len(page) <= 1000
        names += page
    assert len(names) == ACCOUNTS + 1 and names == sorted(set(names))


async def test_a_turn_is_given_after_ten_milliseconds_and_not_before() -> None:
    clock = Impatient()
    turns = Turns(clock)  # type: ignore[arg-type]
    turns.begin()
    await turns.give()
    assert clock.turns == 0
    clock.is_impatient = True
    await turns.give()
    assert clock.turns == 1
