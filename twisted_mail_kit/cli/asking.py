"""Asking the running server, or its files when it is down: which state folder is meant, and who answers."""

from __future__ import annotations

import os
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

from twisted_mail_kit.cli.common import configuration, run
from twisted_mail_kit.cli.words import harmless
from twisted_mail_kit.control.client import NotRunning, Piece, Told, call
from twisted_mail_kit.control.place import LOCK, SOCKET, take_lock
from twisted_mail_kit.errors import MailError

Obj = tuple[str | None, str | None]

# What config.Tables and demo.default_state say too. To import them would cost more than the whole question.
USUAL_STATE = "/var/lib/mailkit"
DEMO_STATE = "mailkit-demo"

DOWN = "the server is not running: reading the queue's files"


class Trouble(click.ClickException):
    """One line on stderr, exit 1."""

    def show(self, file: Any = None) -> None:
        """Without a word in front."""
        for line in self.message.splitlines():
            click.echo(harmless(line), err=True)


def ask(obj: Obj, verb: str, on_piece: Piece | None = None, **arguments: Any) -> Any:
    """The answer of the running server; where none runs, that of the queue's files, with a word about it on stderr.

    Raises Trouble. To be called once in a process: the files need the reactor, which runs only once.
    """
    state = state_folder(obj)
    try:
        return ask_running(state, verb, on_piece=on_piece, **arguments)
    except NotRunning:
        click.echo(DOWN, err=True)
    return ask_files(state / "queue", verb, on_piece, arguments)


def ask_running(state: Path, verb: str, **how: Any) -> Any:
    """The answer of the server with this state folder; `how` is as for `call`. Raises NotRunning, and Trouble for what
    it answers that is no answer."""
    try:
        return call(state / SOCKET, verb, **how)
    except NotRunning:
        raise
    except Told as told:
        raise Trouble(f"{told.name}: {told}") from None
    except MailError as problem:
        raise Trouble(str(problem)) from None


def state_folder(obj: Obj) -> Path:
    """Where the server that is meant keeps its state. Raises Trouble."""
    path = configuration(obj)
    if path is None:
        base = os.environ.get("XDG_DATA_HOME")
        usual = (Path(base) if base else Path.home() / ".local" / "share") / DEMO_STATE
        folder = Path(obj[1]).expanduser() if obj[1] else usual
        if not folder.is_dir():
            raise Trouble(f"{folder}: no demo has run here yet; give a configuration with --config")
        return folder
    try:
        state = tomllib.loads(path.read_text(encoding="utf-8")).get("state", USUAL_STATE)
    except (OSError, ValueError) as problem:
        raise Trouble(f"{path}: cannot be read: {problem}") from None
    if not isinstance(state, str):
        raise Trouble(f"{path}: state: a path expected")
    return path.absolute().parent / Path(state).expanduser()


def ask_files(folder: Path, verb: str, on_piece: Piece | None, arguments: dict[str, Any]) -> Any:
    """The same verb, done here, on the queue's files. Raises Trouble."""
    try:
        owner = folder.stat()
    except OSError as problem:
        raise Trouble(f"{folder}: there is no queue here: {problem.strerror}") from None
    # All imports come first: we may be about to become somebody who cannot read them.
    import twisted.internet.reactor
    import twisted.internet.task  # noqa: F401

    from twisted_mail_kit.control.verbs import queue_verbs
    from twisted_mail_kit.queue.desk import Desk
    from twisted_mail_kit.queue.sqlite import SQLiteSpool

    become_owner(owner)
    answers: list[object] = []

    async def work(reactor: Any) -> None:
        spool = SQLiteSpool(folder, reactor)
        try:
            answer = await queue_verbs(Desk(spool, clock=reactor))[verb](**arguments)
            if isinstance(answer, AsyncIterator):
                async for piece in answer:
                    if on_piece is not None:
                        on_piece(piece)
                answer = None
            answers.append(answer)
        except BrokenPipeError:
            answers.append(None)  # whoever read our stdout has enough
        finally:
            await spool.close()

    try:
        # Several commands may be at it together, but no repair; a server that is being started waits for them.
        lock = take_lock(folder.parent / LOCK, is_shared=True)
    except MailError as problem:
        raise Trouble(str(problem)) from None
    try:
        run(work)
    finally:
        os.close(lock)
    return answers[0]


def become_owner(owner: os.stat_result) -> None:
    """Where root asks for somebody else's files, be him: what root would make there, the server could not write to."""
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
