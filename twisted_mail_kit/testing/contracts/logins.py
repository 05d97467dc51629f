"""Promises of an authenticator to those who may log in: the right password, each mechanism, and who keeps users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scramp import ScramClient
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.portal import Portal
from zope.interface.verify import verifyObject

from twisted_mail_kit.accounts.names import account_name
from twisted_mail_kit.auth.doorkeeper import Doorkeeper
from twisted_mail_kit.auth.realm import MailRealm
from twisted_mail_kit.auth.settings import LoginSettings
from twisted_mail_kit.errors import AccountNotFound, AuthenticationFailed, BadSyntax, MechanismNotSupported
from twisted_mail_kit.interfaces import IAuthenticator, IPasswords
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.sasl import IBearerToken, IScramKeys
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts.part import PartBench, part_promise
from twisted_mail_kit.testing.contracts.promise import running_reactor

DOMAIN = "example.org"
SECURE = Peer("192.0.2.1", service="imap", tls="TLSv1.3 TLS_AES_256_GCM_SHA384")
CLEAR = Peer("192.0.2.1", service="imap")
NEW_USERS = {"joe@example.org": "s\u00e9same, open", "ann@example.org": "two  words"}
"""Whom a checker is given that provides IPasswords."""
NOBODY = "nobody-has-this-name@example.org"
KNOWN_CREDENTIALS = (IUsernamePassword, IUsernameHashedPassword, IBearerToken)


class LoginBench(PartBench):
    """How a checker is made, and who may log in."""

    users: Mapping[str, str] = {}
    """Names (with their domains) and passwords of those who may log in to what `make_checker` makes."""

    def make_checker(self, tmp_path: Path) -> Any:
        """Give an ICredentialsChecker, or an IAuthenticator. An awaitable of one will do."""
        raise NotImplementedError("write make_checker(self, tmp_path)")

    def _make(self) -> Any:
        return self.make_checker(self.tmp_path)

    def door(self, part: Any) -> Any:
        """What sessions ask: our doorkeeper around a checker, without its delays."""
        if IAuthenticator.providedBy(part):
            return part
        settings = LoginSettings(first_delay=0, failing_at_once=100_000)
        realm = MailRealm(MemoryStore(), {}, DOMAIN)
        return Doorkeeper(Portal(realm), [part], running_reactor(), settings, DOMAIN)

    async def known(self, part: Any) -> list[tuple[str, str]]:
        """(user, password) of those who may log in; skips aloud where nobody is known to."""
        if self.users:
            return list(self.users.items())
        if not IPasswords.providedBy(part):
            pytest.skip("the contract has no users: who may log in was not looked at")
        for user, password in NEW_USERS.items():
            await part.set_password(user, password)
        return list(NEW_USERS.items())

    def mechanism(self, door: Any, name: str) -> str:
        """The mechanism's name; skips where it is not offered."""
        if name not in door.mechanisms(SECURE):
            pytest.skip(f"{name} is not offered")
        return name


async def refused(door: Any, user: str, password: str) -> AuthenticationFailed:
    """What is told to somebody who may not come in."""
    try:
        account = await door.login(user, password, SECURE)
    except AuthenticationFailed as problem:
        return problem
    raise AssertionError(f"{user!r} came in as {account.name!r}")


