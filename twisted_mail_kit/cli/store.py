"""`mailkit store`: what the store holds, and its dead room back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from twisted_mail_kit.cli.asking import Obj, Trouble, ask_running, state_folder
from twisted_mail_kit.cli.common import run
from twisted_mail_kit.cli.fsck import _store_folder
from twisted_mail_kit.cli.words import harmless
from twisted_mail_kit.control.client import NotRunning
from twisted_mail_kit.control.place import LOCK, take_lock
from twisted_mail_kit.errors import ConfigurationError, MailError

LONG = 600.0
"""Seconds without a word from the server after which it is given up; while it works it says so all the time."""

as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
Found = dict[str, Any]


@click.group()
def noun() -> None:
    """Look after the store."""


@noun.command()
@as_json
@click.pass_obj
def show(obj: Obj, as_json: bool) -> None:
    """What is in it, and how much of it is dead."""
    tell(ask(obj, "store.show", _show), as_json)


@noun.command()
@as_json
@click.pass_obj
def compact(obj: Obj, as_json: bool) -> None:
    """Give back now the room of what nobody has any more, and whose grace time is over.

    Exit codes: 0 it was done, 1 it was done but something is wrong (or it could not be done).
    """
    tell(ask(obj, "store.compact", _compact), as_json)


def ask(obj: Obj, verb: str, on_files: Callable[[Path], Found], **arguments: Any) -> Found:
    """The answer of the running server; where none runs, what `on_files` makes of the state folder. Raises Trouble."""
    state = state_folder(obj)
    try:
        found: Found = ask_running(state, verb, seconds=LONG, **arguments)
        return found
    except NotRunning:
        click.echo("the server is not running: working on the store's files", err=True)
    try:
        return on_files(state)
    except ConfigurationError as problem:
        raise Trouble("\n".join(problem.problems)) from None
    except MailError as problem:
        raise Trouble(str(problem)) from None


def tell(found: Found, as_json: bool) -> None:
    """Problems a line each, then what was counted; exit code 1 where there are problems."""
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        for line in found["problems"]:
            click.echo(harmless(line), err=True)
        width = max((len(f"{count:,}") for count in found["counts"].values()), default=0)
        for what, count in found["counts"].items():
            click.echo(f"{count:>{width},} {what}")
    if found["problems"]:
        sys.exit(1)


def _show(state: Path) -> Found:
    from twisted_mail_kit.control.store_verbs import plain
    from twisted_mail_kit.stores.sqlite.overview import overview

    return plain(overview(_store_folder(state)))


def _compact(state: Path) -> Found:
    # All imports come first: we may be about to become somebody who cannot read them.
    import twisted.internet.reactor
    import twisted.internet.task  # noqa: F401

    from twisted_mail_kit.control.store_verbs import plain
    from twisted_mail_kit.stores.sqlite import SQLiteStore

    folder = _store_folder(state)
    answers: list[Found] = []

    async def work(reactor: Any) -> None:
        store = SQLiteStore(folder, reactor)
        try:
            answers.append(plain(await store.compact()))
        finally:
            await store.close()

    lock = take_lock(state / LOCK)  # none can be started meanwhile
    try:
        run(work)
    finally:
        os.close(lock)
    return answers[0]
