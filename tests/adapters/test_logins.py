"""Portals of an application behind our doorkeeper."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from twisted.cred.checkers import AllowAnonymousAccess, ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_mail_kit.adapters import MountedLogins
from twisted_mail_kit.auth.doorkeeper import Doorkeeper
from twisted_mail_kit.auth.realm import MailRealm
from twisted_mail_kit.errors import AuthenticationFailed, BadSyntax, Unavailable
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.stores.memory import MemoryStore

LOOPBACK = Peer("127.0.0.1", is_local=True)


@implementer(IRealm)
class Nobody:
    """A realm that is not asked."""

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
        raise AssertionError("whose account it is, is not asked here")


@implementer(ICredentialsChecker)
class Checker:
    """Answers what it is told to; notes who was asked for."""

    def __init__(self, answer: Any, *kinds: Any) -> None:
        self.answer = answer
        self.credentialInterfaces = kinds or (IUsernamePassword,)
        self.asked: list[Any] = []

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials.username)
        return self.answer(credentials) if callable(self.answer) else self.answer


def door(source: Any, clock: Clock | None = None) -> Doorkeeper:
    clock = clock or Clock()
    portal = Portal(MailRealm(MemoryStore(clock)))
    return Doorkeeper(portal, [MountedLogins(source, clock, patience=20)], clock, default_domain="example.org")


async def refused(door: Doorkeeper, user: str, password: str) -> None:
    login = Deferred.fromCoroutine(door.login(user, password, LOOPBACK))
    door.clock.pump([10] * 30)
    with pytest.raises(AuthenticationFailed):
        await login


async def test_each_domain_has_a_portal_that_knows_local_parts() -> None:
    portals = {
        b"example.org": Portal(Nobody(), [InMemoryUsernamePasswordDatabaseDontUse(joe=b"secret")]),
        "example.net": Portal(Nobody(), [InMemoryUsernamePasswordDatabaseDontUse(joe=b"other")]),
    }
    keeper = door(portals)
    assert (await keeper.login("joe@example.org", "secret", LOOPBACK)).name == "joe@example.org"
    assert (await keeper.login("Joe@Example.NET", "other", LOOPBACK)).name == "joe@example.net"
    assert (await keeper.login("joe", "secret", LOOPBACK)).name == "joe@example.org"
    await refused(keeper, "joe@example.org", "other")
    await refused(keeper, "joe@example.com", "secret")


async def test_the_account_is_called_what_the_checker_answers() -> None:
    portals = {"example.org": Portal(Nobody(), [Checker(b"customer-17")])}
    assert (await door(portals).login("joe@example.org", "secret", LOOPBACK)).name == "customer-17@example.org"
    assert (await door(Portal(Nobody(), [Checker("joe@else.example")])).login("x", "y", LOOPBACK)).name == (
        "joe@else.example"
    )


async def test_checkers_of_hashed_passwords_are_asked_too() -> None:
    checker = Checker(lambda given: given.username if given.checkPassword(b"secret") else b"", IUsernameHashedPassword)
    keeper = door({"example.org": Portal(Nobody(), [checker])})
    assert (await keeper.login("joe@example.org", "secret", LOOPBACK)).name == "joe@example.org"
    await refused(keeper, "joe@example.org", "Secret")


async def test_cram_md5_is_offered_where_it_is_wanted_and_the_passwords_are_clear() -> None:
    portals = {"example.org": Portal(Nobody(), [InMemoryUsernamePasswordDatabaseDontUse(joe=b"secret")])}
    clock = Clock()
    keeper = Doorkeeper(
        Portal(MailRealm(MemoryStore(clock))),
        [MountedLogins(portals, clock, cram_md5=True)],
        clock,
        default_domain="example.org",
    )
    assert keeper.mechanisms(LOOPBACK) == ("CRAM-MD5", "PLAIN", "LOGIN")
    assert keeper.mechanisms(Peer("192.0.2.1")) == ()
    assert "CRAM-MD5" not in door(portals).mechanisms(LOOPBACK)

    async def login(user: str, password: bytes) -> Any:
        exchange = keeper.begin("CRAM-MD5", LOOPBACK)
        challenge = await exchange.respond(None)
        digest = hmac.new(password, challenge, "md5").hexdigest()
        return await exchange.respond(f"{user} {digest}".encode())

    assert (await login("joe@example.org", b"secret")).name == "joe@example.org"
    assert (await login("Joe", b"secret")).name == "joe@example.org"
    for user, password in (("joe", b"Secret"), ("ann", b"secret"), ("joe@example.net", b"secret")):
        trying = Deferred.fromCoroutine(login(user, password))
        clock.pump([10] * 30)
        with pytest.raises(AuthenticationFailed):
            await trying
    for said in (b"", b"joe", b"joe secret", b"joe " + b"x" * 32, b"\xff " + b"a" * 32):
        exchange = keeper.begin("CRAM-MD5", LOOPBACK)
        await exchange.respond(None)
        with pytest.raises(BadSyntax):
            await exchange.respond(said)
    with pytest.raises(BadSyntax):
        await keeper.begin("CRAM-MD5", LOOPBACK).respond(b"joe")
    challenges = [await keeper.begin("CRAM-MD5", LOOPBACK).respond(None) for _ in range(2)]
    assert challenges[0] != challenges[1]


async def test_a_portal_without_passwords_lets_nobody_in() -> None:
    await refused(door(Portal(Nobody(), [AllowAnonymousAccess()])), "joe@example.org", "secret")


async def test_a_checker_that_breaks_or_never_answers_is_a_temporary_error() -> None:
    for answer in (lambda _: 1 / 0, lambda _: Deferred()):
        clock = Clock()
        keeper = door({"example.org": Portal(Nobody(), [Checker(answer)])}, clock)
        login = Deferred.fromCoroutine(keeper.login("joe@example.org", "secret", LOOPBACK))
        clock.advance(21)
        assert login.called
        with pytest.raises(Unavailable):
            await login


async def test_coroutines_and_deferreds_are_waited_for() -> None:
    async def answer(given: Any) -> bytes:
        if given.password != b"secret":
            raise UnauthorizedLogin
        return given.username

    keeper = door({"example.org": Portal(Nobody(), [Checker(answer)])})
    assert (await keeper.login("joe@example.org", "secret", LOOPBACK)).name == "joe@example.org"
    await refused(keeper, "joe@example.org", "Secret")
