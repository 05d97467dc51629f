"""The configuration: a TOML file to frozen attrs classes, with all errors told at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, fields, frozen
from attrs.validators import deep_iterable, ge, in_, le, matches_re, min_len

from twisted_mail_kit.auth.settings import LoginSettings
from twisted_mail_kit.delivery.dkimsettings import DKIMKeySettings, DKIMSettings
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import ConfigurationError, PluginNotFound
from twisted_mail_kit.fittings import KitSettings
from twisted_mail_kit.imap.settings import IMAPSettings
from twisted_mail_kit.kit import SERVICES
from twisted_mail_kit.monitor.settings import MetricsSettings
from twisted_mail_kit.net.dns.settings import ResolverSettings
from twisted_mail_kit.plugin import Plugin, find
from twisted_mail_kit.pop3.settings import POP3Settings
from twisted_mail_kit.queue.settings import QueueSettings
from twisted_mail_kit.smtp.relay.settings import RelaySettings, RouteSettings
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.tables import Problems, read_table
from twisted_mail_kit.workers.settings import CrewSettings

_DOMAIN = matches_re(r"[^\s@/\\\[\]]+")


@frozen(kw_only=True)
class Listen:
    """``[[listen]]``: one port, or one unix socket."""

    service: str = field(validator=in_(SERVICES))
    """smtp, submission, lmtp, pop3 or imap."""
    endpoint: str = field(validator=matches_re(r"[a-z0-9]+:.+"))
    """A Twisted endpoints string: ``tcp:25``, ``tcp:143:interface=127.0.0.1``, ``unix:/run/mailkit/lmtp``,
    ``systemd:domain=INET:index=0``, ``haproxy:tcp:25``, ``ssl:993:privateKey=key.pem:certKey=cert.pem``."""
    tls: str | None = None
    """none, starttls or implicit; without it STARTTLS where there is a certificate."""


@frozen(kw_only=True)
class TlsFiles:
    """``[tls]``: the certificate that all services show. Read again at SIGHUP."""

    certificate: Path
    """PEM file with the chain, the server's own certificate first."""
    key: Path | None = None
    """PEM file with the key; without it the key is in the certificate's file."""


@frozen(kw_only=True)
class Tables:
    """The top of the file, and the tables that have fixed keys."""

    hostname: str = field(validator=_DOMAIN)
    """The name in greetings and Received fields: the one that the address of this machine resolves to."""
    domains: tuple[str, ...] = field(default=(), validator=deep_iterable(_DOMAIN))
    """The domains whose mail is kept here."""
    state: Path = Path("/var/lib/mailkit")
    """The folder of everything that must survive; 0700. A relative path is below the configuration's folder."""
    drain: float = 30.0
    """Seconds that sessions get to come to a safe end when the server stops."""
    workers: int = field(default=0, validator=[ge(0), le(64)])
    """Processes that hold the sessions, beside the one that writes and queues; 0: one process does it all. See
    operating.md, "Several processes"."""
    listen: tuple[Listen, ...] = field(validator=min_len(1))
    """At least one ``[[listen]]``."""
    tls: TlsFiles | None = None
    smtp: SMTPSettings = field(factory=SMTPSettings)
    submission: SMTPSettings = field(factory=SMTPSettings)
    lmtp: SMTPSettings = field(factory=SMTPSettings)
    imap: IMAPSettings = field(factory=IMAPSettings)
    pop3: POP3Settings = field(factory=POP3Settings)
    delivery: DeliverySettings = field(factory=DeliverySettings)
    queue: QueueSettings = field(factory=QueueSettings)
    relay: RelaySettings = field(factory=RelaySettings)
    dns: ResolverSettings = field(factory=ResolverSettings)
    dkim: tuple[DKIMKeySettings, ...] = ()
    """Keys that sign outgoing mail."""
    signing: DKIMSettings = field(factory=DKIMSettings)
    login: LoginSettings = field(factory=LoginSettings)
    crew: CrewSettings = field(factory=CrewSettings)
    metrics: MetricsSettings = field(factory=MetricsSettings)


@frozen
class Chosen:
    """A plugin that the configuration names, with its options."""

    plugin: Plugin
    options: Any
    table: str


@frozen(kw_only=True)
class Config:
    """A whole configuration that can be used."""

    file: Path
    text: str
    """What the file has in it."""
    tables: Tables
    store: Chosen
    auth: tuple[Chosen, ...]
    strcred: tuple[str, ...]
    accounts: Chosen
    checks: tuple[Chosen, ...]
    spool: Chosen
    outbound: Chosen | None
    reception: Chosen | None

    @property
    def settings(self) -> KitSettings:
        """What the services are given."""
        names = {one.name for one in fields(KitSettings)}
        return KitSettings(**{name: getattr(self.tables, name) for name in names})


