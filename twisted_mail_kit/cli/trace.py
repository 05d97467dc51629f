"""`mailkit trace`: what became of a message."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from twisted_mail_kit.cli.asking import Obj, ask
from twisted_mail_kit.cli.words import cut, folded, harmless, moment, said, span


@click.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def noun(obj: Obj, id: str, as_json: bool) -> None:
    """The timeline of message ID, with the remote servers' own words.

    The id is in the log, in the Received field that we put on top, in the reply to DATA, and in bounces. Timelines are
    kept for a week at least.
    """
    known = ask(obj, "trace", id=id)
    if as_json:
        click.echo(json.dumps(known, indent=1))
        return
    click.echo("\n".join(timeline(known, time.time())))


def timeline(known: dict[str, Any], now: float) -> list[str]:
    """A line for each thing that happened, and what was said about it below."""
    lines = []
    for one in known["events"]:
        recipient, *rest = folded(one["recipient"], 36)
        lines += [f"{moment(one['time'])}  {cut(one['event'], 12):<12}  {recipient[36:]}".rstrip(), *rest]
        words = said("", one["text"], remote=one["remote"]) if one["text"] else harmless(one["remote"])
        if words:
            lines += folded(words, 22)
    for one in known["waiting"]:
        next_one = "held" if one["is_held"] else f"next try in {span(one['next_try'] - now)}"
        lines.append(f"{'still queued':<20}  {next_one:<20}  {cut(one['address'], 56)}")
    return lines
