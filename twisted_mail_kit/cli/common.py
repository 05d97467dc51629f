"""What the nouns share: which server is meant, and running a coroutine."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from twisted_mail_kit.errors import ConfigurationError, MailError

USUAL_PLACES = (Path("mailkit.toml"), Path("/etc/mailkit/mailkit.toml"))


def configuration(obj: tuple[str | None, str | None]) -> Path | None:
    """The configuration that is meant; None: the demo's."""
    file, state = obj
    if file:
        return Path(file)
    if state:
        return None
    return next((place for place in USUAL_PLACES if place.is_file()), None)


def run(work: Callable[[Any], Awaitable[None]]) -> None:
    """Run ``work(reactor)`` in the reactor; a MailError becomes one line on stderr and exit 1."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    trouble: list[str] = []

    async def watched(reactor: Any) -> None:
        try:
            await work(reactor)
        except ConfigurationError as problem:
            trouble.extend(problem.problems)
        except MailError as problem:
            trouble.append(f"{type(problem).__name__}: {problem}")
        except click.ClickException as problem:
            trouble.append(problem.message)

    try:
        react(lambda reactor: Deferred.fromCoroutine(watched(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    if trouble:
        for line in trouble:
            click.echo(line, err=True)
        sys.exit(1)
