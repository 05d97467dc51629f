"""What `mailkit plugin check` finds: a plugin is held to its contract, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from twisted_mail_kit.cli.plugin_clients import clients_get
from twisted_mail_kit.cli.plugin_contracts import (
    CONTRACTS,
    LEVELS,
    Held,
    beside,
    check_levels,
    general,
    named,
    needs_pytest,
)
from twisted_mail_kit.cli.plugin_run import Errand, Promise, run
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.plugin import find


@frozen(kw_only=True)
class Wanted:
    """What is to be looked at, and how."""

    kind: str
    name: str
    levels: Sequence[str] = ()
    """Without it all."""
    options: Sequence[str] = ()
    """The plugin's own, as ``KEY=VALUE``."""
    contract: str = ""
    """``module:Class`` or ``file.py::Class``; ``general``; empty: the author's own where it is found, else the general
    one."""
    speed: bool = True
    quick: bool = False
    patience: float = 300.0
    """Seconds that one promise may take, and making the part and measuring it."""


def checked(wanted: Wanted) -> dict[str, Any]:
    """The whole report. Raises ConfigurationError: it could not be checked."""
    plugin = find(wanted.kind, wanted.name)
    check_levels(wanted.kind, wanted.levels)
    needs_pytest()
    seen = _looked_at(wanted)
    promises: list[Promise] = []
    whose = ""
    if not seen["problem"] and "IMaildropStore" not in seen["abilities"]:
        with TemporaryDirectory(prefix="mailkit-contract-") as folder:
            held = _contract(wanted, plugin.factory, seen["persistent"], Path(folder))
            whose = held.source
            promises = run(
                Errand(
                    files=held.files,
                    contract=CONTRACTS[wanted.kind][0],
                    levels=wanted.levels,
                    folder=held.folder,
                    patience=wanted.patience,
                    quick=wanted.quick,
                )
            )
    looked = {one["level"] for one in promises}
    return {
        "kind": wanted.kind,
        "name": wanted.name,
        "holds": not seen["problem"] and all(one["outcome"] != "failed" for one in promises),
        **seen,
        "contract": whose,
        "not looked at": [one for one in LEVELS[wanted.kind] if promises and one not in looked],
        "clients": clients_get(wanted.kind, seen, promises),
        "promises": promises,
    }


def told(report: dict[str, Any], verbose: bool = False) -> Iterator[str]:
    """The report, for people."""
    yield f"{report['kind']} {report['name']}: provides {', '.join(report['abilities']) or 'nothing'}"
    if report["problem"]:
        yield f"it does not fit its door: {report['problem']}"
    if report["contract"]:
        yield f"held to {report['contract']}:"
    found = {one["level"] for one in report["promises"]}
    for level in (*(one for one in LEVELS[report["kind"]] if one in found), *(found - set(LEVELS[report["kind"]]))):
        mine = [one for one in report["promises"] if one["level"] == level]
        counts = {word: sum(one["outcome"] == word for one in mine) for word in ("passed", "failed", "skipped")}
        yield f"{level}: {counts['passed']} hold, {counts['failed']} fail, {counts['skipped']} skipped"
        for one in mine:
            if one["outcome"] == "failed":
                yield f"  fails: {one['name']}: {one['story'] if verbose else one['why']}"
        for why in dict.fromkeys(one["why"] for one in mine if one["outcome"] == "skipped"):
            yield f"  skipped: {why}"
    if report["not looked at"]:
        yield f"not looked at: {', '.join(report['not looked at'])}"
    if report["clients"]:
        yield "what clients get:"
        yield from (f"  {line}" for line in report["clients"])
    yield from _speed_told(report)


def _speed_told(report: dict[str, Any]) -> Iterator[str]:
    if not report["speed"]:
        return
    others = [one for one in report["speed"] if one != report["name"]]
    yield "how fast, a second" + (f" (and times that of {', of '.join(others)}):" if others else ":")
    for what, rate in report["speed"][report["name"]].items():
        beside = [f"{rate / report['speed'][other][what]:.2f}" for other in others]
        yield f"  {what}: {rate:,.{0 if rate >= 100 else 1}f}" + (f" ({', '.join(beside)})" if beside else "")


def _contract(wanted: Wanted, factory: str, persistent: bool, folder: Path) -> Held:
    if wanted.contract and wanted.contract != "general":
        return named(wanted.contract, folder)
    own = None if wanted.contract or wanted.options else beside(wanted.kind, factory)
    return own or general(wanted.kind, wanted.name, wanted.options, persistent, folder)


def _looked_at(wanted: Wanted) -> dict[str, Any]:
    kind, name = wanted.kind, wanted.name
    command = [sys.executable, "-m", "twisted_mail_kit.cli.plugin_look"]
    command += ["speed" if wanted.speed else "no-speed", kind, name, *wanted.options]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=wanted.patience, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(
            [f"{kind} {name}: it could not be made and measured within {wanted.patience:.0f} seconds"]
        ) from None
    try:
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        why = done.stderr.strip().splitlines()[-1:] or [f"its process ended with {done.returncode}"]
        raise ConfigurationError([f"{kind} {name}: {why[0]}"]) from None
    return seen
