"""From a configuration to a kit: plugins are asked for their parts, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, evolve
from twisted.cred.strcred import StrcredException, makeChecker
from zope.interface import Interface

from twisted_mail_kit.checks.settings import LowDiskSettings, SenderIdentitySettings
from twisted_mail_kit.config import Chosen, Config, load
from twisted_mail_kit.control.place import LOCK, SOCKET, take_lock
from twisted_mail_kit.control.server import Control
from twisted_mail_kit.control.status import status_verbs
from twisted_mail_kit.control.store_verbs import store_verbs
from twisted_mail_kit.control.verbs import queue_verbs
from twisted_mail_kit.delivery.dkimkeys import load_keys
from twisted_mail_kit.errors import ConfigurationError, MailError
from twisted_mail_kit.fittings import Fittings, make_state_dir
from twisted_mail_kit.interfaces import (
    IAccounts,
    ICheck,
    IDeliveryTarget,
    IMaildropStore,
    IMailStore,
    IPasswords,
    ISpool,
)
from twisted_mail_kit.kit import Listener, MailKit, parse_endpoint
from twisted_mail_kit.monitor.service import Monitor, endpoint_of
from twisted_mail_kit.net.blocking import adapted
from twisted_mail_kit.net.tls import Certificates
from twisted_mail_kit.outgoing import Outgoing, OutgoingSettings
from twisted_mail_kit.plugin import Context, find
from twisted_mail_kit.workers.orders import Snapshot
from twisted_mail_kit.workers.owner import OwnerKit


class Configured:
    """A kit that runs by a configuration; reloads when asked to."""

    def __init__(self, path: Path, reactor: Any, user: tuple[int, int] | None = None) -> None:
        self.path = path
        self.reactor = reactor
        self.config = config = load(path)
        # Root may read keys; who we are going to be, perhaps not.
        self._certificates = certificates_of(config)
        self._snapshot = Snapshot.of(config) if config.tables.workers else None
        self._settings = outgoing_settings(config)
        self._user = user
        if user is not None:
            import_the_rest()
        self._lock = -1

    def open(self) -> MailKit:
        """See `running.Host`. Nothing below the state folder is touched before it is ours."""
        config, user, state = self.config, self._user, self.config.tables.state
        make_state_dir(state)
        is_theirs = user is None or state.stat().st_uid == user[0]
        with acting_as(user if is_theirs else None):
            self._lock = take_lock(state / LOCK)
        if user is not None and not is_theirs:
            for made in (state, *state.rglob("*")):
                os.chown(made, *user, follow_symlinks=False)
        with acting_as(user):
            self._put_together(context_of(config, self.reactor), self._certificates, self._settings)
        for one in config.tables.listen:
            self.kit.listen(one.service, one.endpoint, one.tls)
        return self.kit

    def _put_together(self, context: Context, certificates: Certificates | None, settings: OutgoingSettings) -> None:
        """Open store and spool. What is made here belongs to who we are going to be."""
        config, reactor = self.config, self.reactor
        self.outgoing: Outgoing | None = None
        if config.outbound is None:
            tables = config.tables
            self.outgoing = Outgoing(
                hostname=tables.hostname,
                state_dir=tables.state,
                reactor=reactor,
                settings=settings,
                spool=make_part(config, config.spool, context, ISpool),
            )
        fittings = fit(config, context, certificates, self.outgoing)
        store = make_part(config, config.store, context, IMailStore)
        if self._snapshot is not None and (config.reception is not None or IMaildropStore.providedBy(store)):
            why = "a [reception], or a store of maildrops, has to be in one process with the sessions: workers = 0"
            raise ConfigurationError([f"{config.file}: {why}"])
        if self._snapshot is not None:
            self.kit: MailKit = OwnerKit(
                workers=config.tables.workers,
                snapshot=self._snapshot,
                crew=config.tables.crew,
                store=store,
                reactor=reactor,
                **asdict(fittings, recurse=False),
            )
        else:
            self.kit = MailKit(store=store, reactor=reactor, **asdict(fittings, recurse=False))
        self.kit.reread = self._reread
        self.kit.refitted = self._refitted
        self.monitor = Monitor(
            self.kit, config.tables.metrics, state=config.tables.state, store=store, outgoing=self.outgoing
        )
        verbs = {**status_verbs(self.kit), **self.monitor.verbs()}
        verbs |= store_verbs(store, config.tables.state)
        if self.outgoing is not None:
            verbs |= queue_verbs(self.outgoing.desk)
        self.control = Control(config.tables.state / SOCKET, reactor, verbs)
        self._next: tuple[Config, OutgoingSettings] | None = None

    def start(self) -> None:
        """Open the socket for the operator's hands."""
        self.control.start(has_lock=True)
        self.monitor.start()

    async def prepare(self) -> None:
        """Open the page of metrics, where one is wanted."""
        listener = await self.monitor.open()
        if listener is not None:
            self.kit.listeners.append(listener)

    async def close(self) -> None:
        """Take the socket away."""
        await self.control.stop()
        await self.monitor.stop()

    def leave(self) -> None:
        """Another server may have the state folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def accounts(self) -> list[dict[str, str]]:
        """None that were made for trying out."""
        return []

    def announce(self, listeners: list[Listener]) -> None:
        """The log has said it."""

    def farewell(self) -> None:
        """The log has said it."""

    def _reread(self) -> Fittings:
        before, config = self.config, load(self.path)
        problems = [
            f"{self.path}: {what} has changed: that needs a restart"
            for what, then, now in (
                ("hostname", before.tables.hostname, config.tables.hostname),
                ("state", before.tables.state, config.tables.state),
                ("workers", before.tables.workers, config.tables.workers),
                ("[crew]", before.tables.crew, config.tables.crew),
                ("[[listen]]", before.tables.listen, config.tables.listen),
                ("[store]", before.store, config.store),
                ("[spool]", before.spool, config.spool),
                ("[outbound]", before.outbound, config.outbound),
                ("[queue]", before.tables.queue, config.tables.queue),
                ("[dns]", before.tables.dns, config.tables.dns),
                ("[metrics]", before.tables.metrics, config.tables.metrics),
            )
            if then != now
        ]
        if problems:
            raise ConfigurationError(problems)
        self._next = config, outgoing_settings(config)
        if isinstance(self.kit, OwnerKit):
            self.kit.snapshot_to_come = Snapshot.of(config)
        return fit(config, context_of(config, self.reactor), certificates_of(config), self.outgoing)

    def _refitted(self) -> None:
        assert self._next is not None
        self.config, settings = self._next
        if self.outgoing is not None:
            self.outgoing.change(settings, self.kit.parts.reception)


def import_the_rest() -> None:
    """Import what is otherwise imported when it is first needed: whoever root is about to become may not be able to
    read it, where Python lies in root's own folder."""
    import scramp  # noqa: F401

    import twisted_mail_kit.monitor.page
    import twisted_mail_kit.monitor.processes
    import twisted_mail_kit.net.fetch  # noqa: F401


