"""Promises of an authenticator on bad days: strangers who try, many at once, and what it stands on is gone."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import maybeDeferred

from twisted_mail_kit.auth.inturn import PasswordCredentials
from twisted_mail_kit.errors import AuthenticationFailed, BadSyntax, Unavailable
from twisted_mail_kit.interfaces import IAuthenticator
from twisted_mail_kit.testing.contracts.logins import NOBODY, SECURE, LoginBench, refused
from twisted_mail_kit.testing.contracts.part import at_once, given_up, nobody_held_up, part_promise, what_became

LONG = "x" * 65_536
STRANGE = [
    "",
    " ",
    "\0",
    "\r\n",
    "*",
    "%",
    "_",
    "*)(uid=*))(|(uid=*",
    "' OR '1'='1",
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "${USER}",
    "%s%n",
    "joe:joe",
    "\u202egro.elpmaxe@eoj",
    "\U0001f511",
    "a@b@c",
    "@",
    LONG,
]
"""Names and passwords that nobody has."""
ROUNDS = 3


class LoginTrialPromises(LoginBench):
    """Those who may not, and those who come at a bad time."""

    level = "hostile"

    @part_promise
    async def test_strange_names_are_refused(self, part: Any) -> None:
        for name in STRANGE:
            await refused(self.door(part), name, "secret")

    @part_promise
    async def test_strange_passwords_are_refused(self, part: Any) -> None:
        for password in STRANGE[:5]:
            await refused(self.door(part), NOBODY, password)
        (user, right), *_ = await self.known(part)
        for password in STRANGE:
            if password != right:
                await refused(self.door(part), user, password)

    @part_promise
    async def test_octets_that_are_no_text_are_refused(self, part: Any) -> None:
        door = self.door(part)
        name = self.mechanism(door, "PLAIN")
        for octets in (b"\0\xff\xfe\0secret", b"\0joe@example.org\0\xff\xfe", b"\0" * 9, b"", b"joe", b"\0joe"):
            with pytest.raises((AuthenticationFailed, BadSyntax)):
                await door.begin(name, SECURE).respond(octets)

    @part_promise
    async def test_the_checker_itself_refuses_what_it_does_not_know(self, part: Any) -> None:
        checker = self.checker(part)
        names = [name.encode() for name in STRANGE] + [b"\xff\xfe", b"joe\xc3", b"\x80" * 100]
        for name in names:
            await self.not_let_in(checker, name, b"secret")
        for password in (b"\xff\xfe", b"", b"\0"):
            await self.not_let_in(checker, NOBODY.encode(), password)

    @part_promise
    async def test_a_name_that_only_looks_like_a_users_is_refused(self, part: Any) -> None:
        checker = self.checker(part)
        for user, password in (await self.known(part))[:1]:
            local, _, domain = user.partition("@")
            for other in (f"{user}\0", f"{user}\0x", f"{user}x", f"{local[:-1]}@{domain}", f"{local}%@{domain}"):
                await self.not_let_in(checker, other.encode(), password.encode())
            for other in (f"{local}*@{domain}", f"{user}:", f"{user},", f"%{local}@{domain}"):
                await self.not_let_in(checker, other.encode(), password.encode())

    @part_promise
    async def test_a_stranger_waits_as_long_as_a_user_with_a_wrong_password(self, part: Any) -> None:
        door = self.door(part)
        (user, password), *_ = await self.known(part)
        times: dict[str, list[float]] = {user: [], NOBODY: []}
        for number in range(ROUNDS + 1):
            for name, each in times.items():
                began = time.perf_counter()
                await refused(door, name, f"{password}{number}")
                if number:  # the first may still have to make ready
                    each.append(time.perf_counter() - began)
        one, other = (statistics.median(each) for each in times.values())
        slack = 0.015 + 0.5 * max(one, other)
        assert abs(one - other) < slack, f"a user is refused after {one:.4f} s, and a stranger after {other:.4f} s"

    def checker(self, part: Any) -> Any:
        """The checker itself; skips where there is none that takes passwords."""
        if IAuthenticator.providedBy(part):
            pytest.skip("it is an authenticator: there is no checker to ask")
        self.mechanism(self.door(part), "PLAIN")
        return part

    async def not_let_in(self, checker: Any, user: bytes, password: bytes) -> None:
        """By the checker itself: UnauthorizedLogin, or what counts as nobody."""
        came = await what_became(maybeDeferred(checker.requestAvatarId, PasswordCredentials(user, password)))
        if isinstance(came, Exception):
            assert isinstance(came, UnauthorizedLogin), f"{user!r} is not refused, but {type(came).__name__}: {came}"
        else:
            assert came in (b"", "", None, ()), f"{user!r} came in as {came!r}"


class _Crowd(LoginBench):
    level = "crowds"

    @part_promise
    async def test_of_many_at_once_each_gets_an_answer_of_his_own(self, part: Any) -> None:
        door = self.door(part)
        known = await self.known(part)
        asked = [one for user, password in known for one in ((user, password, True), (user, f"{password}x", False))]
        asked = (asked * 10)[:12]
        for (user, password, may), came in zip(
            asked, await at_once(door.login(user, password, SECURE) for user, password, _ in asked), strict=True
        ):
            if isinstance(came, Unavailable):
                continue  # too many at once, perhaps; that may be
            if may:
                assert not isinstance(came, Exception), f"{user}: {came!r}"
                assert came.name.startswith(user.partition("@")[0])
            else:
                assert isinstance(came, AuthenticationFailed), f"{user} with {password!r}: {came!r}"

    @part_promise
    async def test_while_passwords_are_checked_nobody_is_held_up(self, part: Any) -> None:
        door = self.door(part)
        async with nobody_held_up(self):
            await at_once(door.login(NOBODY, f"secret {number}", SECURE) for number in range(6))

    @part_promise
    async def test_one_who_gives_up_is_in_nobodys_way(self, part: Any) -> None:
        door = self.door(part)
        (user, password), *_ = await self.known(part)
        for number in range(5):
            await given_up(door.login(user, f"{password}{number}", SECURE))
        assert await door.login(user, password, SECURE)
        await refused(door, user, f"{password}x")


class _Kept(LoginBench):
    level = "kept"

    @part_promise
    async def test_made_again_it_lets_in_the_same(self, part: Any) -> None:
        known = await self.known(part)
        again = await self.made_again()
        for one in (again, part):
            for user, password in known:
                assert await self.door(one).login(user, password, SECURE)
                await refused(self.door(one), user, f"{password}x")
        await self.closed(part)
        await self.closed(part)
        assert await self.door(again).login(*known[0], SECURE)

    @part_promise
    async def test_without_what_it_stands_on_nobody_is_told_that_his_password_is_wrong(self) -> None:
        broken = await what_became(self._broken())
        if isinstance(broken, Exception):
            return  # then the server does not begin
        for user, password in [*self.users.items(), ("joe@example.org", "secret")]:
            came = await what_became(self.door(broken).login(user, password, SECURE))
            assert isinstance(came, Unavailable), f"{user} is told {came!r}, and should be told to try again"

    async def _broken(self) -> Any:
        return await self.opened(self.make_broken(self.tmp_path))


class LoginTrials(LoginTrialPromises, _Crowd, _Kept):
    """All of it."""
