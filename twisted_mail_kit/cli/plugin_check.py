"""What `mailkit plugin check` finds: a plugin is held to its contract, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.plugin import find

LOOK_SECONDS, PYTEST_SECONDS = 300, 3600

# What clients notice of an ability that is there, and of one that is not.
CLIENTS = {
    "IChangeHints": ("IDLE hears of changes at once", "IDLE hears of changes within a second: the store is polled"),
    "ISharedBlobs": ("a message to many is written once", "a message to many is written once for each of them"),
    "IAccountList": ("accounts can be listed and removed", "accounts can be listed and removed only in the database"),
    "IMaintenance": ("mailkit backup, store and fsck work", "no mailkit backup, store or fsck"),
    "IReadElsewhere": ("workers read for themselves", "workers ask the owner for every row"),
}
CONTRACTS = {
    "store": """
from twisted_mail_kit.testing.contracts import MailStoreContract


class TestPlugin(MailStoreContract):
    persistent = {persistent}
    levels = {levels}

    def make_store(self, tmp_path):
        return made("store", {name}, {options}, tmp_path, sys.modules["twisted.internet.reactor"])
""",
    "spool": """
from twisted_mail_kit.testing.contracts.spool import SpoolContract


class TestPlugin(SpoolContract):
    persistent = True

    def make_spool(self, tmp_path):
        return made("spool", {name}, {options}, tmp_path, sys.modules["twisted.internet.reactor"])
""",
}
HEAD = "import sys\n\nfrom twisted_mail_kit.cli.plugin_look import made\n"
LEVELS = ("core", "abilities", "streaming", "faults", "crash", "processes", "model")


def checked(
    kind: str, name: str, levels: Sequence[str] = (), options: Sequence[str] = (), speed: bool = True
) -> dict[str, Any]:
    """The whole report. Raises ConfigurationError: it could not be checked."""
    find(kind, name)
    if unknown := set(levels) - set(LEVELS):
        raise ConfigurationError(
            [f"no such level: {', '.join(sorted(unknown))}; there are {', '.join(LEVELS)}"],
        )
    if kind in CONTRACTS and (find_spec("pytest") is None or find_spec("pytest_twisted") is None):
        raise ConfigurationError(["the contract needs pytest and pytest-twisted: pip install 'twisted_mail_kit[test]'"])
    seen = _looked_at(kind, name, options, speed)
    promises: list[dict[str, str]] = []
    if kind in CONTRACTS and not seen["problem"]:
        words = {"name": name, "options": list(options), "persistent": seen["persistent"]}
        text = CONTRACTS[kind].format(
            levels=tuple(levels) or LEVELS, **{key: repr(value) for key, value in words.items()}
        )
        promises = _held(HEAD + text)
    broken = [one for one in promises if one["outcome"] == "failed"]
    return {
        "kind": kind,
        "name": name,
        "holds": not broken and not seen["problem"],
        **seen,
        "clients": _clients(seen["abilities"]) if kind == "store" else [],
        "promises": promises,
    }


def told(report: dict[str, Any], verbose: bool = False) -> Iterator[str]:
    """The report, for people."""
    yield f"{report['kind']} {report['name']}: provides {', '.join(report['abilities']) or 'nothing'}"
    if report["problem"]:
        yield f"it does not fit its door: {report['problem']}"
    for level in dict.fromkeys(one["level"] for one in report["promises"]):
        mine = [one for one in report["promises"] if one["level"] == level]
        counts = {word: sum(one["outcome"] == word for one in mine) for word in ("passed", "failed", "skipped")}
        yield f"{level}: {counts['passed']} hold, {counts['failed']} fail, {counts['skipped']} skipped"
        for one in mine:
            if one["outcome"] == "failed":
                yield f"  fails: {one['name']}: {one['story'] if verbose else one['why']}"
        for why in dict.fromkeys(one["why"] for one in mine if one["outcome"] == "skipped"):
            yield f"  skipped: {why}"
    if report["clients"]:
        yield "what clients get:"
        yield from (f"  {line}" for line in report["clients"])
    if report["kind"] == "store" and not report["persistent"] and not report["problem"]:
        yield "what is kept is gone when the store is closed"
    if report["speed"]:
        yield "how fast, a second (and times that of sqlite, of memory):"
        mine = report["speed"][report["name"]]
        for what, rate in mine.items():
            beside = [f"{rate / report['speed'][other][what]:.2f}" for other in ("sqlite", "memory")]
            yield f"  {what}: {rate:,.0f} ({', '.join(beside)})"


def _clients(abilities: Sequence[str]) -> list[str]:
    return [there if one in abilities else without for one, (there, without) in CLIENTS.items()]


def _looked_at(kind: str, name: str, options: Sequence[str], speed: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "twisted_mail_kit.cli.plugin_look"]
    command += ["speed" if speed else "no-speed", kind, name, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigurationError([f"{kind} {name}: nothing came of it within {LOOK_SECONDS} seconds"]) from None
    try:
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        why = done.stderr.strip().splitlines()[-1:] or [f"its process ended with {done.returncode}"]
        raise ConfigurationError([f"{kind} {name}: {why[0]}"]) from None
    return seen


def _held(text: str) -> list[dict[str, str]]:
    """Run the contract; gives an entry for each promise."""
    with TemporaryDirectory(prefix="mailkit-contract-") as folder:
        (Path(folder) / "test_contract.py").write_text(text)
        (Path(folder) / "pytest.ini").write_text("[pytest]\n")
        options = ["-q", "-p", "no:cacheprovider", "-p", "twisted_mail_kit.cli.plugin_report"]
        command = [sys.executable, "-m", "pytest", *options, f"--mailkit-report={folder}/report.json", folder]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=PYTEST_SECONDS, check=False
            )
            found: list[dict[str, str]] = json.loads((Path(folder) / "report.json").read_text())
        except subprocess.TimeoutExpired:
            raise ConfigurationError([f"the contract was not done within {PYTEST_SECONDS} seconds"]) from None
        except (OSError, ValueError):
            raise ConfigurationError([f"pytest could not run the contract: {done.stdout[-500:]}{done.stderr[-500:]}"])  # noqa: B904
        if not found:
            raise ConfigurationError([f"pytest has found no promise: {done.stdout[-500:]}{done.stderr[-500:]}"])
        return found
