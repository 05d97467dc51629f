"""What `mailkit plugin list` knows of a plugin: where it comes from, what it provides, and why it cannot be loaded."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

from zope.interface import implementedBy

from twisted_mail_kit.plugin import broken, installed, place_of

MAKE_SECONDS = 20
"""Within which all parts that have to be made to be known are made."""


def known_plugins(kind: str | None = None) -> list[dict[str, Any]]:
    """All plugins that are installed, by kind and name.

    What one provides is what its factory says: it is a class, or its return annotation is one. Where it says nothing
    the part is made, with the defaults of its options, in an empty folder and a process of its own; `unknown` says
    why that could not be done.
    """
    homes = packages_distributions()
    plugins = sorted((_known(one, homes) for one in installed(kind)), key=lambda one: (one["kind"], one["name"]))
    silent = [one for one in plugins if not one["abilities"] and not one["problem"]]
    for one, found in zip(silent, _made([(one["kind"], one["name"]) for one in silent]), strict=True):
        one.update(found)
    return plugins


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
        plugin.load_options()
    except Exception as error:
        problem = f"{type(error).__name__}: {error}{place_of(error) or _announced(plugin)}"
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "description": plugin.description,
        "distribution": distribution,
        "version": version(distribution) if distribution else "",
        "place": _place(factory),
        "factory": factory,
        "abilities": abilities,
        "unknown": "",
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


def _made(wanted: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """For each (kind, name): what it provides, or why that is unknown."""
    if not wanted:
        return []
    command = [
        sys.executable,
        "-m",
        "twisted_mail_kit.cli.plugin_look",
        "list",
        *(word for one in wanted for word in one),
    ]
    why = f"it was not made within {MAKE_SECONDS} seconds"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MAKE_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
        said, complaint = done.stdout, (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        why = f"making it ended its process: {complaint}"
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
    found: list[dict[str, Any]] = []
    for line in said.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue  # a part has printed something
        if isinstance(one, dict) and one.keys() == {"abilities", "unknown"}:
            found.append(one)
    if len(found) < len(wanted):
        found.append({"abilities": [], "unknown": why})
        found += _made(wanted[len(found) :])
    return found


def _place(factory: str) -> str:
    """The folder that the factory's package lies in."""
    try:
        spec = find_spec(factory.split(".")[0])
    except (ImportError, ValueError):
        return ""
    return str(Path(spec.origin).parent) if spec is not None and spec.origin else ""


def _announced(plugin: Any) -> str:
    """Where the dropin names a factory that is not there."""
    import twisted.plugins

    for folder in twisted.plugins.__path__:
        for dropin in sorted(Path(folder).glob("*.py")):
            for number, line in enumerate(dropin.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if f'"{plugin.factory}"' in line or f"'{plugin.factory}'" in line:
                    return f" ({dropin}, line {number})"
    return ""
