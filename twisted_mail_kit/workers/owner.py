"""The owner: a kit that writes and queues, and leaves all connections to its workers."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import IReadElsewhere
from twisted_mail_kit.kit import Listener, MailKit
from twisted_mail_kit.metrics.adding import added
from twisted_mail_kit.metrics.catalogue import RELOADS
from twisted_mail_kit.metrics.instruments import Numbers
from twisted_mail_kit.workers.crew import LINE, Crew
from twisted_mail_kit.workers.hatch import abilities_of
from twisted_mail_kit.workers.orders import Door, Orders, Snapshot
from twisted_mail_kit.workers.settings import CrewSettings
from twisted_mail_kit.workers.sockets import SharedSocket, share_of


class OwnerKit(MailKit):
    """Opens the ports, and accepts nothing: `workers` processes do, on the same sockets.

    Store, queue and what they do belong to this process; see docs/decisions/0008. `ready` fires when all workers take
    connections.
    """

    def __init__(self, *, workers: int, snapshot: Snapshot, crew: CrewSettings | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.snapshot = snapshot
        self.snapshot_to_come = snapshot
        """What `reread` has just read; `snapshot` once all have taken it."""
        self._strings: list[tuple[str, str, str | None]] = []
        self._doors_by_place: dict[int, tuple[Listener, SharedSocket]] = {}
        self._reloading: Deferred[None] | None = None
        self.crew = Crew(self.reactor, workers, self._orders, [], self.store, lambda: self.fittings.outbound, crew)

    def listen(self, service: str, endpoint: str, tls: str | None = None) -> None:
        """See MailKit. Raises ConfigurationError."""
        super().listen(service, endpoint, tls)
        self._strings.append((service, endpoint, tls))

    def reload(self) -> bool:
        """Read all anew, for this process and for all workers, or for none. False: the log says what is wrong.

        True says that nothing is wrong here; the log says when all workers have it.
        """
        if self.reread is None:
            return True
        if self._reloading is not None:
            self.log.error("not reloaded: the reload before this one is not over yet")
            return False
        anew = self.look_anew(self.reread)
        if anew is None:
            return False
        self._reloading = Deferred.fromCoroutine(self._reload(*anew))
        self._reloading.addErrback(lambda failure: self.log.failure("not reloaded", failure))
        self._reloading.addBoth(self._reloaded)
        return True

    async def status(self) -> dict[str, Any]:
        """See MailKit."""
        workers = await self.crew.status()
        total: Counter[str] = Counter()
        for one in workers:
            total.update(one["sessions"] or {})
        return {"sessions": dict(total), "workers": workers}

    async def numbers(self) -> Numbers:
        """See MailKit. Of this process and of all workers, those that are gone too."""
        workers = await self.crew.numbers()
        return added(await super().numbers(), workers)

    def processes(self) -> dict[str, int]:
        """See MailKit."""
        workers = {f"worker {number}": worker.pid for number, worker in sorted(self.crew.workers.items()) if worker.pid}
        return {"owner": os.getpid(), **workers}

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _reload(self, fittings: Any, parts: Any) -> None:
        snapshot = self.snapshot_to_come
        problems = await self.crew.ask_all("look_anew", snapshot)
        if problems:
            parts.close()
            RELOADS["refused"].value += 1
            for line in problems:
                self.log.error("not reloaded, all stays as it was: {line}", line=line)
            return
        self.refit(fittings, parts)
        self.snapshot = snapshot
        for worker in self.crew.workers.values():
            worker.change_target(fittings.outbound)
        await self.crew.ask_all("refit")
        RELOADS["ok"].value += 1
        self.log.info("reloaded")

    def _reloaded(self, _: object) -> None:
        self._reloading = None

    def _open(self, wanted: Any) -> Deferred[None]:
        place = self._wanted.index(wanted)

        def opened(port: IListeningPort) -> None:
            self._ports.append(port)
            shared = share_of(port)
            if shared is None:
                raise ConfigurationError([f"{self._strings[place][1]}: such a port cannot be shared with workers"])
            port._shouldShutdown = False  # type: ignore[attr-defined]  # shutdown(2) would end it in all processes
            port.stopReading()  # type: ignore[attr-defined]  # whoever connects now waits for a worker
            listener = Listener(wanted.service, wanted.tls, port.getHost())
            self._doors_by_place[place] = listener, shared
            self.log.info(
                "{service} listens on {address}, TLS {tls}",
                service=wanted.service,
                address=port.getHost(),
                tls=wanted.tls,
            )

        listening: Deferred[IListeningPort] = wanted.endpoint.listen(_Nobody())
        return listening.addCallback(opened)

    def _opened(self, _: object) -> None:
        places = sorted(self._doors_by_place)
        self.listeners = [self._doors_by_place[place][0] for place in places]
        self.crew.descriptors = [self._doors_by_place[place][1].descriptor for place in places]
        self.crew.start().addCallbacks(super()._opened, self._not_started)

    def _not_started(self, failure: Any) -> None:
        self.crew.is_stopping = True  # no other is started
        self.ready.errback(failure)

    def _orders(self, number: int) -> Orders:
        doors: list[Door] = []
        for place, (_, shared) in sorted(self._doors_by_place.items()):
            service, endpoint, tls = self._strings[place]
            there = SharedSocket(LINE + 1 + len(doors), shared.family, shared.backlog)
            doors.append(Door(service=service, endpoint=endpoint, tls=tls, socket=there))
        return Orders(
            number=number,
            snapshot=self.snapshot,
            doors=tuple(doors),
            abilities=tuple(abilities_of(self.store)),
            reading=self.store.read_elsewhere() if IReadElsewhere.providedBy(self.store) else None,
            has_way_out=self.fittings.outbound is not None,
            heartbeat=self.crew.settings.heartbeat,
        )

    async def _stop(self) -> None:
        for port in self._ports:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
        self._ports.clear()
        await self.crew.stop(self.fittings.settings.drain)
        await super()._stop()


class _Nobody(Factory):
    """Behind a port that accepts nothing."""

    noisy = False

    def buildProtocol(self, addr: object) -> None:
        """Never asked."""
