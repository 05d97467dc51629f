"""The `mailkit` command: nouns and verbs for the operator."""

from __future__ import annotations

from importlib import import_module

import click

from twisted_mail_kit._version import __version__

# One noun a file; a file is imported only when its noun is said, so that `mailkit --help` is quick.
_NOUNS = {
    "backup": "Copy the store while it is in use.",
    "config": "Test the configuration.",
    "queue": "What waits to be sent.",
    "trace": "What became of a message.",
    "dkim": "Keys that sign outgoing mail.",
    "dns": "What a domain publishes in DNS.",
    "fsck": "Check the store, and repair it.",
    "metrics": "What the running server has counted.",
    "plugin": "Plugins: what is installed, what they keep, a new one.",
    "restore": "Put a backup back.",
    "status": "The running server, its processes and sessions.",
    "store": "Look after the store.",
    "user": "Who may log in.",
}


class _Nouns(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _NOUNS:
            return None
        command: click.Command = import_module(f"twisted_mail_kit.cli.{cmd_name}").noun
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_NOUNS.items()))


@click.command(cls=_Nouns)
@click.option("--config", "-c", "file", envvar="MAILKIT_CONFIG", help="The configuration, a TOML file.")
@click.option("--state", "-s", help="A demo's state folder, instead of a configuration.")
@click.version_option(__version__, prog_name="mailkit")
@click.pass_context
def main(ctx: click.Context, file: str | None, state: str | None) -> None:
    """Look after a mail server.

    Without --config (or MAILKIT_CONFIG): mailkit.toml here, /etc/mailkit/mailkit.toml, or else the demo's state.
    """
    if file and state:
        raise click.UsageError("--config and --state do not go together")
    ctx.obj = (file, state)
