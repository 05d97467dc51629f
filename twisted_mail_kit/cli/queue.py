"""`mailkit queue`: what waits to be sent, and what to do with it."""

from __future__ import annotations

import base64
import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from twisted_mail_kit.cli.asking import Obj, Trouble, ask
from twisted_mail_kit.cli.words import (
    WIDTH,
    columns,
    cut,
    folded,
    last_words,
    moment,
    size,
    span,
    when,
)

as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
ids = click.argument("ids", nargs=-1, metavar="ID...")
every = click.option("--all", "every", is_flag=True, help="Every message, instead of IDs.")


@click.group()
def noun() -> None:
    """What waits to be sent."""


@noun.command("list")
@click.option("--destination", help="Only what goes there: a domain, as a rule.")
@click.option("--sender", help="Only from this address; <> for bounces.")
@click.option("--recipient", help="Only to this address.")
@click.option("--held", is_flag=True, help="Only what is held.")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="Messages at most; 0: all.")
@as_json
@click.pass_obj
def list_(
    obj: Obj,
    destination: str | None,
    sender: str | None,
    recipient: str | None,
    held: bool,
    limit: int,
    as_json: bool,
) -> None:
    """What waits, oldest first, a line for each recipient."""
    messages: list[dict[str, Any]] = []
    ask(
        obj,
        "queue.list",
        messages.append,
        destination=destination,
        sender=sender,
        recipient=recipient,
        held=held or None,
        limit=limit and limit + 1,
    )
    more = bool(limit) and len(messages) > limit
    del messages[limit if more else len(messages) :]
    if as_json:
        click.echo(json.dumps(messages, indent=1))
    elif not messages:
        filtered = destination or sender or recipient or held
        click.echo("nothing in the queue is like that" if filtered else "the queue is empty")
    else:
        click.echo("\n".join(table(messages, time.time())))
    if more:
        click.echo(f"there are more than these {limit}: --limit 0 gives all", err=True)


_LIST = ("ID", "AGE", "SIZE", "NEXT", "TRIES", "DESTINATION", "RECIPIENT")


def table(messages: list[dict[str, Any]], now: float) -> list[str]:
    """A line for each recipient, and one below it for what the remote server said last."""
    rows, below = [], []
    for message in messages:
        for one in message["recipients"]:
            rows.append(
                (
                    cut(message["id"], 32),
                    span(now - message["received_at"]),
                    size(message["size"]),
                    when(one["next_try"], one["is_held"], now),
                    str(one["attempts"]),
                    cut(one["destination"], 24),
                    one["address"],
                )
            )
            below.append(last_words(one["last"]))
    # What is left of the line belongs to the recipient.
    room = WIDTH - sum(max(len(row[n]) for row in (_LIST, *rows)) + 2 for n in range(6))
    head, *lines = columns(_LIST, [(*row[:6], cut(row[6], room)) for row in rows], right=(1, 2, 3, 4))
    told = [head]
    for line, words in zip(lines, below, strict=True):
        told.append(line)
        if words:
            told.append(" " * 4 + cut(words, WIDTH - 4))
    return told


@noun.command()
@click.argument("id")
@as_json
@click.pass_obj
def show(obj: Obj, id: str, as_json: bool) -> None:
    """All that is known of one message, with every recipient's last outcome."""
    message = ask(obj, "queue.show", id=id)
    if as_json:
        click.echo(json.dumps(message, indent=1))
        return
    click.echo("\n".join(described(message, time.time())))


def described(message: dict[str, Any], now: float) -> list[str]:
    """One message, for people."""
    age = span(now - message["received_at"])
    facts = [
        ("id", message["id"]),
        ("sender", message["sender"] or "<>"),
        ("queued", f"{moment(message['received_at'])}, {age} ago"),
        ("size", f"{size(message['size'])}, {message['size']} octets"),
        ("came by", message["client"]),
        ("login", message["login"]),
        ("envelope id", message["envid"]),
        ("asked for", " ".join(message["options"])),
    ]
    lines = [f"{name:<12}  {cut(value, WIDTH - 14)}" for name, value in facts if value]
    for one in message["recipients"]:
        lines += ["", *folded(one["address"], 0)]
        if one["is_held"]:
            next_one = "held"
        elif one["next_try"] <= now:
            next_one = "next try now"
        else:
            next_one = f"next try in {span(one['next_try'] - now)}, {moment(one['next_try'])}"
        tries = "not tried yet" if not one["attempts"] else f"tried {counted(one['attempts'], 'time')}"
        lines += folded(f"to {one['destination']}, {tries}, {next_one}", 4)
        if one["last"] is not None:
            lines += folded(last_words(one["last"]), 4)
        if one["delay_told"]:
            lines.append("    the sender has been told of the delay")
    return lines


@noun.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object, the octets in base64.")
@click.pass_obj
def cat(obj: Obj, id: str, as_json: bool) -> None:
    """The message, octet for octet, to stdout. Mind that a terminal obeys what a stranger has put in."""
    if as_json:
        whole: list[bytes] = []
        ask(obj, "queue.cat", whole.append, id=id)
        content = b"".join(whole)
        click.echo(json.dumps({"id": id, "size": len(content), "base64": base64.b64encode(content).decode()}))
        return

    def write(octets: bytes) -> None:
        sys.stdout.buffer.write(octets)

    ask(obj, "queue.cat", write, id=id)
    sys.stdout.buffer.flush()