@contextmanager
def acting_as(user: tuple[int, int] | None) -> Iterator[None]:
    """As root: make files that belong to (uid, gid), and be root again afterwards."""
    if user is None:
        yield
        return
    uid, gid = os.geteuid(), os.getegid()
    os.setegid(user[1])
    os.seteuid(user[0])
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)


def outgoing_settings(config: Config) -> OutgoingSettings:
    """What the configuration says of the way out. Raises ConfigurationError."""
    tables = config.tables
    try:
        keys = load_keys(tables.dkim, config.file.absolute().parent)
    except ConfigurationError as problem:
        raise ConfigurationError([f"{config.file}: {line}" for line in problem.problems]) from None
    return OutgoingSettings(queue=tables.queue, relay=tables.relay, dns=tables.dns, signing=tables.signing, keys=keys)


def context_of(config: Config, reactor: Any) -> Context:
    """What the plugins of a configuration get to know of it."""
    tables = config.tables
    return Context(reactor=reactor, state_dir=tables.state, hostname=tables.hostname, domains=tables.domains)


def certificates_of(config: Config) -> Certificates | None:
    """Read ``[tls]``'s files. Raises ConfigurationError."""
    tls = config.tables.tls
    if tls is None:
        return None
    try:
        return Certificates(tls.certificate, tls.key)
    except ConfigurationError as problem:
        raise ConfigurationError([f"{config.file}: [tls] {line}" for line in problem.problems]) from None


