"""`mailkit user`: who may log in."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from twisted_mail_kit.cli.common import configuration, run

Obj = tuple[str | None, str | None]


@click.group()
def noun() -> None:
    """Who may log in."""


def _password(from_stdin: bool) -> str:
    """From stdin or from a prompt: never from argv, which every user of the machine can see."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise click.UsageError("no password on stdin")
        return password
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _with_passwords(obj: Obj, work: Any) -> None:
    async def go(reactor: Any) -> None:
        from twisted_mail_kit.assembly import passwords_of

        await work(passwords_of(configuration(obj), obj[1], reactor))

    run(go)


password_stdin = click.option("--password-stdin", is_flag=True, help="Take the password from the first line of stdin.")


@noun.command()
@click.argument("name")
@password_stdin
@click.pass_obj
def add(obj: Obj, name: str, password_stdin: bool) -> None:
    """Let NAME (joe@example.org) log in, and have mail."""

    async def work(passwords: Any) -> None:
        if name in await passwords.user_names():
            raise click.ClickException(f"{name} is there already; `mailkit user passwd` changes the password")
        await passwords.set_password(name, password)
        click.echo(f"{name} added")

    password = _password(password_stdin)
    _with_passwords(obj, work)


@noun.command()
@click.argument("name")
@password_stdin
@click.pass_obj
def passwd(obj: Obj, name: str, password_stdin: bool) -> None:
    """Give NAME another password."""

    async def work(passwords: Any) -> None:
        if name not in await passwords.user_names():
            raise click.ClickException(f"there is no user {name}")
        await passwords.set_password(name, password)
        click.echo(f"{name}: password changed")

    password = _password(password_stdin)
    _with_passwords(obj, work)


@noun.command("list")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.pass_obj
def list_(obj: Obj, as_json: bool) -> None:
    """All names, in order."""

    async def work(passwords: Any) -> None:
        names = list(await passwords.user_names())
        if as_json:
            click.echo(json.dumps(names))
        else:
            for name in names:
                click.echo(name)

    _with_passwords(obj, work)


@noun.command()
@click.argument("name")
@click.pass_obj
def rm(obj: Obj, name: str) -> None:
    """NAME can no longer log in, and no longer has an address. The mail stays in the store."""

    async def work(passwords: Any) -> None:
        await passwords.remove_user(name)
        click.echo(f"{name} removed; the mail is still in the store")

    _with_passwords(obj, work)
