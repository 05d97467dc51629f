"""`mailkit fsck`: check the store, and repair it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from twisted_mail_kit.cli.asking import Obj, Trouble, ask_running, become_owner, state_folder
from twisted_mail_kit.cli.words import harmless
from twisted_mail_kit.control.client import NotRunning
from twisted_mail_kit.control.place import LOCK, take_lock
from twisted_mail_kit.errors import ConfigurationError, MailError

COULD_NOT = 2
QUEUE = "queue"


@click.command()
@click.option("--repair", "wants_repair", is_flag=True, help="Repair what can be repaired; no server may run.")
@click.option(
    "--salvage",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write every message that can be read into this new folder, without the index; no server may run.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def noun(obj: Obj, wants_repair: bool, folder: Path | None, as_json: bool) -> None:
    """Check the store, and repair it.

    Exit codes: 0 all is well (or is, now that it was repaired), 1 something is wrong, 2 it could not be checked.
    """
    if wants_repair and folder:
        raise click.UsageError("--repair and --salvage do not go together")
    try:
        state = state_folder(obj)
        if wants_repair or folder:
            found = _alone(state, folder)
        else:
            found = _ask(state)
    except MailError as problem:
        lines = problem.problems if isinstance(problem, ConfigurationError) else [str(problem)]
        _end(lines)
    except Trouble as problem:
        _end(problem.message.splitlines())
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        for line in found["problems"]:
            click.echo(harmless(line))
        click.echo(", ".join(f"{count} {what}" for what, count in found["counts"].items()))
    left = found["counts"].get("problems left", len(found["problems"]))
    sys.exit(1 if left and not folder else 0)


def _end(lines: list[str]) -> None:
    for line in lines:
        click.echo(harmless(line), err=True)
    sys.exit(COULD_NOT)


def _ask(state: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ask_running(state, "store.check", seconds=600.0)
        return found
    except NotRunning:
        click.echo("the server is not running: reading the store's files", err=True)
    from twisted_mail_kit.control.store_verbs import plain, together
    from twisted_mail_kit.queue.sqlite import fsck as queue
    from twisted_mail_kit.stores.sqlite.fsck import check

    folder = _folder(state)
    findings = [check(folder)] if folder is not None else []
    if queue.is_here(state / QUEUE):
        findings.append(queue.check(state / QUEUE))
    return plain(together(*findings))


def _alone(state: Path, folder: Path | None) -> dict[str, Any]:
    """With the lock that a server takes at its start: none runs, and none can be started meanwhile."""
    from twisted_mail_kit.control.store_verbs import plain, together
    from twisted_mail_kit.queue.sqlite import fsck as queue
    from twisted_mail_kit.queue.sqlite.repair import repair as repair_queue
    from twisted_mail_kit.queue.sqlite.repair import salvage as salvage_queue
    from twisted_mail_kit.stores.sqlite.repair import repair
    from twisted_mail_kit.stores.sqlite.salvage import salvage

    store = _folder(state, needs_index=folder is None)
    lock = take_lock(state / LOCK)
    try:
        if folder:
            found = [salvage(store, folder)] if store is not None else []
            if (state / QUEUE).is_dir():
                found.append(salvage_queue(state / QUEUE, folder / QUEUE))
        else:
            found = [repair(store)] if store is not None else []
            if queue.is_here(state / QUEUE):
                found.append(repair_queue(state / QUEUE))
    finally:
        os.close(lock)
    return plain(together(*found))


def _folder(state: Path, needs_index: bool = True) -> Path | None:
    """The store's; None where another plugin has the mail, and only the queue is here. Raises MailError."""
    if (state / QUEUE).is_dir() and not (state / "store").exists():
        become_owner((state / QUEUE).stat())
        return None
    return _store_folder(state, needs_index)


def _store_folder(state: Path, needs_index: bool = True) -> Path:
    from twisted_mail_kit.stores.sqlite import schema

    store = state / "store"
    try:
        owner = store.stat()
    except OSError as problem:
        raise MailError(f"{store}: there is no store here: {problem.strerror}") from None
    index = store / schema.INDEX
    if needs_index and not index.exists():
        raise MailError(
            f"{index}: is missing: put a backup back with mailkit restore, or save the messages with"
            " mailkit fsck --salvage FOLDER"
        )
    become_owner(owner)
    return store
