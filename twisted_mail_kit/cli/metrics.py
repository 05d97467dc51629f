"""`mailkit metrics`: what the running server has counted."""

from __future__ import annotations

import json
import sys

import click

from twisted_mail_kit.cli.asking import Obj, Trouble, state_folder
from twisted_mail_kit.control.client import NotRunning, Told, call
from twisted_mail_kit.control.place import SOCKET
from twisted_mail_kit.errors import MailError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def noun(obj: Obj, as_json: bool) -> None:
    """Every number of the running server, in the text format of Prometheus; docs/metrics.md explains them.

    Exit codes: 0 here they are, 1 the server is not running, or does not answer.
    """
    state = state_folder(obj)
    try:
        gathered = call(state / SOCKET, "metrics")
    except NotRunning:
        raise Trouble("the server is not running: it alone knows its numbers") from None
    except Told as told:
        raise Trouble(f"{told.name}: {told}") from None
    except MailError as problem:
        raise Trouble(str(problem)) from None
    if as_json:
        click.echo(json.dumps(gathered, indent=1))
        return
    from twisted_mail_kit.monitor.exposition import exposition  # a fifth of the command's time

    sys.stdout.write(exposition(gathered)[0].decode())
