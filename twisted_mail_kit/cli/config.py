"""`mailkit config`: test the configuration."""

from __future__ import annotations

import sys

import click

from twisted_mail_kit.cli.common import configuration


@click.group()
def noun() -> None:
    """Test the configuration."""


@noun.command()
@click.argument("file", required=False)
@click.pass_obj
def check(obj: tuple[str | None, str | None], file: str | None) -> None:
    """Print all errors of the configuration, each with file, table and key; exit 1 if there are any."""
    from pathlib import Path

    from twisted_mail_kit.assembly import check_configuration

    path = Path(file) if file else configuration(obj)
    if path is None:
        raise click.UsageError("there is no configuration: give one with --config")
    problems = check_configuration(path)
    for problem in problems:
        click.echo(problem)
    if problems:
        sys.exit(1)
    click.echo(f"{path}: no errors")
