"""Makes a plugin's part in a process of its own, and says what it provides, and of a store how fast it is."""

from __future__ import annotations

import json
import statistics
import sys
import time
import tomllib
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, gatherResults
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from twisted_mail_kit.errors import AccountNotFound, ConfigurationError
from twisted_mail_kit.interfaces import Add, IAccounts, ICheck, IDeliveryTarget, IMailStore, ISpool, SetFlags
from twisted_mail_kit.net.blocking import adapted
from twisted_mail_kit.plugin import Context, find
from twisted_mail_kit.tables import Problems, read_table

DOORS: dict[str, Any] = {
    "store": IMailStore,
    "auth": ICredentialsChecker,
    "accounts": IAccounts,
    "check": ICheck,
    "delivery": IDeliveryTarget,
    "spool": ISpool,
}
ROUNDS = 3
SECONDS = 0.4
"""How long messages are added in each round."""
IN_FLIGHT = 20
ROWS = 10_000
LETTER = (b"Subject: a letter\r\n\r\n" + b"x" * 72 + b"\r\n") * 22


def made(kind: str, name: str, options: Sequence[str], state: Path, reactor: Any) -> Any:
    """The part that a plugin makes, with options as ``key=value``. Raises ConfigurationError."""
    plugin = find(kind, name)
    given: dict[str, Any] = {}
    for one in options:
        key, equals, value = one.partition("=")
        if not equals:
            raise ConfigurationError([f"--option {one}: KEY=VALUE expected"])
        try:
            given[key] = tomllib.loads(f"it = {value}")["it"]
        except tomllib.TOMLDecodeError:
            given[key] = value
    problems, options_class = Problems("--option"), plugin.load_options()
    if options_class is None:
        for key in given:
            problems.add("", key, "unknown; the plugin has no options")
    made_options: Any = {} if options_class is None else read_table(options_class, given, "", problems)
    if problems.lines:
        raise ConfigurationError(problems.lines)
    context = Context(reactor=reactor, state_dir=state, hostname="mx.example.org", domains=("example.org",))
    return adapted(plugin.load()(made_options, context), reactor)


async def looked_at(kind: str, name: str, options: Sequence[str], speed: bool, reactor: Any) -> dict[str, Any]:
    """What the part provides, whether it fits its door; of a store also whether it is persistent, and its speed."""
    seen: dict[str, Any] = {"abilities": [], "problem": "", "persistent": False, "speed": {}}
    with TemporaryDirectory(prefix="mailkit-check-") as folder:
        part = made(kind, name, options, Path(folder), reactor)
        seen["abilities"] = [one.__name__ for one in providedBy(part).flattened() if one.__name__ != "Interface"]
        try:
            verifyObject(DOORS[kind], part)
        except Exception as problem:
            seen["problem"] = " ".join(str(problem).split())
            return seen
        if kind == "store":
            await part.open_account("alice", create=True)
            await part.close()
            part = made(kind, name, options, Path(folder), reactor)
            try:
                await part.open_account("alice")
                seen["persistent"] = True
            except AccountNotFound:
                pass
            await part.close()
        elif kind == "spool":
            await part.close()
    if kind == "store" and speed:
        seen["speed"] = await _speed(name, options, reactor)
    return seen


async def _speed(name: str, options: Sequence[str], reactor: Any) -> dict[str, dict[str, float]]:
    """Medians by store and measure, each a number a second; in turn, so that a busy machine is so for all of them."""
    stores = {name: options} | {other: () for other in ("sqlite", "memory") if other != name}
    measured: dict[str, dict[str, list[float]]] = {one: {} for one in stores}
    for _ in range(ROUNDS):
        for one, given in stores.items():
            with TemporaryDirectory(prefix="mailkit-speed-") as folder:
                store = made("store", one, given, Path(folder), reactor)
                try:
                    for what, rate in (await _round(store)).items():
                        measured[one].setdefault(what, []).append(rate)
                finally:
                    await store.close()
    return {one: {what: statistics.median(rates) for what, rates in whats.items()} for one, whats in measured.items()}


async def _round(store: Any) -> dict[str, float]:
    account = await store.open_account("alice", create=True)
    (box,) = await account.mailboxes()
    numbers, end = count(), time.perf_counter() + SECONDS

    async def add_some() -> int:
        added = 0
        while time.perf_counter() < end:
            await account.apply([Add(box.id, await _blob(account), 1)], token=f"t{next(numbers)}")
            added += 1
        return added

    began = time.perf_counter()
    adding = [Deferred.fromCoroutine(add_some()) for _ in range(IN_FLIGHT)]
    added = sum(await gatherResults(adding))
    rates = {"messages added": added / (time.perf_counter() - began)}
    other = await store.open_account("bob", create=True)
    (box,) = await other.mailboxes()
    blob = await _blob(other)
    for _ in range(ROWS // 1000):
        await other.apply([Add(box.id, blob, 1, summary=bytes(300)) for _ in range(1000)])
    began, after, seen = time.perf_counter(), 0, 0
    while rows := await other.messages(box.id, after=after, limit=1000):
        after, seen = rows[-1].uid, seen + len(rows)
    rates["rows listed"] = seen / (time.perf_counter() - began)
    began = time.perf_counter()
    for _ in range(100):
        await other.read_blob(blob, 0, len(LETTER))
    rates["bodies read"] = 100 / (time.perf_counter() - began)
    began = time.perf_counter()
    for uid in range(1, 21):
        await other.apply([SetFlags(box.id, [uid], add=frozenset({"\\Seen"}))])
    rates["flags set"] = 20 / (time.perf_counter() - began)
    return rates


async def _blob(account: Any) -> str:
    writer = account.new_blob(len(LETTER))
    await writer.write(LETTER)
    blob_id: str = await writer.commit()
    return blob_id


def main() -> None:
    """What `mailkit plugin check` starts: speed or not, kind, name, and options; the last line of stdout is JSON."""
    from twisted_mail_kit.cli.common import run

    speed, kind, name, *options = sys.argv[1:]

    async def look(reactor: Any) -> None:
        print(json.dumps(await looked_at(kind, name, options, speed == "speed", reactor)))

    run(look)


if __name__ == "__main__":
    main()