def fit(
    config: Config,
    context: Context,
    certificates: Certificates | None = None,
    outgoing: Outgoing | None = None,
) -> Fittings:
    """All that the configuration asks for, but the store, the `certificates`, and `outgoing`, which takes mail for
    other domains where no plugin does. Raises ConfigurationError, with all that is wrong."""
    tables = config.tables
    checkers = [make_part(config, one, context, Interface) for one in config.auth]
    for text in config.strcred:
        try:
            checkers.append(makeChecker(text))
        except (StrcredException, OSError, ValueError) as problem:
            raise ConfigurationError(
                [f'{config.file}: strcred: "{text}": {problem or type(problem).__name__}']
            ) from None
    context = evolve(context, passwords=next((one for one in checkers if IPasswords.providedBy(one)), None))
    accounts = make_part(config, config.accounts, context, IAccounts)
    context = evolve(context, accounts=accounts)
    return Fittings(
        hostname=tables.hostname,
        domains=tables.domains,
        auth=tuple(checkers),
        accounts=accounts,
        checks=tuple(
            make_part(config, one, context, ICheck)
            for one in (with_usual_checks(config.checks) if config.reception is None else ())
        ),
        outbound=outgoing if config.outbound is None else make_part(config, config.outbound, context, IDeliveryTarget),
        reception=None if config.reception is None else make_part(config, config.reception, context, IDeliveryTarget),
        certificates=certificates,
        settings=config.settings,
        state_dir=tables.state,
    )


def with_usual_checks(checks: tuple[Chosen, ...]) -> tuple[Chosen, ...]:
    """The checks of the configuration, and those that are made in any case unless it names them with other options."""
    named = {one.plugin.name for one in checks}
    usual = (("low-disk", LowDiskSettings()), ("sender-identity", SenderIdentitySettings()))
    return checks + tuple(Chosen(find("check", name), options, "check") for name, options in usual if name not in named)


def make_part(config: Config, chosen: Chosen, context: Context, door: Any) -> Any:
    """Let a plugin make its part, and see that it fits the door. Raises ConfigurationError."""
    where = f"{config.file}: [{chosen.table}] {chosen.plugin.name}"
    try:
        part = chosen.plugin.load()(chosen.options, context)
    except ConfigurationError as problem:
        raise ConfigurationError([f"{where}: {line}" for line in problem.problems]) from problem
    except (MailError, OSError) as problem:
        raise ConfigurationError([f"{where}: {problem}"]) from problem
    if door is not Interface and not door.providedBy(part):
        raise ConfigurationError([f"{where}: what it makes does not provide {door.__name__}"])
    return adapted(part, context.reactor)


def check_configuration(path: Path) -> list[str]:
    """All that is wrong with a configuration, one line each. Opens no port and no store."""
    try:
        config = load(path)
    except ConfigurationError as problem:
        return problem.problems
    from twisted.internet import task

    problems = []
    for step in (
        lambda: certificates_of(config),
        lambda: fit(config, context_of(config, task.Clock())),
        lambda: outgoing_settings(config),
    ):
        try:
            step()
        except ConfigurationError as problem:
            problems += problem.problems
    if "systemd:" not in (config.tables.metrics.endpoint or ""):
        try:
            endpoint_of(config.tables.metrics, task.Clock())
        except ConfigurationError as problem:
            problems += [f"{path}: {line}" for line in problem.problems]
    for one in config.tables.listen:
        if "systemd:" not in one.endpoint:  # those are there only when systemd has started us
            try:
                parse_endpoint(task.Clock(), one.endpoint.removeprefix("haproxy:"))
            except ConfigurationError as problem:
                problems += [f"{path}: [listen] {line}" for line in problem.problems]
        if one.tls not in (None, "none") and config.tables.tls is None and not one.endpoint.startswith("ssl:"):
            problems.append(f"{path}: [listen] {one.service} on {one.endpoint}: TLS needs a certificate, in [tls]")
    return problems


def passwords_of(path: Path | None, state: str | None, reactor: Any) -> Any:
    """The IPasswords of a configuration, or of a demo. Raises ConfigurationError where there is none."""
    if path is None:
        from twisted_mail_kit.demo import demo_passwords

        return demo_passwords(state, reactor)
    from twisted_mail_kit.cli.asking import become_owner  # it brings click, and a server needs none

    config = load(path)
    make_state_dir(config.tables.state)
    import_the_rest()
    become_owner(config.tables.state.stat())
    for chosen in config.auth:
        part = make_part(config, chosen, context_of(config, reactor), Interface)
        if IPasswords.providedBy(part):
            return part
    raise ConfigurationError([f"{path}: the auth plugin keeps its users elsewhere: they cannot be changed from here"])
