"""`mailkit status`: how the running server is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from twisted_mail_kit.cli.asking import Obj, Trouble, ask_running, state_folder
from twisted_mail_kit.cli.words import columns, harmless, span
from twisted_mail_kit.control.client import NotRunning


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def noun(obj: Obj, as_json: bool) -> None:
    """The running server: its processes, their sessions, and how often a worker was started again.

    Exit codes: 0 all of it is there, 1 it is not running, or a worker is missing or does not answer.
    """
    try:
        found = ask_running(state_folder(obj), "status")
    except NotRunning:
        raise Trouble("the server is not running") from None
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(lines(found)))
    if not all(one["sessions"] is not None for one in found["workers"]):
        raise SystemExit(1)


def lines(found: Mapping[str, Any]) -> list[str]:
    """As a person reads it."""
    first = f"mailkit {found['version']}, process {found['pid']}, running for {span(found['seconds'])}: "
    listeners = [f"{one['service']} on {one['host']} {one['port'] or ''}".rstrip() for one in found["listeners"]]
    said = [harmless(first + ", ".join(listeners))]
    if not found["workers"]:
        return [*said, f"sessions: {_sessions(found['sessions'])}"]
    rows = [
        (
            str(one["number"]),
            str(one["pid"] or "-"),
            span(one["seconds"]) if one["pid"] else "-",
            str(one["restarts"]),
            "it does not answer" if one["sessions"] is None else _sessions(one["sessions"]),
        )
        for one in found["workers"]
    ]
    return said + columns(("worker", "process", "age", "restarts", "sessions"), rows, right=(0, 1, 2, 3))


def _sessions(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {harmless(service)}" for service, count in sorted(counts.items())) or "none"
