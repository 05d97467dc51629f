"""All numbers of a running server at one moment, as plain values that explain themselves."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from twisted_mail_kit._version import __version__
from twisted_mail_kit.interfaces import ISpoolCounts
from twisted_mail_kit.metrics import catalogue
from twisted_mail_kit.metrics.instruments import Numbers
from twisted_mail_kit.metrics.plain import Plain, explained
from twisted_mail_kit.outgoing import Outgoing
from twisted_mail_kit.queue.desk import Desk
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.overview import octets_of_files

Probe = Callable[[], Awaitable[None]]
"""Sets gauges that nobody keeps up to date."""

PATIENCE = 5.0
"""Seconds for a probe; what it has not found by then is as it was the last time."""
OFTEN = 60.0
"""Seconds between two walks through a spool that cannot count."""


class Whole(Protocol):
    """The server, with all its processes."""

    reactor: Any

    async def numbers(self) -> Numbers:
        """Of all processes together."""

    def processes(self) -> dict[str, int]:
        """``{"": pid}``; with several, all by name."""


class Gathering:
    """Asks the probes, then the server."""

    log = Logger()

    def __init__(self, server: Whole, probes: Sequence[Probe] = ()) -> None:
        self.server = server
        self.probes = list(probes)
        catalogue.BUILD[__version__].value = 1

    async def now(self) -> list[Plain]:
        """Every metric, sorted by name. Never raises for a number that cannot be had."""
        probing = [Deferred.fromCoroutine(self._probe(one)) for one in self.probes]
        for one in probing:
            one.addTimeout(PATIENCE, self.server.reactor)
        done: bool
        result: Any
        for done, result in await DeferredList(probing, consumeErrors=True):
            if not done:
                self.log.warn("numbers of the server could not be had: {problem}", problem=result.getErrorMessage())
        found = explained(await self.server.numbers())
        try:
            found += await deferToThread(_of_processes, self.server.processes())
        except Exception:
            self.log.failure("the numbers of the processes could not be had")
        return sorted(found, key=lambda metric: str(metric["name"]))

    async def _probe(self, probe: Probe) -> None:
        await probe()


def _of_processes(pids: dict[str, int]) -> list[Plain]:
    # Imported when somebody asks, and not in the reactor's thread: it takes a tenth of a second the first time.
    from twisted_mail_kit.monitor.processes import of_processes

    return of_processes(pids)


# --- probes --------------------------------------------------------------------------------------------------------


def disk_of(state: Path) -> Probe:
    """How much room the state folder's disk has."""

    async def look() -> None:
        disk = os.statvfs(state)
        catalogue.DISK_BYTES["free"].value = disk.f_bavail * disk.f_frsize
        catalogue.DISK_BYTES["all"].value = disk.f_blocks * disk.f_frsize

    return look


def files_of(store: SQLiteStore) -> Probe:
    """How large the store's files are."""

    async def look() -> None:
        for kind, octets in (await deferToThread(octets_of_files, store.path)).items():
            catalogue.STORE_BYTES[kind].value = octets

    return look


def queue_of(outgoing: Outgoing) -> Probe:
    """What waits to be sent."""
    walked = 0.0

    async def look() -> None:
        nonlocal walked
        now = outgoing.reactor.seconds()
        spool = outgoing.spool
        if ISpoolCounts.providedBy(spool):
            found = await spool.counts(now)
            _tell_queue(found.messages, found.octets, found.oldest, found.due, found.waiting, found.held, now)
        elif not walked or now - walked >= OFTEN:
            walked = now
            stats: Any = await Desk(spool, outgoing.queue).stats()
            _tell_queue(
                stats["messages"], stats["size"], stats["oldest"], stats["due"], stats["waiting"], stats["held"], now
            )

    return look


def _tell_queue(
    messages: int, octets: int, oldest: float | None, due: int, waiting: int, held: int, now: float
) -> None:
    catalogue.QUEUE_MESSAGES.value = messages
    catalogue.QUEUE_BYTES.value = octets
    catalogue.QUEUE_OLDEST.value = 0.0 if oldest is None else max(0.0, now - oldest)
    for state, count in (("due", due), ("waiting", waiting), ("held", held)):
        catalogue.QUEUE_RECIPIENTS[state].value = count


def certificate_of(today: Callable[[], Any]) -> Probe:
    """When the certificate of the day ends; `today` gives it, or None."""

    async def look() -> None:
        certificates = today()
        expires = getattr(certificates, "expires", None)
        if expires is not None:
            catalogue.CERTIFICATE["tls"].value = expires()

    return look
