"""Makes the part of a plugin as a server would, in a folder of its own, with a clock that can be turned."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from zope.interface import directlyProvides, providedBy

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import IAccounts, ICheck, IDeliveryTarget, IMailStore, ISpool
from twisted_mail_kit.net.blocking import adapted
from twisted_mail_kit.plugin import Context, find
from twisted_mail_kit.tables import Problems, read_table

HOSTNAME, DOMAIN = "mx.example.org", "example.org"
DOORS: dict[str, Any] = {
    "store": IMailStore,
    "auth": ICredentialsChecker,
    "accounts": IAccounts,
    "check": ICheck,
    "delivery": IDeliveryTarget,
    "spool": ISpool,
}


class TurnedReactor:
    """The reactor, with a clock that can be turned forward. What it has been told to call later is called in its own
    time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.ahead = 0.0
        """Seconds."""
        self.was_asked = False
        """Somebody wanted to know what time it is."""
        directlyProvides(self, *providedBy(reactor))

    def seconds(self) -> float:
        """Since 1970 UTC."""
        self.was_asked = True
        now: float = self._reactor.seconds()
        return now + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def made(kind: str, name: str, options: Sequence[str], state: Path, reactor: Any) -> Any:
    """The part that a plugin makes, with options as ``key=value``. Raises ConfigurationError."""
    plugin = find(kind, name)
    given: dict[str, Any] = {}
    for one in options:
        key, equals, value = one.partition("=")
        if not equals:
            raise ConfigurationError([f"--option {one}: KEY=VALUE expected"])
        try:
            given[key] = tomllib.loads(f"it = {value}")["it"]
        except tomllib.TOMLDecodeError:
            given[key] = value
    problems, options_class = Problems("--option"), plugin.load_options()
    if options_class is None:
        for key in given:
            problems.add("", key, "unknown; the plugin has no options")
    made_options: Any = {} if options_class is None else read_table(options_class, given, "", problems)
    if problems.lines:
        raise ConfigurationError(problems.lines)
    # As the server makes its parts: who has which address is known to checks and targets.
    accounts = None if kind in ("store", "auth", "accounts") else Directory([DOMAIN], ["joe", "ann"])
    context = Context(reactor=reactor, state_dir=state, hostname=HOSTNAME, domains=(DOMAIN,), accounts=accounts)
    return adapted(plugin.load()(made_options, context), reactor)


def interfaces_of(part: Any) -> list[str]:
    """The names of all that it provides."""
    return [one.__name__ for one in providedBy(part).flattened() if one.__name__ != "Interface"]
