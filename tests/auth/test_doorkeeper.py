"""The doorkeeper: who comes in, how, and how long a wrong one waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scramp import ScramClient
from twisted.cred.checkers import FilePasswordDB, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.cred.strcred import makeChecker
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from twisted_mail_kit.auth.doorkeeper import Doorkeeper
from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.auth.realm import MailRealm
from twisted_mail_kit.auth.settings import LoginSettings, PasswordFileSettings
from twisted_mail_kit.errors import AuthenticationFailed, MechanismNotSupported, TooManyLogins, Unavailable
from twisted_mail_kit.interfaces import IAuthenticator
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.sasl import IBearerToken
from twisted_mail_kit.stores.memory import MemoryStore

HERE = Peer(host="127.0.0.1", is_local=True)
TLS = Peer(host="192.0.2.1", tls="TLSv1.3 X")
CLEAR = Peer(host="192.0.2.1")


class Tokens:
    credentialInterfaces = (IBearerToken,)

    def requestAvatarId(self, credentials: Any) -> Any:
        return succeed("joe@ours.example") if credentials.token == "good" else fail(UnauthorizedLogin())


class Broken:
    from twisted.cred.credentials import IUsernamePassword

    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Any:
        raise RuntimeError("ldap is down")


def doorkeeper(*checkers: Any, clock: Any = None, store: Any = None, **settings: Any) -> Doorkeeper:
    portal = Portal(MailRealm(store or MemoryStore()), checkers)
    return Doorkeeper(portal, checkers, clock or Clock(), LoginSettings(**settings), "ours.example")


def memory() -> Any:
    return InMemoryUsernamePasswordDatabaseDontUse(joe=b"sesame")


def outcome(result: Any) -> Any:
    got: list[Any] = []
    Deferred.fromCoroutine(result).addBoth(got.append)
    return got


async def test_a_login_gives_a_furnished_account() -> None:
    keeper = doorkeeper(memory())
    assert verifyObject(IAuthenticator, keeper)
    for user in ("joe", "JOE@ours.example"):
        account = await keeper.login(user, "sesame", HERE)
        assert account.name == "joe@ours.example"
    assert len(await account.mailboxes()) == 6


async def test_any_checker_of_cred_works(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("joe:sesame\n")
    for checker in (
        memory(),
        makeChecker("memory:joe:sesame"),
        makeChecker("memory:joe@ours.example:sesame"),
        FilePasswordDB(str(tmp_path / "users")),
    ):
        keeper = doorkeeper(checker, first_delay=0)
        assert (await keeper.login("joe", "sesame", TLS)).name == "joe@ours.example"
        assert outcome(keeper.login("joe", "wrong", TLS)) == []


async def test_checkers_are_asked_in_turn_and_a_broken_one_hides_nobody() -> None:
    keeper = doorkeeper(Broken(), memory(), makeChecker("memory:ann:x"), first_delay=0)
    assert (await keeper.login("joe", "sesame", TLS)).name == "joe@ours.example"
    assert (await keeper.login("ann", "x", TLS)).name == "ann@ours.example"
    with pytest.raises(Unavailable):
        await keeper.login("ann", "wrong", TLS)


def test_no_password_goes_in_clear_text() -> None:
    keeper = doorkeeper(memory())
    assert keeper.mechanisms(CLEAR) == ()
    assert keeper.mechanisms(TLS) == keeper.mechanisms(HERE) == ("PLAIN", "LOGIN")
    with pytest.raises(MechanismNotSupported):
        keeper.begin("PLAIN", CLEAR)
    with pytest.raises(MechanismNotSupported):
        keeper.begin("XOAUTH2", TLS)
    [failure] = outcome(keeper.login("joe", "sesame", CLEAR))
    assert failure.check(AuthenticationFailed)


@pytest.mark.parametrize("user", ["joe", "nobody", "", "a\0b", "@"])
def test_a_wrong_login_waits_longer_each_time_whoever_it_is_for(user: str) -> None:
    clock = Clock()
    keeper = doorkeeper(memory(), clock=clock)
    texts = set()
    for delay in (0.5, 1, 2, 4, 8, 16, 30, 30):
        got = outcome(keeper.login(user, "wrong", TLS))
        clock.advance(delay - 0.01)
        assert got == []
        clock.advance(0.01)
        assert got[0].check(AuthenticationFailed)
        texts.add(str(got[0].value))
    assert texts == {"wrong user or password"}
    assert outcome(keeper.login("joe", "sesame", TLS))[0].name == "joe@ours.example"
    clock.advance(900)
    got = outcome(keeper.login(user, "wrong", TLS))
    clock.advance(0.5)
    assert got


def test_failures_count_by_network_and_by_account() -> None:
    clock = Clock()
    keeper = doorkeeper(memory(), clock=clock)

    def waits(user: str, host: str) -> float:
        got = outcome(keeper.login(user, "wrong", Peer(host=host, tls="x")))
        waited = 0.0
        while not got:
            clock.advance(0.5)
            waited += 0.5
        return waited

    assert waits("a", "2001:db8::1") == 0.5
    assert waits("b", "2001:db8::2") == 1
    assert waits("b", "2001:db8:1::2") == 1
    assert waits("c", "2001:db8:2::2") == 0.5


def test_many_failures_at_once_are_turned_away_unheard() -> None:
    clock = Clock()
    keeper = doorkeeper(memory(), clock=clock, failing_at_once=3)
    waiting = [outcome(keeper.login(f"u{n}", "wrong", TLS)) for n in range(3)]
    assert waiting == [[], [], []]
    assert outcome(keeper.login("joe", "sesame", TLS))[0].check(TooManyLogins)
    assert outcome(keeper.login("joe", "sesame", HERE))[0].name
    clock.advance(30)
    assert outcome(keeper.login("joe", "sesame", TLS))[0].name


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    keeper = doorkeeper(memory(), clock=clock, remembered=100, failing_at_once=10_000)
    for n in range(500):
        outcome(keeper.login(f"u{n}", "x", Peer(host=f"10.0.{n // 250}.{n % 250}", tls="x")))
    clock.advance(30)
    assert [len(table) for table in keeper._throttle._failures] == [100, 100]
    assert not keeper._throttle._shared._now


async def test_plain_and_login() -> None:
    keeper = doorkeeper(memory(), first_delay=0)
    plain = keeper.begin("plain", TLS)
    assert await plain.respond(None) == b""
    assert (await plain.respond(b"\0joe\0sesame")).name == "joe@ours.example"  # type: ignore[union-attr]
    login = keeper.begin("LOGIN", TLS)
    assert await login.respond(None) == b"Username:"
    assert await login.respond(b"joe") == b"Password:"
    assert (await login.respond(b"sesame")).name == "joe@ours.example"  # type: ignore[union-attr]
    [failure] = outcome(keeper.begin("PLAIN", TLS).respond(b"ann\0joe\0sesame"))
    assert failure.check(AuthenticationFailed)


async def test_bearer_tokens_come_in_where_a_checker_wants_them() -> None:
    keeper = doorkeeper(Tokens(), first_delay=0)
    assert keeper.mechanisms(TLS) == ("OAUTHBEARER", "XOAUTH2")
    google = keeper.begin("XOAUTH2", TLS)
    assert (await google.respond(b"user=joe\x01auth=Bearer good\x01\x01")).name == "joe@ours.example"  # type: ignore[union-attr]
    rfc = keeper.begin("OAUTHBEARER", TLS)
    account = await rfc.respond(b"n,a=joe@ours.example,\x01host=x\x01port=143\x01auth=Bearer good\x01\x01")
    assert account.name == "joe@ours.example"  # type: ignore[union-attr]


async def test_scram_against_the_password_file(tmp_path: Path) -> None:
    cheap = PasswordFileSettings(time_cost=1, memory_cost=8192, scram_iterations=4096)
    file = PasswordFile(tmp_path / "passwords", reactor, cheap, "ours.example")
    await file.set_password("joe", "sesame")
    keeper = doorkeeper(file, clock=reactor, first_delay=0)
    assert keeper.mechanisms(TLS)[0] == "SCRAM-SHA-256"

    async def scram(user: str, password: str) -> Any:
        client = ScramClient(["SCRAM-SHA-256"], user, password)
        exchange = keeper.begin("SCRAM-SHA-256", TLS)
        assert await exchange.respond(None) == b""
        first = await exchange.respond(client.get_client_first().encode())
        client.set_server_first(first.decode())  # type: ignore[union-attr]
        final = await exchange.respond(client.get_client_final().encode())
        client.set_server_final(final.decode())  # type: ignore[union-attr]
        return await exchange.respond(b"")

    for user in ("joe", "Joe@ours.example"):
        assert (await scram(user, "sesame")).name == "joe@ours.example"
    for user, password in (("joe", "wrong"), ("nobody", "sesame")):
        with pytest.raises(AuthenticationFailed):
            await scram(user, password)
    file.close()
