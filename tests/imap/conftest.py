"""A small world for IMAP tests: a store in memory, two users, a factory, and clients that read what they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.imap.factory import make_factory
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import Add, IAccount, IReadMany
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import pack
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryStore
from twisted_mail_kit.testing.dialogue import Dialogue
from twisted_mail_kit.testing.fakes import FakeAuthenticator, MemoryTransport


def now(awaitable: Any) -> Any:
    """The result of a coroutine that does not have to wait."""
    result = []
    deferred = Deferred.fromCoroutine(awaitable)
    deferred.addBoth(result.append)
    assert result, "it waits"
    if hasattr(result[0], "raiseException"):
        result[0].raiseException()
    return result[0]


def message(number: int, body: bytes = b"", more: bytes = b"") -> bytes:
    return (
        b"From: Ann <ann@example.org>\r\nTo: joe@example.com\r\nSubject: Message %d\r\n"
        b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <%d@example.org>\r\n%b\r\n%b"
    ) % (number, number, more, body or b"This is message %d.\r\n" % number)


_failures: list[Any] = []


def _gather(event: Any) -> None:
    if "log_failure" in event:
        _failures.append(event["log_failure"])


globalLogPublisher.addObserver(_gather)


def logged_failures() -> list[Any]:
    failures = list(_failures)
    _failures.clear()
    return failures


class Client:
    """A client on a transport in memory."""

    def __init__(self, world: World, user: str | None = "joe", host: str = "127.0.0.1") -> None:
        self.world = world
        self.transport = MemoryTransport(host, port=143)
        protocol = world.factory.buildProtocol(self.transport.peer)
        self.session: Any = protocol
        self.transport.connect(protocol)
        self.greeting = self.hear()
        self.tags = 0
        if user is not None:
            self.ok(f"LOGIN {user} secret")

    def hear(self) -> bytes:
        pieces = []
        for _ in range(1000):
            self.world.clock.advance(0)
            piece = self.transport.take()
            self.transport.turn()
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces)

    def send(self, octets: bytes) -> bytes:
        self.transport.send(octets)
        return self.hear()

    def do(self, command: str | bytes) -> list[bytes]:
        """Lines of the answer, without CR LF, the tagged one last, its tag cut off."""
        self.tags += 1
        tag = b"t%d " % self.tags
        octets = command if isinstance(command, bytes) else command.encode()
        lines = self.send(tag + octets + b"\r\n").split(b"\r\n")
        assert lines.pop() == b"", lines
        assert lines and lines[-1].startswith(tag), lines
        return [*lines[:-1], lines[-1][len(tag) :]]

    def ok(self, command: str | bytes) -> list[bytes]:
        """The same; the command goes well. Without the tagged line."""
        lines = self.do(command)
        assert lines[-1].startswith(b"OK"), lines
        return lines[:-1]

    def refused(self, command: str | bytes, code: bytes = b"") -> list[bytes]:
        lines = self.do(command)
        assert lines[-1].startswith(b"NO [%b" % code if code else b"NO"), lines
        return lines

    def append(self, octets: bytes, mailbox: str = "INBOX", flags: str = "") -> list[bytes]:
        return self.do(b"APPEND %b %b{%d+}\r\n%b" % (mailbox.encode(), flags.encode(), len(octets), octets))


@implementer(IReadMany)
class AccountThatReadsMany(MemoryAccount):
    """As the embedded store's: the quick ways of FETCH and SEARCH are taken with it."""

    async def summaries(self, mailbox_id: str, uids: Sequence[int]) -> list[tuple[int, bytes]]:
        return [(row.uid, row.summary) for row in await self.messages(mailbox_id, uids, limit=len(uids))]

    async def bodies(self, mailbox_id: str, uids: Sequence[int]) -> list[tuple[int, bytes]]:
        found = []
        for row in await self.messages(mailbox_id, uids, limit=len(uids)):
            try:
                found.append((row.uid, await self.read_blob(row.blob_id, 0, row.size)))
            except BlobNotFound:
                pass
        return found


class World:
    """Joe has three messages, UIDs 1 to 3; Ann has none. Both have the password ``secret``."""

    def __init__(
        self, settings: IMAPSettings | None = None, certificates: object = None, reads_many: bool = False
    ) -> None:
        logged_failures()
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = MemoryStore(self.clock)
        self.joe: IAccount = now(self.store.open_account("joe", create=True))
        if reads_many:
            self.joe.__class__ = AccountThatReadsMany
        self.ann: IAccount = now(self.store.open_account("ann", create=True))
        self.authenticator = FakeAuthenticator({"joe": ("secret", self.joe), "ann": ("secret", self.ann)})
        self.factory = make_factory(
            "imap.example.org", self.authenticator, certificates, settings or IMAPSettings(), self.clock, self.watch
        )
        self.mailbox_id = now(self.joe.mailboxes())[0].id
        for number in (1, 2, 3):
            self.deliver(message(number))

    def watch(self, account: IAccount, heard: Callable[[int], None]) -> Callable[[], None]:
        return self.store.watch_changes(lambda name, modseq: heard(modseq) if name == account.name else None)

    def deliver(self, octets: bytes, flags: frozenset[str] = frozenset(), summary: bytes | None = None) -> int:
        scanner = Scanner()
        scanner.feed(octets)
        writer = self.joe.new_blob()
        now(writer.write(octets))
        blob_id = now(writer.commit())
        if summary is None:
            summary = pack(scanner.close())
        applied = now(self.joe.apply([Add(self.mailbox_id, blob_id, 1_600_000_000, summary, flags)]))
        return applied.results[0].uid

    def apply(self, *ops: Any) -> Any:
        return now(self.joe.apply(list(ops)))

    def client(self, user: str | None = "joe", host: str = "127.0.0.1") -> Client:
        return Client(self, user, host)

    def log_errors(self) -> list[Any]:
        """Failures that were logged; they are forgotten then."""
        return logged_failures()

    def dialogue(self, chop: int | None = None) -> Dialogue:
        return Dialogue(self.factory, self.clock, chop)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> type[World]:
    return World


@pytest.fixture
def make_message() -> Callable[..., bytes]:
    return message
