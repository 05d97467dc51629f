"""A pytest plugin: writes what became of each promise of a contract as JSON, for `mailkit plugin check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_found: dict[str, dict[str, str]] = {}
_levels: dict[str, str] = {}


def pytest_addoption(parser: Any) -> None:
    """Where it is written."""
    parser.addoption("--mailkit-report", default="")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Each promise knows its level."""
    for item in items:
        _levels[item.nodeid] = getattr(item.function, "level", "") or item.function.__module__.rpartition(".")[2]


def pytest_runtest_logreport(report: Any) -> None:
    """Of set-up, call and tear-down, the worst counts."""
    if report.when != "call" and report.outcome == "passed":
        return
    before = _found.get(report.nodeid)
    if before is not None and before["outcome"] == "failed":
        return
    story = str(report.longrepr or "")
    if report.outcome == "skipped":
        story = str(report.longrepr[2]).removeprefix("Skipped: ")
        why = story.partition("\n")[0]
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = str(getattr(crash, "message", story)).partition("\n")[0]
    name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    level = _levels.get(report.nodeid, "")
    _found[report.nodeid] = {"level": level, "name": name, "outcome": report.outcome, "why": why, "story": story}


def pytest_sessionfinish(session: Any) -> None:
    """Write it down."""
    if file := session.config.getoption("--mailkit-report"):
        Path(file).write_text(json.dumps(list(_found.values())), encoding="utf-8")