@noun.command()
@click.argument("destination", required=False)
@as_json
@click.pass_obj
def flush(obj: Obj, destination: str | None, as_json: bool) -> None:
    """Try everything now (or all for DESTINATION), but what is held."""
    count = ask(obj, "queue.flush", destination=destination)["recipients"]
    if as_json:
        click.echo(json.dumps({"recipients": count}))
    else:
        click.echo(f"{counted(count, 'recipient')} to be tried now")


def _many(verb: str, what_became: str, **more: Any) -> Callable[[Obj, tuple[str, ...], bool, bool], None]:
    def do(obj: Obj, ids: tuple[str, ...], every: bool, as_json: bool) -> None:
        done = ask(obj, verb, ids=None if every else list(dict.fromkeys(ids)), **more)
        missing = done["missing"]
        if as_json:
            click.echo(json.dumps(done))
        else:
            messages = done["messages"]
            of_them = "" if messages is None else f" of {counted(messages, 'message')}"
            click.echo(f"{counted(done['recipients'], 'recipient')}{of_them} {what_became}")
        if missing:
            raise Trouble("\n".join(f"{one}: no such message in the queue" for one in missing))

    return do


def _which(ids: tuple[str, ...], every: bool) -> None:
    if bool(ids) == every:
        raise click.UsageError("give the IDs of messages, or --all")


@noun.command()
@ids
@every
@click.option("--in", "delay", help="Not now but then: 90s, 10m, 2h, 1d.")
@as_json
@click.pass_obj
def retry(obj: Obj, ids: tuple[str, ...], every: bool, delay: str | None, as_json: bool) -> None:
    """Try these messages now, whenever their turn would have been. What is held stays held."""
    _which(ids, every)
    if delay is None:
        _many("queue.retry", "to be tried now")(obj, ids, every, as_json)
        return
    if every:
        raise click.UsageError("--in goes with the IDs of messages")
    then = time.time() + _seconds(delay)
    _many("queue.retry", f"to be tried in {delay}", when=then)(obj, ids, every, as_json)


def _seconds(delay: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([smhd])", delay)
    if found is None:
        raise click.UsageError(f"--in {delay}: a number and a unit expected: 90s, 10m, 2h, 1d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


@noun.command()
@ids
@every
@as_json
@click.pass_obj
def hold(obj: Obj, ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Keep these messages, and do not try them until they are released."""
    _which(ids, every)
    _many("queue.hold", "held")(obj, ids, every, as_json)


@noun.command()
@ids
@every
@as_json
@click.pass_obj
def release(obj: Obj, ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Let held messages go on."""
    _which(ids, every)
    _many("queue.release", "released")(obj, ids, every, as_json)


@noun.command()
@ids
@every
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
@as_json
@click.pass_obj
def rm(obj: Obj, ids: tuple[str, ...], every: bool, yes: bool, as_json: bool) -> None:
    """Throw these messages away. Nobody is told: there is no bounce."""
    _which(ids, every)
    if every and not yes:
        click.confirm("Throw away every message in the queue, without a bounce?", abort=True, err=True)
    _many("queue.rm", "thrown away")(obj, ids, every, as_json)


@noun.command()
@as_json
@click.pass_obj
def stats(obj: Obj, as_json: bool) -> None:
    """How much waits, and for whom."""
    facts = ask(obj, "queue.stats")
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo("\n".join(summed_up(facts, time.time())))


_DESTINATIONS = ("DESTINATION", "RECIPIENTS", "DUE", "WAITING", "HELD", "NEXT")
_MOST = 40
"""Destinations that are shown."""


def summed_up(facts: dict[str, Any], now: float) -> list[str]:
    """The queue's numbers, for people."""
    if not facts["messages"]:
        return ["the queue is empty"]
    lines = [
        f"messages    {facts['messages']}, {size(facts['size'])}, the oldest {span(now - facts['oldest'])} old",
        f"recipients  {facts['recipients']}: {facts['due']} due, {facts['waiting']} waiting, {facts['held']} held",
    ]
    if facts["next"] is not None:
        lines.append(f"next try    {'now' if facts['next'] <= now else 'in ' + span(facts['next'] - now)}")
    running = facts["running"]
    if running is not None:
        lines.append(f"attempts    {running['attempts']} going on")
    rows = [
        (
            cut(name, 44),
            str(one["recipients"]),
            str(one["due"]),
            str(one["waiting"]),
            str(one["held"]),
            "" if one["next"] is None else when(one["next"], False, now),
        )
        for name, one in list(facts["destinations"].items())[:_MOST]
    ]
    lines += ["", *columns(_DESTINATIONS, rows, right=(1, 2, 3, 4, 5))]
    if len(facts["destinations"]) > _MOST:
        lines.append(f"and {len(facts['destinations']) - _MOST} more destinations: --json gives all")
    for name, dead in (running or {}).get("dead", {}).items():
        until = span(dead["until"] - now)
        lines += ["", *folded(f"{name} does not answer, and is left alone for {until}: {dead['why']}", 0)]
    return lines


def counted(count: int, what: str) -> str:
    """``1 recipient``, ``2 recipients``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
