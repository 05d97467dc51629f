"""What the operator may ask of a running server's store: what it holds, if it is whole, its dead room, a backup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from twisted_mail_kit.control.server import Verb
from twisted_mail_kit.control.state_copy import QUEUE, STORE, copy_state, make_place
from twisted_mail_kit.errors import BadSyntax, Unavailable
from twisted_mail_kit.interfaces import IMaintenance
from twisted_mail_kit.mail.facts import Findings
from twisted_mail_kit.queue.sqlite import fsck as queue_fsck
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.overview import overview

Plain = dict[str, object]


def store_verbs(store: Any, state: Path) -> Mapping[str, Verb]:
    """``store.check``, ``store.compact``, ``store.show``, ``store.backup``: findings as plain values."""

    async def check() -> object:
        found = await _able(store).check()
        queue = state / QUEUE
        if await deferToThread(queue_fsck.is_here, queue):
            found = together(found, await deferToThread(queue_fsck.check, queue))
        return plain(found)

    async def compact() -> object:
        return plain(await _able(store).compact())

    async def show() -> object:
        if not isinstance(store, SQLiteStore):
            raise Unavailable("this store cannot be shown from here: its plugin does not know how")
        return plain(await deferToThread(lambda: overview(store.path)))

    async def backup(directory: str) -> object:
        place = Path(directory)
        if not place.is_absolute():
            raise BadSyntax("`directory` is a whole path")
        return plain(await _whole_backup(_able(store), state, place))

    return {"store.check": check, "store.compact": compact, "store.show": show, "store.backup": backup}


async def _whole_backup(store: IMaintenance, state: Path, directory: Path) -> Findings:
    await deferToThread(lambda: make_place(state, directory))
    found = await store.backup(directory / STORE)
    return together(found, await deferToThread(lambda: copy_state(state, directory)))


def together(*found: Findings) -> Findings:
    """All of them as one."""
    counts: dict[str, int] = {}
    for one in found:
        for what, count in one.counts.items():
            counts[what] = counts.get(what, 0) + count
    return Findings(counts, tuple(problem for one in found for problem in one.problems))


def plain(findings: Findings) -> Plain:
    """As JSON has it."""
    return {"counts": dict(findings.counts), "problems": list(findings.problems)}


def _able(store: Any) -> IMaintenance:
    if not IMaintenance.providedBy(store):
        raise Unavailable("this store looks after itself: its plugin does not know how to do that")
    able: IMaintenance = store
    return able