class LoginPromises(LoginBench):
    """Those who may."""

    @part_promise
    async def test_the_door_is_provided(self, part: Any) -> None:
        if IAuthenticator.providedBy(part):
            verifyObject(IAuthenticator, part)
            return
        verifyObject(ICredentialsChecker, part)
        interfaces = list(part.credentialInterfaces)
        assert any(one in KNOWN_CREDENTIALS for one in interfaces), "it takes no credentials that a mail session has"

    @part_promise
    async def test_mechanisms_are_offered_and_each_can_be_begun(self, part: Any) -> None:
        door = self.door(part)
        names = door.mechanisms(SECURE)
        assert names and len(names) == len(set(names))
        for name in names:
            assert name == name.upper()
            door.begin(name, SECURE)
            door.begin(name.lower(), SECURE)
        with pytest.raises(MechanismNotSupported):
            door.begin("X-NOBODY-KNOWS", SECURE)

    @part_promise
    async def test_no_password_goes_in_clear_text(self, part: Any) -> None:
        assert not self.door(part).mechanisms(CLEAR)

    @part_promise
    async def test_the_right_password_opens_the_account(self, part: Any) -> None:
        door = self.door(part)
        for user, password in await self.known(part):
            account = await door.login(user, password, SECURE)
            assert account.name == account_name(user, DOMAIN)

    @part_promise
    async def test_it_opens_it_again_and_again(self, part: Any) -> None:
        door = self.door(part)
        (user, password), *_ = await self.known(part)
        for _ in range(3):
            assert await door.login(user, password, SECURE)
            await refused(door, user, password + "x")

    @part_promise
    async def test_any_other_password_does_not(self, part: Any) -> None:
        door = self.door(part)
        known = await self.known(part)
        (user, right), *others = known
        wrong = [f"{right} ", f"{right}x", right[:-1], f"x{right}", f"{right}\0", "", "*", "%", "\0", right * 2]
        wrong += [word for word in (right.upper(), right.lower()) if word != right]
        wrong += [password for _, password in others if password != right]
        for password in wrong:
            await refused(door, user, password)

    @part_promise
    async def test_a_stranger_is_refused_in_the_same_words_as_a_wrong_password(self, part: Any) -> None:
        door = self.door(part)
        for user, password in await self.known(part):
            one, other = await refused(door, user, f"{password}x"), await refused(door, NOBODY, password)
            assert type(one) is type(other) and str(one).replace(user, "") == str(other).replace(NOBODY, "")

    @part_promise
    async def test_a_stranger_is_refused(self, part: Any) -> None:
        for user in (NOBODY, "nobody", "root", "admin"):
            if user not in self.users:
                await refused(self.door(part), user, "secret")

    @part_promise
    async def test_plain_lets_in_who_may(self, part: Any) -> None:
        door = self.door(part)
        name = self.mechanism(door, "PLAIN")
        for user, password in await self.known(part):
            account = await door.begin(name, SECURE).respond(f"\0{user}\0{password}".encode())
            assert account.name == account_name(user, DOMAIN)
            exchange = door.begin(name, SECURE)
            assert isinstance(await exchange.respond(None), bytes)
            with pytest.raises(AuthenticationFailed):
                await exchange.respond(f"\0{user}\0{password}x".encode())

    @part_promise
    async def test_login_lets_in_who_may(self, part: Any) -> None:
        door = self.door(part)
        name = self.mechanism(door, "LOGIN")
        for user, password in await self.known(part):
            for word, may in ((password, True), (f"{password}x", False)):
                exchange = door.begin(name, SECURE)
                await exchange.respond(None)
                await exchange.respond(user.encode())
                if may:
                    assert (await exchange.respond(word.encode())).name == account_name(user, DOMAIN)
                else:
                    with pytest.raises(AuthenticationFailed):
                        await exchange.respond(word.encode())

    @part_promise
    async def test_scram_lets_in_who_may_and_knows_the_password_itself(self, part: Any) -> None:
        door = self.door(part)
        name = self.mechanism(door, "SCRAM-SHA-256")
        for user, password in await self.known(part):
            client, exchange = ScramClient([name], user, password), door.begin(name, SECURE)
            client.set_server_first((await exchange.respond(client.get_client_first().encode())).decode())
            client.set_server_final((await exchange.respond(client.get_client_final().encode())).decode())
            assert (await exchange.respond(b"")).name == account_name(user, DOMAIN)
            client, exchange = ScramClient([name], user, f"{password}x"), door.begin(name, SECURE)
            client.set_server_first((await exchange.respond(client.get_client_first().encode())).decode())
            with pytest.raises(AuthenticationFailed):
                await exchange.respond(client.get_client_final().encode())


class PasswordPromises(LoginBench):
    """IPasswords, and IScramKeys."""

    level = "abilities"

    def passwords(self, part: Any) -> Any:
        """The part; skips where it does not keep users itself."""
        if not IPasswords.providedBy(part):
            pytest.skip("it is no IPasswords: users are kept elsewhere")
        verifyObject(IPasswords, part)
        return part

    @part_promise
    async def test_a_user_that_is_made_comes_in_and_one_that_is_removed_does_not(self, part: Any) -> None:
        passwords, door = self.passwords(part), self.door(part)
        await passwords.set_password("new@example.org", "first")
        assert await door.login("new@example.org", "first", SECURE)
        await passwords.set_password("new@example.org", "second")
        await refused(door, "new@example.org", "first")
        assert await door.login("new@example.org", "second", SECURE)
        await passwords.remove_user("new@example.org")
        await refused(door, "new@example.org", "second")
        with pytest.raises(AccountNotFound):
            await passwords.remove_user("new@example.org")

    @part_promise
    async def test_users_are_listed_ascending(self, part: Any) -> None:
        passwords = self.passwords(part)
        before = set(await passwords.user_names())
        added = {f"{name}@example.org" for name in ("zoe", "abe", "mia")}
        for name in sorted(added, reverse=True):
            await passwords.set_password(name, "secret")
        names = list(await passwords.user_names())
        assert names == sorted(names) and set(names) == before | added

    @part_promise
    async def test_what_cannot_be_a_login_is_told(self, part: Any) -> None:
        passwords = self.passwords(part)
        before = list(await passwords.user_names())
        for user, password in (("", "x"), ("a\nb@example.org", "x"), ("joe@example.org", ""), ("\0", "x")):
            with pytest.raises(BadSyntax):
                await passwords.set_password(user, password)
        assert list(await passwords.user_names()) == before

    @part_promise
    async def test_users_are_there_when_it_is_made_again(self, part: Any) -> None:
        passwords = self.passwords(part)
        await passwords.set_password("new@example.org", "first")
        again = await self.made_again()
        assert "new@example.org" in await again.user_names()
        await passwords.set_password("new@example.org", "second")
        await refused(self.door(again), "new@example.org", "first")
        assert await self.door(again).login("new@example.org", "second", SECURE)

    @part_promise
    async def test_a_stranger_is_shown_the_same_scram_keys_each_time(self, part: Any) -> None:
        if not IScramKeys.providedBy(part):
            pytest.skip("it keeps no SCRAM keys")
        assert await part.scram_keys(NOBODY) is None
        one, other = part.decoy_keys(NOBODY), part.decoy_keys(NOBODY)
        assert (one.salt, one.iterations) == (other.salt, other.iterations)
        assert part.decoy_keys("somebody-else@example.org").salt != one.salt
        known = await self.known(part)
        keys = await part.scram_keys(known[0][0])
        if keys is not None:
            assert (len(keys.salt), keys.iterations) == (len(one.salt), one.iterations), "decoys can be told apart"
