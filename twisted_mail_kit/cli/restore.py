"""`mailkit restore`: put a backup back, where nothing is yet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from twisted_mail_kit.cli.asking import Obj, Trouble, become_owner, state_folder
from twisted_mail_kit.cli.common import run
from twisted_mail_kit.cli.store import Found, as_json, tell
from twisted_mail_kit.control.place import LOCK, SOCKET, take_lock
from twisted_mail_kit.errors import ConfigurationError, MailError, Unavailable
from twisted_mail_kit.mail.facts import Findings

NEW = "restore.part"
"""Where everything is put together, in the state folder."""


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    help="The state folder to make; else that of the configuration.",
)
@click.option("--partial", "is_partial", is_flag=True, help="Where the backup is damaged, restore the rest of it.")
@as_json
@click.pass_obj
def noun(obj: Obj, directory: Path, target: Path | None, is_partial: bool, as_json: bool) -> None:
    """Make the state folder what it was when the backup in DIRECTORY was made.

    Everything is checked first; a folder with mail in it, and a running server, are refused. Messages that wait in the
    queue are held. Exit codes: 0 it was done, 1 it was not, or with --partial something was damaged, which is told.
    """
    try:
        state = (target or state_folder(obj)).absolute()
        tell(_restore(directory.absolute(), state, is_partial), as_json)
    except ConfigurationError as problem:
        raise Trouble("\n".join(problem.problems)) from None
    except MailError as problem:
        raise Trouble(str(problem)) from None
    except OSError as problem:
        raise Trouble(f"{problem.filename or directory}: {problem.strerror}") from None


def _restore(directory: Path, state: Path, is_partial: bool) -> Found:
    """Beside its place first, so that what is interrupted leaves nothing that could be taken for a state folder."""
    import twisted.internet.reactor
    import twisted.internet.task  # noqa: F401

    from twisted_mail_kit.control.state_copy import FILES, QUEUE, STORE, put_back
    from twisted_mail_kit.control.store_verbs import plain
    from twisted_mail_kit.stores.sqlite.files import Files
    from twisted_mail_kit.stores.sqlite.restore import restore

    if not (directory / STORE).is_dir():
        raise ConfigurationError([f"{directory}: this is no backup: it has no folder {STORE} in it"])
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    become_owner(state.stat())
    lock = take_lock(state / LOCK)
    new = state / NEW
    try:
        # What a server that was ended leaves behind, and we, is nothing that could be lost.
        there = {one.name for one in state.iterdir()} - {LOCK, SOCKET, "spool", NEW}
        if there:
            raise ConfigurationError([f"{state}: is not empty, {min(there)} is in it: nothing was restored"])
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        found = restore(directory / STORE, new / STORE, is_partial=is_partial)
        problems = [line.replace(str(new), str(state)) for line in found.problems]
        counts = {**found.counts, "state files": put_back(directory / FILES, new, STORE)}
        counts["state files"] += put_back(directory / FILES / STORE, new / STORE)
        if (directory / QUEUE).is_dir():
            put_back(directory / QUEUE, new / QUEUE)
            problems += [line.replace(str(new), str(state)) for line in _look_at(new / QUEUE, is_partial)]
            counts["queued recipients held"] = _hold(new / QUEUE)
        # The store comes last: a state folder with a store in it is whole.
        for one in sorted(new.iterdir(), key=lambda one: one.name == STORE):
            one.rename(state / one.name)
        Files().sync_directory(state)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        os.close(lock)
    return plain(Findings(counts, tuple(problems)))


def _look_at(queue: Path, is_partial: bool) -> Sequence[str]:
    """What is damaged in the queue of the backup. Raises Unavailable."""
    from twisted_mail_kit.queue.sqlite.fsck import check
    from twisted_mail_kit.queue.sqlite.repair import repair

    if is_partial:
        return repair(queue).problems
    problems = check(queue).problems
    if problems:
        raise Unavailable(
            f"the backup's queue is damaged, nothing was restored: {problems[0]}: or take an older one, or restore the"
            " rest of it with --partial"
        )
    return ()


def _hold(queue: Path) -> int:
    """What was sent after the backup is in the queue again: nothing goes out before somebody has looked at it."""
    from twisted_mail_kit.queue.desk import Desk
    from twisted_mail_kit.queue.sqlite import SQLiteSpool

    held: list[int] = []

    async def work(reactor: Any) -> None:
        spool = SQLiteSpool(queue, reactor)
        try:
            held.append(await Desk(spool, clock=reactor).hold("all"))
        finally:
            await spool.close()

    run(work)
    return held[0]
