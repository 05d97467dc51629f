"""What `mailkit plugin list` knows of a plugin: where it comes from, and which interfaces it provides."""

from __future__ import annotations

import inspect
from importlib.metadata import packages_distributions, version
from typing import Any, get_type_hints

from zope.interface import implementedBy

from twisted_mail_kit.plugin import broken, installed


def known_plugins(kind: str | None = None) -> list[dict[str, Any]]:
    """All plugins that are installed, by kind and name."""
    homes = packages_distributions()
    return sorted((_known(one, homes) for one in installed(kind)), key=lambda one: (one["kind"], one["name"]))


def broken_dropins() -> list[dict[str, str]]:
    """Modules in twisted/plugins that cannot be imported, and why."""
    return [{"dropin": dropin, "problem": why} for dropin, why in broken()]


def _known(plugin: Any, homes: Any) -> dict[str, Any]:
    factory = str(getattr(plugin, "factory", ""))
    distribution = next(iter(homes.get(factory.split(".")[0], [])), "")
    abilities: list[str] = []
    problem = ""
    try:
        abilities = _abilities(plugin.load())
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "description": plugin.description,
        "distribution": distribution,
        "version": version(distribution) if distribution else "",
        "factory": factory,
        "abilities": abilities,
        "problem": problem,
    }


def _abilities(factory: Any) -> list[str]:
    """The interfaces of what a factory makes, as far as it says: it is a class, or its return annotation is one."""
    if not inspect.isclass(factory):
        try:
            factory = get_type_hints(factory).get("return")
        except Exception:  # an annotation that means nothing at run time
            return []
    if not inspect.isclass(factory):
        return []
    provided: Any = implementedBy(factory)  # type: ignore[no-untyped-call]
    return [one.__name__ for one in provided.flattened() if one.__name__ != "Interface"]
