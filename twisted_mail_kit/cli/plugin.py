"""`mailkit plugin`: what is installed, a new one, and what one keeps of its promises."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from twisted_mail_kit.cli.words import harmless
from twisted_mail_kit.errors import ConfigurationError

_KINDS = ("store", "auth", "accounts", "check", "delivery", "spool")


@click.group()
def noun() -> None:
    """Plugins: what is installed, what they keep, a new one."""


@noun.command("list")
@click.option("--kind", type=click.Choice(_KINDS), help="Only plugins of this kind.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_plugins(kind: str | None, as_json: bool) -> None:
    """Say which plugins are installed, from where, what they are able to do, and which cannot be loaded.

    Exit code 1: one cannot be loaded.
    """
    from twisted_mail_kit.cli.plugin_list import broken_dropins, known_plugins

    known, broken = known_plugins(kind), broken_dropins()
    if as_json:
        click.echo(json.dumps({"plugins": known, "broken": broken}, indent=1))
    else:
        for one in known:
            click.echo(
                harmless(
                    f"{one['kind']:9} {one['name']:16} {one['distribution'] or '?'} {one['version']} {one['place']}"
                )
            )
            click.echo(harmless(f"{'':10}{one['description']}"))
            abilities = ", ".join(one["abilities"]) or f"abilities unknown: {one['unknown'] or 'it cannot be loaded'}"
            click.echo(harmless(f"{'':10}{one['factory']}: {abilities}"))
            if one["problem"]:
                click.echo(harmless(f"{'':10}cannot be loaded: {one['problem']}"))
        for dropin in broken:
            click.echo(harmless(f"{dropin['dropin']}: cannot be loaded: {dropin['problem']}"))
    sys.exit(1 if broken or any(one["problem"] for one in known) else 0)


@noun.command()
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("name")
@click.option(
    "--directory",
    "-d",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(),
    help="Where its folder is made; without it here.",
)
@click.option("--blocking", is_flag=True, help="A store in plain code that blocks; the other kinds are so anyway.")
def new(kind: str, name: str, directory: Path, blocking: bool) -> None:
    """Write a new plugin: a complete distribution, which works, and whose tests are green."""
    from twisted_mail_kit.cli.scaffold import package_of, write_distribution

    try:
        folder = write_distribution(kind, name, directory, blocking)
    except ConfigurationError as problem:
        for line in problem.problems:
            click.echo(harmless(line), err=True)
        sys.exit(1)
    click.echo(f"{folder} is there. What to do next:")
    click.echo(f"    cd {folder} && pip install -e '.[test]' && pytest")
    click.echo(f"    mailkit plugin check {name} --kind {kind}")
    click.echo(f"    and make {package_of(kind, name)}/ yours")


@noun.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(_KINDS), default="store", help="Without it: store.")
@click.option("--levels", default="", help="Some of the contract's levels, with commas between; without it all.")
@click.option("--option", "-o", "options", multiple=True, metavar="KEY=VALUE", help="One of the plugin's options.")
@click.option(
    "--contract",
    default="",
    metavar="MODULE:CLASS",
    help="The contract that it is held to, file.py::Class too; general: the one that fits every plugin. Without it the"
    " author's own in tests/ beside the package, where there is one, and no --option.",
)
@click.option("--speed/--no-speed", default=True, help="Measure it beside the bundled ones.")
@click.option("--quick", is_flag=True, help="Small sizes, and few crashes.")
@click.option(
    "--patience", type=click.FloatRange(1), default=300.0, help="Seconds for one promise (300); some levels get more."
)
@click.option("--verbose", "-v", is_flag=True, help="The whole story of each failure.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(name: str, kind: str, levels: str, options: tuple[str, ...], **how: Any) -> None:
    """Say what a plugin keeps of its promises, and what clients will get of it.

    Exit codes: 0 all that was looked at holds, 1 something does not, 2 it could not be checked.
    """
    from twisted_mail_kit.cli.plugin_check import Wanted, checked, told

    verbose, as_json = how.pop("verbose"), how.pop("as_json")
    chosen = tuple(one for one in levels.split(",") if one)
    try:
        report = checked(Wanted(kind=kind, name=name, levels=chosen, options=options, **how))
    except ConfigurationError as problem:
        for line in problem.problems:
            click.echo(harmless(line), err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        for line in told(report, verbose):
            click.echo(line if verbose else harmless(line))
    sys.exit(0 if report["holds"] else 1)
