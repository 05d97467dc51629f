"""Plugins: how a dropin announces one, and how they are found; to us as twisted.plugin is to Twisted."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from attrs.validators import in_
from twisted.internet.interfaces import IReactorTime
from twisted.plugin import IPlugin, getCache
from twisted.python.modules import getModule
from twisted.python.reflect import namedAny
from zope.interface import implementer

import twisted
from twisted_mail_kit.errors import PluginNotFound
from twisted_mail_kit.interfaces import IMailPlugin

_HERE, _TWISTED, _PYTHON = Path(__file__).parent, Path(twisted.__file__).parent, Path(sysconfig.get_path("stdlib"))
KINDS = ("store", "auth", "accounts", "check", "delivery", "spool")


@implementer(IPlugin, IMailPlugin)
@frozen(kw_only=True)
class Plugin:
    """One line of a dropin, a module in ``twisted/plugins``. Importing it imports nothing else::

        acme = Plugin(kind="store", name="acme", factory="acme_store.open_store", options="acme_store.Options",
                      description="Mail in Acme's database")

    The factory is called as ``factory(options, context)`` and returns what the kind asks for: an IMailStore, a
    twisted.cred ICredentialsChecker, an IAccounts, an ICheck, an IDeliveryTarget, an ISpool.
    """

    kind: str = field(validator=in_(KINDS))
    """store, auth, accounts, check, delivery or spool."""
    name: str
    """What the configuration calls it: ``[store] plugin = "acme"``."""
    factory: str
    """Dotted name of the factory, loaded only when it is used."""
    options: str = ""
    """Dotted name of an attrs class for the plugin's own keys in its table; without it there may be none."""
    description: str = ""
    """One line."""

    def load(self) -> Callable[..., Any]:
        """Import the factory. Raises whatever importing it raises."""
        factory: Callable[..., Any] = namedAny(self.factory)
        return factory

    def load_options(self) -> type | None:
        """Import the class of the options; None where there is none."""
        options: type | None = namedAny(self.options) if self.options else None
        return options


@frozen(kw_only=True)
class Context:
    """What a plugin's factory gets to know of the server that it is to work in."""

    reactor: Any
    """The reactor, or what stands for it in a test: clock, threads."""
    state_dir: Path
    """Where the server keeps its state; a relative path in options is meant to be below it."""
    hostname: str
    domains: Sequence[str] = ()
    passwords: Any = None
    """The first IPasswords among the auth plugins, for accounts plugins and later ones; None where there is none."""
    accounts: Any = None
    """The IAccounts, for checks and delivery plugins; None before they are made."""

    @property
    def clock(self) -> IReactorTime:
        """The reactor, as far as it tells the time."""
        clock: IReactorTime = self.reactor
        return clock


def installed(kind: str | None = None) -> Iterator[IMailPlugin]:
    """All plugins that could be loaded, of one kind or of all. One that cannot be loaded hurts nobody: see `broken`."""
    import twisted.plugins

    for dropin in getCache(twisted.plugins).values():
        for cached in dropin.plugins:
            if IMailPlugin not in cached.provided and not any(one.isOrExtends(IMailPlugin) for one in cached.provided):
                continue
            try:
                plugin = IMailPlugin(cached)
            except Exception:
                continue  # told by broken()
            if kind is None or plugin.kind == kind:
                yield plugin


def broken() -> Iterator[tuple[str, str]]:
    """(dropin, problem) of every module in twisted/plugins that cannot be imported."""
    import twisted.plugins

    for module in getModule(twisted.plugins.__name__).iterModules():
        try:
            module.load()
        except Exception as problem:
            yield module.filePath.path, f"{type(problem).__name__}: {problem}{place_of(problem)}"


def place_of(problem: BaseException) -> str:
    """`` (file, line n)`` of what has failed while it was imported: the innermost that is neither Python's nor ours."""
    if isinstance(problem, SyntaxError) and problem.filename:
        return f" ({problem.filename}, line {problem.lineno})"
    for frame in reversed(traceback.extract_tb(problem.__traceback__)):
        if _is_theirs(frame.filename):
            return f" ({frame.filename}, line {frame.lineno})"
    return ""


def _is_theirs(file: str) -> bool:
    path = Path(file)
    if "plugins" in path.parts[-2:-1]:
        return True
    if file.startswith("<") or path.is_relative_to(_HERE) or path.is_relative_to(_TWISTED):
        return False
    return not path.is_relative_to(_PYTHON) or bool({"site-packages", "dist-packages"}.intersection(path.parts))


def find(kind: str, name: str) -> Plugin:
    """The plugin of that kind and name. Raises PluginNotFound, with the names that there are."""
    names = []
    for plugin in installed(kind):
        if plugin.name == name:
            return plugin  # type: ignore[return-value]
        names.append(plugin.name)
    known = ", ".join(sorted(names)) or "none is installed"
    problem = f'no {kind} plugin is called "{name}" (there are: {known})'
    for dropin, why in broken():
        problem += f"; {dropin} cannot be loaded: {why}"
    raise PluginNotFound(problem)
