"""Makes a plugin's part in a process of its own, and says what it provides, and how fast it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import maybeDeferred
from zope.interface.verify import verifyObject

from twisted_mail_kit.checks import Check
from twisted_mail_kit.cli.plugin_part import DOORS, interfaces_of, made
from twisted_mail_kit.errors import AccountNotFound
from twisted_mail_kit.interfaces import IMaildropStore

STEPS = ("connected", "greeted", "sender", "recipient", "message")


async def looked_at(kind: str, name: str, options: Sequence[str], speed: bool, reactor: Any) -> dict[str, Any]:
    """What the part provides, whether it fits its door, what is special to its kind, and its speed."""
    seen: dict[str, Any] = {"abilities": [], "problem": "", "persistent": False, "blocking": False, "speed": {}}
    with TemporaryDirectory(prefix="mailkit-check-") as folder:
        part = made(kind, name, options, Path(folder), reactor)
        seen["abilities"] = interfaces_of(part)
        seen["blocking"] = bool(getattr(part, "blocking", False))
        try:
            verifyObject(DOORS[kind], part)
        except Exception as problem:
            seen["problem"] = " ".join(str(problem).split())
            return seen
        if IMaildropStore.providedBy(part):
            seen["problem"] = "it has maildrops only, for POP3, and there is no contract for those"
            return seen
        if kind == "store":
            account = await part.open_account("alice", create=True)
            seen["abilities"] += [one for one in interfaces_of(account) if one not in seen["abilities"]]
            await part.close()
            seen["persistent"] = await _is_persistent(name, options, Path(folder), reactor)
        elif kind == "auth":
            seen["credentials"] = [one.__name__ for one in part.credentialInterfaces]
        elif kind == "check":
            asked = getattr(part, "_part", part)  # one that blocks, in its threads
            seen["steps"] = [one for one in STEPS if getattr(type(asked), one, None) is not getattr(Check, one)]
        if kind != "store" and callable(getattr(part, "close", None)):
            await maybeDeferred(part.close)
        if kind == "spool":
            seen["persistent"] = any(Path(folder).rglob("*"))
    if speed:
        from twisted_mail_kit.cli.plugin_speed import speed_of

        seen["speed"] = await speed_of(kind, name, options, reactor)
    return seen


async def _is_persistent(name: str, options: Sequence[str], folder: Path, reactor: Any) -> bool:
    """Whether another one in the same place finds what there was."""
    again = made("store", name, options, folder, reactor)
    try:
        await again.open_account("alice")
    except AccountNotFound:
        return False
    finally:
        await again.close()
    return True


async def abilities_of(wanted: Sequence[tuple[str, str]], reactor: Any) -> list[dict[str, Any]]:
    """What parts with the options' defaults provide, or why they cannot be made; for `mailkit plugin list`."""
    found = []
    for kind, name in wanted:
        one: dict[str, Any] = {"abilities": [], "unknown": ""}
        with TemporaryDirectory(prefix="mailkit-list-") as folder:
            try:
                part = made(kind, name, (), Path(folder), reactor)
                one["abilities"] = interfaces_of(part)
                if callable(getattr(part, "close", None)):
                    await maybeDeferred(part.close)
            except Exception as problem:
                one["unknown"] = " ".join(f"{type(problem).__name__}: {problem}".split())
        found.append(one)
        print(json.dumps(one), flush=True)
    return found


def main() -> None:
    """What `mailkit plugin` starts: ``list kind name kind name …``, or ``speed`` (``no-speed``) with kind, name, and
    options. What is found is on the last lines of stdout, as JSON."""
    from twisted_mail_kit.cli.common import run

    how, *rest = sys.argv[1:]

    async def look(reactor: Any) -> None:
        if how == "list":
            await abilities_of(list(zip(rest[::2], rest[1::2], strict=True)), reactor)
        else:
            kind, name, *options = rest
            print(json.dumps(await looked_at(kind, name, options, how == "speed", reactor)), flush=True)

    run(look)
    sys.stderr.flush()
    os._exit(0)  # a part's threads are no reason to stay


if __name__ == "__main__":
    main()
