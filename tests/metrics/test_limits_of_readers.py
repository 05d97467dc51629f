"""Each limit is counted when it bites, once, and no other one is: IMAP, POP3, logins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import Clock

from tests.imap.conftest import Client as IMAPClient
from tests.imap.conftest import World as IMAPWorld
from tests.imap.conftest import now
from tests.metrics.counting import bites
from tests.pop3.kit import make_world
from twisted_mail_kit.auth.doorkeeper import Doorkeeper
from twisted_mail_kit.auth.inturn import PasswordCredentials
from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.auth.realm import MailRealm
from twisted_mail_kit.auth.settings import LoginSettings, PasswordFileSettings
from twisted_mail_kit.errors import LimitReached, TooManyLogins
from twisted_mail_kit.imap.outcomes import Refusal
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.fakes import MemoryTransport


def imap(**settings: Any) -> IMAPClient:
    client = IMAPClient(IMAPWorld(evolve(IMAPSettings(), **settings)))
    client.ok("SELECT INBOX")
    return client


@pytest.mark.parametrize(
    ("name", "command"),
    [
        pytest.param("imap_line", b"NOOP " + b"x" * 70_000, id="imap_line"),
        pytest.param("imap_literal", b"LOGIN {70000}", id="imap_literal"),
        pytest.param("imap_message_size", b"APPEND INBOX {100000000}", id="imap_message_size"),
        pytest.param("imap_nesting", b"SEARCH " + b"(" * 101 + b"ALL" + b")" * 101, id="imap_nesting"),
        pytest.param("imap_nesting", b"FETCH 1 BODY[" + b".".join([b"1"] * 102) + b"]", id="of a part number"),
        pytest.param("imap_search_keys", b"SEARCH" + b" ALL" * 1001, id="imap_search_keys"),
        pytest.param("imap_set_ranges", b"FETCH " + b",".join([b"1:2"] * 10_001) + b" UID", id="imap_set_ranges"),
        pytest.param("imap_wildcards", b'LIST "" ' + b"%a" * 11, id="imap_wildcards"),
        pytest.param("imap_mailboxes", b"CREATE new", id="imap_mailboxes"),
        pytest.param("imap_keywords", b"STORE 1 +FLAGS (one two three)", id="imap_keywords"),
        pytest.param("imap_keywords", b"STORE 1 +FLAGS (" + b"x" * 51 + b")", id="of a keyword's length"),
        pytest.param("imap_name", b"CREATE " + b"/".join([b"x"] * 21), id="imap_name"),
        pytest.param("imap_name", b"CREATE " + b"x" * 256, id="of a level's length"),
    ],
)
def test_what_an_imap_client_asks_for(name: str, command: bytes) -> None:
    mailboxes = 1 if name == "imap_mailboxes" else 10_000
    client = imap(mailboxes=mailboxes, keywords=2, keyword_length=50)
    with bites(name):
        client.send(b"a " + command + b"\r\n")
    with bites():
        client.send(b"b NOOP\r\n")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        pytest.param("imap_literal", b"LOGIN {70000+}", id="literal"),
        pytest.param("imap_message_size", b"APPEND INBOX {100000000+}", id="message"),
    ],
)
def test_what_an_imap_client_sends_unasked(name: str, command: bytes) -> None:
    client = imap()
    with bites(name):
        client.send(b"a " + command + b"\r\n")


def test_a_line_within_an_imap_login() -> None:
    client = IMAPClient(IMAPWorld(), user=None)
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    with bites("imap_line"):
        client.send(b"x" * 70_000 + b"\r\n")


def test_mailboxes_that_only_the_store_has_counted() -> None:
    client = imap()
    account = client.world.joe

    async def full(*given: Any, **more: Any) -> None:
        raise LimitReached("mailboxes")

    account.apply = full  # type: ignore[method-assign]
    with bites("imap_mailboxes"):
        client.refused("CREATE new", b"LIMIT")


def test_imap_sessions_of_an_account() -> None:
    world = IMAPWorld(IMAPSettings(sessions_per_account=1))
    IMAPClient(world)
    second = IMAPClient(world, user=None)
    with bites("imap_sessions_per_account"):
        second.refused("LOGIN joe secret", b"LIMIT")


def test_imap_login_time() -> None:
    world = IMAPWorld()
    IMAPClient(world, user=None)
    with bites("imap_login_time"):
        world.clock.advance(61)


def test_imap_idle_time() -> None:
    client = imap()
    with bites("imap_idle_time"):
        client.world.clock.advance(30 * 60 + 1)


def test_imap_bad_commands() -> None:
    client = imap(bad_commands=2)
    with bites("imap_bad_commands"):
        client.do("XYZZY")
        client.send(b"a XYZZY\r\n")


def test_imap_views() -> None:
    world = IMAPWorld(IMAPSettings(views=1024 * 1024))
    client = IMAPClient(world)
    server = client.session.server
    server.views.held = 1024 * 1024 * 2
    box = now(world.joe.mailboxes())[0]
    with bites("imap_views"), pytest.raises(Refusal, match="Too many large mailboxes"):
        server.views.admit(box._replace(total=2000))


# --- POP3 ----------------------------------------------------------------------------------------------------------


class POP3Client:
    def __init__(self, world: Any) -> None:
        self.clock = world.clock
        self.transport = MemoryTransport(port=110)
        self.transport.connect(world.factory.buildProtocol(self.transport.peer))
        self.transport.take()

    def says(self, *lines: str) -> bytes:
        for line in lines:
            self.transport.send(line.encode() + b"\r\n")
            self.clock.advance(0)
        return self.transport.take()


async def pop3(**settings: Any) -> POP3Client:
    return POP3Client(await make_world(settings=POP3Settings(**settings)))


async def test_a_pop3_line() -> None:
    client = await pop3()
    with bites("pop3_line"):
        client.says("NOOP " + "x" * 600)


async def test_pop3_errors() -> None:
    client = await pop3(errors=2)
    with bites("pop3_errors"):
        client.says("XYZZY", "XYZZY")


async def test_pop3_login_time() -> None:
    client = await pop3()
    with bites("pop3_login_time"):
        client.clock.advance(61)


async def test_pop3_idle_time() -> None:
    client = await pop3()
    assert b"3 messages" in client.says("USER joe", "PASS secret")
    with bites("pop3_idle_time"):
        client.clock.advance(601)


# --- logins --------------------------------------------------------------------------------------------------------


async def test_logins_at_once_and_those_that_wait(tmp_path: Path) -> None:
    cheap = PasswordFileSettings(time_cost=1, memory_cost=8192, scram=False, threads=1, waiting=1)
    file = PasswordFile(tmp_path / "passwords", reactor, cheap, "example.org")
    await file.set_password("joe", "secret")

    def log_in() -> Deferred[Any]:
        return file.requestAvatarId(PasswordCredentials(b"joe", b"secret"))

    with bites("logins_at_once", "logins_waiting"):
        results = await DeferredList([log_in(), log_in(), log_in()], consumeErrors=True)
    assert [done for done, _ in results] == [True, True, False]
    assert results[2][1].check(TooManyLogins)
    file.close()


async def test_failed_logins_that_wait_for_their_answer() -> None:
    clock = Clock()
    checker = InMemoryUsernamePasswordDatabaseDontUse(joe=b"secret")
    portal = Portal(MailRealm(MemoryStore(), default_domain="example.org"))
    doorkeeper = Doorkeeper(portal, [checker], clock, LoginSettings(failing_at_once=1), "example.org")
    peer = Peer("192.0.2.7", service="imap", tls="TLSv1.3")
    failing = Deferred.fromCoroutine(doorkeeper.login("joe", "wrong", peer))
    with bites("logins_failing"), pytest.raises(TooManyLogins):
        await doorkeeper.login("joe", "secret", peer)
    clock.advance(100)
    failing.addErrback(lambda _: None)
