"""The doorkeeper: every login of every protocol, over twisted.cred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import LoginFailed, UnhandledCredentials
from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.accounts.names import account_name
from twisted_mail_kit.auth.inturn import PASSWORDS, InTurn, PasswordCredentials
from twisted_mail_kit.auth.settings import LoginSettings
from twisted_mail_kit.auth.throttle import Throttle
from twisted_mail_kit.errors import AuthenticationFailed, MailError, MechanismNotSupported, TooManyLogins, Unavailable
from twisted_mail_kit.interfaces import IAccount, IAuthenticator, ISASLExchange
from twisted_mail_kit.mail.envelope import Peer
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.metrics.catalogue import LOGINS
from twisted_mail_kit.net.factory import source_of
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.sasl import (
    Bearer,
    BearerToken,
    CramCredentials,
    CramMd5,
    IBearerToken,
    IClearPasswords,
    IScramKeys,
    Login,
    Plain,
    ScramKeys,
    ScramSha256,
)


@implementer(IAuthenticator)
class Doorkeeper:
    """Knows passwords over TLS and on this machine only.

    Checkers are asked in the order in which they are given. A wrong password and an unknown user have the same text
    and take the same time, which grows with each failure; see `throttle`. Logins are compared in lower case, and one
    without a domain belongs to the default domain.
    """

    log = Logger()

    def __init__(
        self,
        portal: Portal,
        checkers: Sequence[Any],
        clock: Any,
        settings: LoginSettings | None = None,
        default_domain: str = "",
        shared: Shared | None = None,
    ) -> None:
        self.portal = portal
        self.clock = clock
        self.settings = settings or LoginSettings()
        self.default_domain = default_domain
        self._throttle = Throttle(clock, self.settings, shared)
        passwords = InTurn(checkers, PASSWORDS, default_domain)
        tokens = InTurn(checkers, (IBearerToken,), default_domain)
        for checker in (passwords, tokens):
            if checker:
                portal.registerChecker(checker)
        challenged = [checker for checker in checkers if IClearPasswords.providedBy(checker)]
        self._cram = InTurn(challenged, (IUsernameHashedPassword,), default_domain)
        self._scram = [checker for checker in checkers if IScramKeys.providedBy(checker)]
        self._mechanisms: list[str] = []
        if self._scram:
            self._mechanisms.append("SCRAM-SHA-256")
        if tokens:
            self._mechanisms += ["OAUTHBEARER", "XOAUTH2"]
        if self._cram:
            self._mechanisms.append("CRAM-MD5")
        if passwords:
            self._mechanisms += ["PLAIN", "LOGIN"]

    def mechanisms(self, peer: Peer) -> Sequence[str]:
        """Strongest first; none in clear text, but on this machine."""
        return tuple(self._mechanisms) if peer.tls or peer.is_local else ()

    def begin(self, mechanism: str, peer: Peer) -> ISASLExchange:
        """Raises MechanismNotSupported."""
        name = mechanism.upper()
        if name not in self.mechanisms(peer):
            raise MechanismNotSupported(mechanism)
        if name == "SCRAM-SHA-256":
            return ScramSha256(
                lambda user: self._scram_keys(user, peer),
                lambda user: self._guarded(
                    user, peer, lambda name: self.portal.realm.requestAvatar(name.encode(), None, IAccount)
                ),
                lambda user: self._refuse(self._name(user), peer),
            )
        if name in ("XOAUTH2", "OAUTHBEARER"):
            return Bearer(name, lambda user, token: self._token_login(user, token, peer))
        if name == "CRAM-MD5":
            return CramMd5(self.default_domain, lambda user, answer: self._cram_login(user, answer, peer))
        make = Plain if name == "PLAIN" else Login
        return make(lambda user, password: self.login(user, password, peer))

    async def login(self, user: str, password: str, peer: Peer) -> IAccount:
        """Raises AuthenticationFailed, TooManyLogins, Unavailable."""

        def ask(name: str) -> Any:
            credentials = PasswordCredentials(name.encode(), password.encode())
            return self.portal.login(credentials, None, IAccount)

        return await self._guarded(user, peer, ask)

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _cram_login(self, user: str, answer: CramCredentials, peer: Peer) -> IAccount:
        async def ask(name: str) -> Any:
            avatar_id = await self._cram.requestAvatarId(evolve(answer, username=name.encode()))
            return await maybeDeferred(self.portal.realm.requestAvatar, avatar_id, None, IAccount)

        return await self._guarded(user, peer, ask)

    async def _token_login(self, user: str, token: str, peer: Peer) -> IAccount:
        def ask(name: str) -> Any:
            return self.portal.login(BearerToken(name, token), None, IAccount)

        return await self._guarded(user, peer, ask, may_be_empty=True)

    async def _guarded(self, user: str, peer: Peer, ask: Callable[[str], Any], may_be_empty: bool = False) -> IAccount:
        """Ask, and make a failure wait for its answer."""
        source = self._admit(peer)
        name = "" if may_be_empty and not user else self._name(user)
        if not name and not may_be_empty:
            await self._refuse(name, peer)
        try:
            _, account, _ = await maybeDeferred(ask, name)
        except (LoginFailed, UnhandledCredentials, AuthenticationFailed):
            await self._refuse(name, peer)
            raise  # never reached
        except MailError as problem:
            LOGINS[peer.service, "busy" if isinstance(problem, TooManyLogins) else "failed"].value += 1
            raise
        except Exception as problem:
            LOGINS[peer.service, "failed"].value += 1
            self.log.failure("login of {user} from {source} failed", user=name, source=source or "unix")
            raise Unavailable("the login could not be checked") from problem
        self.log.info(
            "{user} logged in from {source} ({service})", user=account.name, source=peer.host, service=peer.service
        )
        LOGINS[peer.service, "ok"].value += 1
        found: IAccount = account
        return found

    def _admit(self, peer: Peer) -> str:
        if not self.mechanisms(peer):
            raise AuthenticationFailed("no passwords in clear text")
        source = source_of(peer.host)
        if self._throttle.is_busy(source):
            LOGINS[peer.service, "busy"].value += 1
            limits.LOGINS_FAILING.value += 1
            self.log.info("too many failed logins of {source} wait for their answer", source=source)
            raise TooManyLogins("too many failed logins from there are waiting")
        return source

    async def _refuse(self, name: str, peer: Peer) -> None:
        source = source_of(peer.host)
        LOGINS[peer.service, "refused"].value += 1
        delay = self._throttle.failed(source, name)
        self.log.info(
            "login refused for {user} from {peer} ({service}), answered after {delay} s",
            user=name,
            peer=peer.host,
            service=peer.service,
            delay=delay,
        )
        self._throttle.begin_wait(source)
        try:
            await deferLater(self.clock, delay, lambda: None)
        finally:
            self._throttle.end_wait(source)
        raise AuthenticationFailed("wrong user or password")

    async def _scram_keys(self, user: str, peer: Peer) -> ScramKeys:
        self._admit(peer)
        name = self._name(user) or user
        for checker in self._scram:
            keys: ScramKeys | None = await checker.scram_keys(name)
            if keys is not None:
                return keys
        decoy: ScramKeys = self._scram[0].decoy_keys(name)
        return decoy

    def _name(self, user: str) -> str:
        """The account that is meant; empty for what cannot be one."""
        try:
            return account_name(user, self.default_domain)
        except ValueError:
            return ""
