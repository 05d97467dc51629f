"""What a kit is made of besides its store, and how it is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from attrs import field, frozen
from twisted.cred.portal import Portal
from twisted.internet.interfaces import IOpenSSLContextFactory

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.auth.doorkeeper import Doorkeeper
from twisted_mail_kit.auth.passwords import PasswordFile
from twisted_mail_kit.auth.realm import MailRealm
from twisted_mail_kit.auth.settings import LoginSettings
from twisted_mail_kit.delivery.local import LocalDelivery
from twisted_mail_kit.delivery.pipeline import Pipeline
from twisted_mail_kit.delivery.routing import Router
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.imap.factory import make_factory as make_imap
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.interfaces import (
    IAccounts,
    IAuthenticator,
    ICheck,
    IDeliveryTarget,
    IMaildropStore,
    IMailStore,
    IPasswords,
    IReception,
)
from twisted_mail_kit.net.blocking import release
from twisted_mail_kit.net.factory import SessionFactory
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.net.turn import Turn
from twisted_mail_kit.pop3.factory import make_factory as make_pop3
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.smtp.factory import make_factory as make_smtp
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.stores.folders import make_folder


@frozen(kw_only=True)
class KitSettings:
    """Every setting of every service; all have defaults."""

    smtp: SMTPSettings = field(factory=SMTPSettings)
    submission: SMTPSettings = field(factory=SMTPSettings)
    lmtp: SMTPSettings = field(factory=SMTPSettings)
    imap: IMAPSettings = field(factory=IMAPSettings)
    pop3: POP3Settings = field(factory=POP3Settings)
    delivery: DeliverySettings = field(factory=DeliverySettings)
    login: LoginSettings = field(factory=LoginSettings)
    drain: float = 30.0
    """Seconds that sessions get to come to a safe end when the server stops."""


@frozen(kw_only=True)
class Fittings:
    """What `MailKit` is given besides its store; see there. A reload makes new ones."""

    hostname: str
    domains: tuple[str, ...] = ()
    auth: tuple[Any, ...] = ()
    accounts: IAccounts | None = None
    checks: tuple[ICheck, ...] = ()
    outbound: IDeliveryTarget | None = None
    reception: IDeliveryTarget | None = None
    certificates: IOpenSSLContextFactory | None = None
    settings: KitSettings = field(factory=KitSettings)
    state_dir: Path | None = None

    def put_together(self, store: IMailStore, reactor: Any, shared: Shared) -> Parts:
        """Make the doorkeeper and the pipeline. Raises ConfigurationError."""
        settings = self.settings
        accounts = self.accounts or _addresses_of(self.domains, self.auth)
        spool = spool_folder(self.state_dir) if self.state_dir else None
        authenticator = None
        if self.auth:
            domain = self.domains[0] if self.domains else self.hostname
            portal = Portal(MailRealm(store, default_domain=domain))
            authenticator = Doorkeeper(portal, self.auth, reactor, settings.login, domain, shared)
        if self.reception is not None:
            return Parts(self, authenticator, self._own_reception(), reactor, shared)
        pipeline = Pipeline(
            hostname=self.hostname,
            router=Router(self.domains, accounts, settings.delivery, outbound=self.outbound),
            local=LocalDelivery(store, reactor, settings.delivery, accounts, spool),
            checks=self.checks,
            settings=settings.delivery,
            spool=spool,
            reactor=reactor,
            turn=Turn(reactor),
        )
        return Parts(self, authenticator, pipeline, reactor, shared)

    def problem_with(self, service: str, store: IMailStore) -> str:
        """Why there cannot be such a service; empty: there can."""
        if service in ("imap", "pop3", "submission") and not self.auth:
            return f"{service} needs somebody who may log in: give the kit an `auth`"
        if IMaildropStore.providedBy(store):
            if service == "imap":
                return "imap needs mailboxes: the store has maildrops only, for POP3"
            if service != "pop3" and self.reception is None:
                return f"{service} needs a `reception`: mail cannot be delivered into a store of maildrops"
        return ""

    def _own_reception(self) -> IReception:
        """What takes the pipeline's place. Raises ConfigurationError."""
        if self.checks:
            raise ConfigurationError(["checks are the pipeline's: with a `reception` of its own nobody asks them"])
        assert self.reception is not None
        if IReception.providedBy(self.reception):
            return self.reception
        from twisted_mail_kit.adapters.reception import Reception  # it brings twisted.mail

        return Reception(self.reception, self.hostname)


@frozen
class Parts:
    """The inner parts that all sessions share, until the next reload."""

    fittings: Fittings
    authenticator: IAuthenticator | None
    reception: IReception
    reactor: Any
    shared: Shared

    def factory(self, service: str, offer_tls: bool, watch: Callable[..., Any], name: str) -> SessionFactory:
        """A new factory for a service; factories of the same name count their connections together."""
        shared = self.shared
        hostname, settings = self.fittings.hostname, self.fittings.settings
        certificates = self.fittings.certificates if offer_tls else None
        if service == "imap":
            return make_imap(
                hostname,
                self._login(service),
                certificates,
                settings.imap,
                self.reactor,
                watch,
                settings.delivery.scan_limits(),
                shared,
                name,
                self.fittings.state_dir / "search" if self.fittings.state_dir else None,
            )
        if service == "pop3":
            return make_pop3(hostname, self._login(service), certificates, settings.pop3, self.reactor, shared, name)
        authenticator = self._login(service) if service == "submission" else None
        own = {"smtp": settings.smtp, "submission": settings.submission, "lmtp": settings.lmtp}[service]
        return make_smtp(
            cast(Any, service), hostname, self.reception, authenticator, certificates, own, self.reactor, shared, name
        )

    def close(self) -> None:
        """Nobody logs in by these any more: let go of threads."""
        for checker in self.fittings.auth:
            if isinstance(checker, PasswordFile):
                checker.close()
        for part in (
            *self.fittings.auth,
            self.fittings.accounts,
            *self.fittings.checks,
            self.fittings.outbound,
            self.fittings.reception,
        ):
            release(part)

    def _login(self, service: str) -> IAuthenticator:
        if self.authenticator is None:
            raise ConfigurationError([f"{service} needs somebody who may log in: give the kit an `auth`"])
        return self.authenticator


def _addresses_of(domains: tuple[str, ...], auth: tuple[Any, ...]) -> IAccounts:
    """The names that the checkers know, as far as they tell: those are the addresses there are."""
    for one in auth:
        if IPasswords.providedBy(one):
            return Directory(domains, passwords=one)
        if isinstance(getattr(one, "users", None), Mapping):  # twisted.cred's in-memory checker
            return Directory(domains, [name.decode() if isinstance(name, bytes) else name for name in one.users])
    return Directory(domains)


def spool_folder(state_dir: Path) -> Path:
    """The folder for large messages on their way through; made where it is missing."""
    folder = state_dir / "spool"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def make_state_dir(path: Path) -> None:
    """Make the state folder, for us alone. Raises ConfigurationError."""
    try:
        make_folder(path)
    except OSError as problem:
        raise ConfigurationError([f"{path}: the state folder cannot be made: {problem}"]) from None