# Tables whose keys belong to a plugin, with the plugin that is taken where the table names none.
_PLUGIN_TABLES = {"store": "sqlite", "auth": "passwords", "accounts": "directory", "spool": "sqlite"}


def load(path: Path, text: str | None = None) -> Config:
    """Read a configuration; `text` is what the file has in it, where that has been read already.

    Raises ConfigurationError with all that is wrong with it."""
    problems = Problems(str(path))
    try:
        if text is None:
            text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError([f"{path}: cannot be read: {problem}"]) from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigurationError([f"{path}: {problem}"]) from None
    chosen = {kind: _choose(kind, raw.pop(kind, {}), default, problems) for kind, default in _PLUGIN_TABLES.items()}
    strcred = _strcred(raw, problems)
    checks = _choose_many("check", raw.pop("check", []), problems)
    outbound = _choose("delivery", raw.pop("outbound"), None, problems, "outbound") if "outbound" in raw else None
    reception = _choose("delivery", raw.pop("reception"), None, problems, "reception") if "reception" in raw else None
    if reception is not None and checks:
        problems.add("", "check", "with a [reception] of its own nobody asks the checks")
    tables = read_table(Tables, raw, "", problems, (*_PLUGIN_TABLES, "strcred", "check", "outbound", "reception"))
    if problems.lines or tables is None:
        raise ConfigurationError(problems.lines)
    here = path.absolute().parent
    tls = tables.tls
    if tls is not None:
        tls = evolve(tls, certificate=here / tls.certificate, key=None if tls.key is None else here / tls.key)
    routes: Any = tuple([_below(here, route) for route in tables.relay.routes])
    relay = evolve(tables.relay, routes=routes)
    return Config(
        file=path,
        text=text,
        tables=evolve(tables, state=here / tables.state, tls=tls, relay=relay),
        store=_there(chosen["store"]),
        auth=(_there(chosen["auth"]),),
        strcred=strcred,
        accounts=_there(chosen["accounts"]),
        checks=checks,
        spool=_there(chosen["spool"]),
        outbound=outbound,
        reception=reception,
    )


def _below(here: Path, route: RouteSettings) -> RouteSettings:
    """Relative paths are below the configuration's folder."""
    files = {name: getattr(route, name) for name in ("password_file", "token_file")}
    return evolve(route, **{name: here / file for name, file in files.items() if file is not None})


def _there(chosen: Chosen | None) -> Chosen:
    assert chosen is not None  # else there was a problem
    return chosen


def _strcred(raw: dict[str, Any], problems: Problems) -> tuple[str, ...]:
    """``strcred = [...]`` at the top: checkers as `twistd --auth` writes them, asked after the auth plugin."""
    values = raw.pop("strcred", [])
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        problems.add("", "strcred", "a list of strings expected")
        return ()
    return tuple(values)


def _choose_many(kind: str, rows: Any, problems: Problems) -> tuple[Chosen, ...]:
    if not isinstance(rows, list):
        problems.add("", kind, f"tables like [[{kind}]] expected")
        return ()
    made = [_choose(kind, row, None, problems, f"{kind}.{n}") for n, row in enumerate(rows, 1)]
    return tuple(one for one in made if one is not None)


def _choose(kind: str, values: Any, default: str | None, problems: Problems, table: str = "") -> Chosen | None:
    table = table or kind
    if not isinstance(values, Mapping):
        problems.add("", table, f"a table expected, not {values!r}")
        return None
    own = dict(values)
    name = own.pop("plugin", default)
    if not isinstance(name, str):
        problems.add(table, "plugin", "is missing" if name is None else f"a string expected, not {name!r}")
        return None
    try:
        plugin = find(kind, name)
        options_class = plugin.load_options()
    except PluginNotFound as problem:
        problems.add(table, "plugin", str(problem))
        return None
    except Exception as problem:
        problems.add(table, "plugin", f'"{name}" cannot be loaded: {type(problem).__name__}: {problem}')
        return None
    if options_class is None:
        for key in own:
            problems.add(table, key, f'unknown; the {kind} plugin "{name}" has no options')
        return Chosen(plugin, {}, table)
    options = read_table(options_class, own, table, problems)
    return None if options is None else Chosen(plugin, options, table)
