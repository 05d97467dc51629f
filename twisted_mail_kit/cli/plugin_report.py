"""A pytest plugin: writes what becomes of each promise of a contract, line by line, for `mailkit plugin check`.

Each line of the report is a JSON object: ``{"begins": …}`` when a promise is begun, and all about it when it is over,
so that whoever watches knows which one hangs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_file: Any = None
_found: dict[str, dict[str, str]] = {}
_levels: dict[str, str] = {}


def pytest_addoption(parser: Any) -> None:
    """What the watcher says."""
    parser.addoption("--mailkit-report", default="", help="the file that is written")
    parser.addoption("--mailkit-contract", default="", help="the class that contracts come from; others are left out")
    parser.addoption("--mailkit-levels", default="", help="levels, with commas between; without it all")
    parser.addoption("--mailkit-done", default="", help="a file with the ids of promises that are done with")


def pytest_configure(config: Any) -> None:
    """Open the report."""
    global _file
    if name := config.getoption("--mailkit-report"):
        _file = Path(name).open("a", encoding="utf-8")  # noqa: SIM115


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Only promises are left, of the levels that are wanted; each knows its level."""
    if _file is None:
        return
    contract = config.getoption("--mailkit-contract")
    wanted = set(filter(None, config.getoption("--mailkit-levels").split(",")))
    done = set(Path(file).read_text().splitlines()) if (file := config.getoption("--mailkit-done")) else set()
    kept: list[Any] = []
    left: list[Any] = []
    for item in items:
        level = _level_of(item, contract)
        is_wanted = level and (not wanted or level in wanted) and item.nodeid not in done
        (kept if is_wanted else left).append(item)
        _levels[item.nodeid] = level
    items[:] = kept
    if left:
        config.hook.pytest_deselected(items=left)
    _write({"chosen": str(len(kept))})


def pytest_runtest_logstart(nodeid: str, location: Any) -> None:
    """Whoever hangs is known by name."""
    _write({"begins": nodeid, "level": _levels.get(nodeid, "")})


def pytest_runtest_logreport(report: Any) -> None:
    """Of set-up, call and tear-down, the worst counts."""
    if report.when == "call" or report.outcome != "passed":
        before = _found.get(report.nodeid)
        if before is None or before["outcome"] != "failed":
            _found[report.nodeid] = _about(report)
    if report.when == "teardown" and report.nodeid in _found:
        _write(_found[report.nodeid])


def pytest_collectreport(report: Any) -> None:
    """A file that cannot be imported has no promises: say why."""
    if report.failed:
        _write({"problem": str(report.longrepr).strip().splitlines()[-1]})


def _about(report: Any) -> dict[str, str]:
    story = str(report.longrepr or "")
    if report.outcome == "skipped":
        story = str(report.longrepr[2]).removeprefix("Skipped: ")
        why = story.partition("\n")[0]
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = str(getattr(crash, "message", story)).partition("\n")[0]
    return {
        "id": report.nodeid,
        "level": _levels.get(report.nodeid, ""),
        "name": name_of(report.nodeid),
        "outcome": report.outcome,
        "why": why,
        "story": story,
    }


def name_of(nodeid: str) -> str:
    """The promise, as a sentence."""
    return nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")


def _level_of(item: Any, contract: str) -> str:
    """Empty: it is no promise of that contract."""
    bases = getattr(getattr(item, "cls", None), "__mro__", ())
    if contract and all(one.__name__ != contract for one in bases):
        return ""
    module = item.function.__module__
    level: str = getattr(item.function, "level", "") or module.rpartition(".")[2].removeprefix("spool_")
    return level if module.startswith("twisted_mail_kit.testing.contracts.") else ""


def _write(line: dict[str, str]) -> None:
    if _file is not None:
        _file.write(json.dumps(line) + "\n")
        _file.flush()
