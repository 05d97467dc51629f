"""Several credentials checkers, asked in turn, as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hmac import compare_digest
from typing import Any

from attrs import evolve
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mail_kit.accounts.names import account_name
from twisted_mail_kit.errors import MailError, Unavailable
from twisted_mail_kit.sasl import CramCredentials

PASSWORDS = (IUsernamePassword, IUsernameHashedPassword)


@implementer(IUsernamePassword, IUsernameHashedPassword)
class PasswordCredentials:
    """A login, as any checker of twisted.cred knows it. Some of them want octets, some want text."""

    def __init__(self, username: bytes | str, password: bytes | str) -> None:
        self.username: Any = username
        self.password: Any = password

    def checkPassword(self, password: bytes | str) -> bool:
        """Whether that is it."""
        return compare_digest(_octets(self.password), _octets(password))


@implementer(ICredentialsChecker)
class InTurn:
    """The first checker that says yes decides. Each is asked for `joe@example.org`; one that is not ours, and where
    that is the default domain, for `joe` too.

    A checker that breaks does not hide another's yes; without one, Unavailable is raised.
    """

    log = Logger()

    def __init__(self, checkers: Sequence[Any], interfaces: Sequence[Any], default_domain: str = "") -> None:
        self.credentialInterfaces = tuple(interfaces)
        self._default = f"@{default_domain}"
        self._checkers = [
            checker for checker in checkers if any(one in checker.credentialInterfaces for one in interfaces)
        ]

    def __bool__(self) -> bool:
        return bool(self._checkers)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """cred asks."""
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: Any) -> bytes:
        broken: Exception | None = None
        for checker in self._checkers:
            problem: Exception | None = None
            was_asked = False
            for one in self._spellings(checker, credentials):
                try:
                    avatar = await maybeDeferred(checker.requestAvatarId, one)
                except UnauthorizedLogin:
                    was_asked = True
                except MailError:
                    raise
                except Exception as error:
                    problem = error
                else:
                    if isinstance(avatar, (str, bytes)) and avatar:
                        # The realm gets full names, however a checker spells them.
                        return account_name(_octets(avatar).decode(), self._default[1:]).encode()
                    was_asked = True
            if not was_asked and problem is not None:
                broken = problem
                self.log.failure("checker {checker} failed", failure=_failure(problem), checker=type(checker).__name__)
        if broken is not None:
            raise Unavailable("a credentials checker failed") from broken
        raise UnauthorizedLogin

    def _spellings(self, checker: Any, credentials: Any) -> Iterator[Any]:
        yield credentials
        if isinstance(credentials, CramCredentials):
            user = credentials.username.decode()
            if len(self._default) > 1 and user.endswith(self._default):
                yield evolve(credentials, username=user.removesuffix(self._default).encode())
            return
        if not isinstance(credentials, PasswordCredentials) or getattr(checker, "wants_full_names", False):
            return
        user, password = _octets(credentials.username).decode(), _octets(credentials.password).decode()
        yield PasswordCredentials(user, password)
        if len(self._default) > 1 and user.endswith(self._default):
            short = user.removesuffix(self._default)
            yield PasswordCredentials(short.encode(), password.encode())
            yield PasswordCredentials(short, password)


def _octets(text: bytes | str) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


def _failure(problem: Exception) -> Any:
    return Failure(problem)
