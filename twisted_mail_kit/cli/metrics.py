"""`mailkit metrics`: what the running server has counted."""

from __future__ import annotations

import json
import sys

import click

from twisted_mail_kit.cli.asking import Obj, Trouble, ask_running, state_folder
from twisted_mail_kit.control.client import NotRunning


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def noun(obj: Obj, as_json: bool) -> None:
    """Every number of the running server, in the text format of Prometheus; docs/metrics.md explains them.

    Exit codes: 0 here they are, 1 the server is not running, or does not answer.
    """
    try:
        gathered = ask_running(state_folder(obj), "metrics")
    except NotRunning:
        raise Trouble("the server is not running: it alone knows its numbers") from None
    if as_json:
        click.echo(json.dumps(gathered, indent=1))
        return
    from twisted_mail_kit.monitor.exposition import exposition  # a fifth of the command's time

    sys.stdout.write(exposition(gathered)[0].decode())
