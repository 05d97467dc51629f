"""MailKit, the whole server as one Twisted service: doors in, listeners out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLContextFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.fittings import Fittings, KitSettings, Parts
from twisted_mail_kit.interfaces import IAccounts, ICheck, IDeliveryTarget, IMailStore, IOutgoing
from twisted_mail_kit.metrics.catalogue import RELOADS
from twisted_mail_kit.metrics.instruments import Numbers, numbers
from twisted_mail_kit.net.blocking import adapted
from twisted_mail_kit.net.factory import SessionFactory
from twisted_mail_kit.net.proxied import ProxiedFactory
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.stores.feed import Feed

SERVICES = ("smtp", "submission", "lmtp", "pop3", "imap")
TLS = ("none", "starttls", "implicit")


@frozen
class Listener:
    """One door to the street, open."""

    service: str
    tls: str
    """none, starttls or implicit."""
    address: IAddress

    @property
    def host(self) -> str:
        """IP address, or the path of a unix socket."""
        return str(getattr(self.address, "host", None) or _text(getattr(self.address, "name", "")))

    @property
    def port(self) -> int:
        """0 for a unix socket."""
        return int(getattr(self.address, "port", 0))


class Door(ServerFactory):
    """What a port holds on to: the factory behind it may be changed for another, for connections to come."""

    noisy = False

    def __init__(self, inner: SessionFactory) -> None:
        self.inner = inner

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A session of today's factory."""
        return self.inner.buildProtocol(addr)

    def change(self, inner: SessionFactory) -> None:
        """From now on, sessions come from `inner`."""
        self.inner.hand_over(inner)
        self.inner = inner


class MailKit(Service):
    """A mail server, to be set into any Twisted application::

        kit = MailKit(hostname="mx.example.org", domains=["example.org"], store=MemoryStore(), auth=passwords)
        kit.listen("smtp", "tcp:2525")
        kit.setServiceParent(application)

    `auth` is one or more twisted.cred checkers; without one nobody can log in. `accounts` says who has which address;
    without it the users of an `auth` that can name them have their names as addresses. `outbound` takes mail for
    other domains; without it such mail is refused. `reception`, where there is one, takes all mail that comes in by
    SMTP, submission and LMTP, and decides alone: `domains`, `accounts` and `outbound` are not asked. `reactor` is
    clock, threads and network in one; without it the global reactor is taken when the kit is made.
    """

    log = Logger()

    def __init__(
        self,
        *,
        hostname: str,
        store: IMailStore,
        domains: Sequence[str] = (),
        auth: ICredentialsChecker | Sequence[ICredentialsChecker] = (),
        accounts: IAccounts | None = None,
        checks: Sequence[ICheck] = (),
        outbound: IDeliveryTarget | None = None,
        reception: IDeliveryTarget | None = None,
        certificates: IOpenSSLContextFactory | None = None,
        settings: KitSettings | None = None,
        state_dir: Path | None = None,
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.reactor = reactor
        self.setName("mailkit")  # type: ignore[no-untyped-call]
        self.store = store = adapted(store, reactor)
        self.feed = Feed(store, reactor)
        checkers = (auth,) if ICredentialsChecker.providedBy(auth) else tuple(auth)
        self.fittings = Fittings(
            hostname=hostname,
            domains=tuple(domains),
            auth=tuple(adapted(one, reactor) for one in checkers),
            accounts=adapted(accounts, reactor),
            checks=tuple(adapted(one, reactor) for one in checks),
            outbound=adapted(outbound, reactor),
            reception=adapted(reception, reactor),
            certificates=certificates,
            settings=settings or KitSettings(),
            state_dir=state_dir,
        )
        self.shared = self.make_shared()
        self.parts = self.fittings.put_together(store, reactor, self.shared)
        self.listeners: list[Listener] = []
        self.ready: Deferred[list[Listener]] = Deferred()
        """Fires with `listeners` when all ports are open; fails with what kept one from opening."""
        self.reread: Callable[[], Fittings] | None = None
        """Reads the configuration anew for `reload`; raises ConfigurationError."""
        self.refitted: Callable[[], None] | None = None
        """Called when a reload has succeeded."""
        self._wanted: list[_Wanted] = []
        self._doors: list[tuple[str, str, str, Door]] = []
        self._factories: list[SessionFactory] = []
        self._ports: list[IListeningPort] = []
        self._opening: Deferred[Any] | None = None

    # --- for embedders ---------------------------------------------------------------------------------------------

    def factory(self, service: str, tls: str | None = None) -> SessionFactory:
        """The bare Twisted factory of a service, to be put on any endpoint or into any wrapper.

        It offers STARTTLS where there are certificates, unless `tls` is "none" or "implicit". Its sessions are
        drained when the kit stops. Raises ConfigurationError.
        """
        return self._factory(service, tls, f"factory {len(self._factories)}")

    def listen(self, service: str, endpoint: str, tls: str | None = None) -> None:
        """Open a port for `service` when the kit starts: an endpoints string, and none, starttls or implicit TLS.

        Without `tls`: STARTTLS where there are certificates, else none; implicit for an ``ssl:`` endpoint, which
        brings certificates of its own. Raises ConfigurationError.
        """
        certificates = self.fittings.certificates
        is_proxied = endpoint.startswith("haproxy:")
        endpoint = endpoint.removeprefix("haproxy:")
        brings_its_own = endpoint.startswith("ssl:")
        _known(service)
        problem = self.fittings.problem_with(service, self.store)
        if problem:
            raise ConfigurationError([problem])
        if tls is None:
            tls = "implicit" if brings_its_own else "starttls" if certificates and service != "lmtp" else "none"
        if tls not in TLS:
            raise ConfigurationError([f'tls = "{tls}": it must be one of {", ".join(TLS)}'])
        if tls != "none" and certificates is None and not brings_its_own:
            raise ConfigurationError([f"{service} on {endpoint}: TLS needs certificates"])
        wraps_tls = tls == "implicit" and not brings_its_own
        self._wanted.append(_Wanted(service, self._endpoint(endpoint), tls, wraps_tls, is_proxied))

    def reload(self) -> bool:
        """Read configuration, users and certificates anew, for connections to come.

        Everything is checked first; on any error all stays as it was, the log says what was wrong, and the answer is
        False. The store and the listening ports stay those of the start.
        """
        if self.reread is None:
            return True
        anew = self.look_anew(self.reread)
        if anew is None:
            return False
        self.refit(*anew)
        RELOADS["ok"].value += 1
        self.log.info("reloaded")
        return True

    def look_anew(self, reread: Callable[[], Fittings]) -> tuple[Fittings, Parts] | None:
        """The first half of a reload: all is read and checked, nothing is changed. None: the log says what is wrong."""
        try:
            fittings = reread()
            return fittings, fittings.put_together(self.store, self.reactor, self.shared)
        except ConfigurationError as problem:
            for line in problem.problems:
                self.log.error("not reloaded, all stays as it was: {line}", line=line)
        except Exception:
            self.log.failure("not reloaded, all stays as it was")
        RELOADS["refused"].value += 1
        return None

    def refit(self, fittings: Fittings, parts: Parts) -> None:
        """The second half: connections to come are served by these."""
        self.parts.close()
        self.fittings, self.parts = fittings, parts
        for service, tls, name, door in self._doors:
            before = door.inner
            door.change(self._factory(service, tls, name))
            if not before.sessions:
                self._factories.remove(before)  # one with sessions stays, to be drained
        if self.refitted is not None:
            self.refitted()

    # --- IService --------------------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Open the ports, while we may still be root."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._begin()

    def startService(self) -> None:
        """Open the ports, and begin to send what is queued."""
        super().startService()  # type: ignore[no-untyped-call]
        self._begin().addCallback(self._opened).addErrback(self._not_opened)

    def stopService(self) -> Deferred[None]:
        """Take nobody new, let sessions end at a safe point, close the store."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    # --- inside ----------------------------------------------------------------------------------------------------

    def make_shared(self) -> Shared:
        """What the sessions know of each other."""
        return Shared(self.reactor)

    async def status(self) -> dict[str, Any]:
        """``{"sessions": {service: count}, "workers": [...]}``: plain values."""
        return {"sessions": self.sessions(), "workers": []}

    async def numbers(self) -> Numbers:
        """All that is counted, see `metrics`. Those of one process, whatever else there is in it."""
        return numbers()

    def processes(self) -> dict[str, int]:
        """``{"": pid}``; with several processes, all of them by name."""
        return {"": os.getpid()}

    def sessions(self) -> dict[str, int]:
        """How many there are now, by service."""
        return dict(Counter(session.service for factory in self._factories for session in factory.sessions))

    def _factory(self, service: str, tls: str | None, name: str) -> SessionFactory:
        _known(service)
        problem = self.fittings.problem_with(service, self.store)
        if problem:
            raise ConfigurationError([problem])
        offer_tls = tls in (None, "starttls") and service != "lmtp"
        factory = self.parts.factory(service, offer_tls, self.feed.watch, name)
        self._factories.append(factory)
        return factory

    def _begin(self) -> Deferred[Any]:
        if self._opening is None:
            opening = [self._open(wanted) for wanted in self._wanted]
            self._opening = gatherResults(opening, consumeErrors=True)
        return self._opening

    def _endpoint(self, endpoint: str) -> IStreamServerEndpoint:
        """What is listened on. Raises ConfigurationError."""
        return parse_endpoint(self.reactor, endpoint)

    def _open(self, wanted: _Wanted) -> Deferred[None]:
        service, tls = wanted.service, wanted.tls
        name = f"{service} {self._wanted.index(wanted)}"  # the same in all processes
        door = Door(self._factory(service, tls, name))
        self._doors.append((service, tls, name, door))
        front: Any = door
        if wanted.wraps_tls:
            front = TLSMemoryBIOFactory(_Today(self), False, front)
        if wanted.is_proxied:
            front = ProxiedFactory(front, self.reactor)

        def opened(port: IListeningPort) -> None:
            self._ports.append(port)
            door.inner.ports.append(port)
            self.listeners.append(Listener(service, tls, port.getHost()))
            self.log.info("{service} listens on {address}, TLS {tls}", service=service, address=port.getHost(), tls=tls)

        listening: Deferred[IListeningPort] = wanted.endpoint.listen(front)
        return listening.addCallback(opened)

    def _opened(self, _: object) -> None:
        outbound = self.fittings.outbound
        if IOutgoing.providedBy(outbound):
            outbound.start(self.parts.reception)
        self.ready.callback(self.listeners)

    def _not_opened(self, failure: Failure) -> None:
        self.ready.errback(failure)

    async def _stop(self) -> None:
        seconds = self.fittings.settings.drain
        for port in self._ports:
            await _closed(port)
        self._ports.clear()
        await gatherResults([factory.drain(seconds) for factory in self._factories])
        self._factories.clear()
        if IOutgoing.providedBy(self.fittings.outbound):
            await self.fittings.outbound.stop(seconds)
        self.feed.stop()
        self.parts.close()
        await self.store.close()


def _known(service: str) -> None:
    if service not in SERVICES:
        raise ConfigurationError([f'no service is called "{service}"; there are {", ".join(SERVICES)}'])


@frozen
class _Wanted:
    """A port to be opened at the start."""

    service: str
    endpoint: IStreamServerEndpoint
    tls: str
    wraps_tls: bool
    """We put TLS under the session; an ``ssl:`` endpoint has done so already."""
    is_proxied: bool


def parse_endpoint(reactor: Any, endpoint: str) -> IStreamServerEndpoint:
    """What an endpoints string means. Raises ConfigurationError."""
    try:
        parsed: IStreamServerEndpoint = serverFromString(reactor, endpoint)
        return parsed
    except Exception as problem:  # each kind of endpoint has its own way to say no
        raise ConfigurationError([f'endpoint = "{endpoint}": {problem or type(problem).__name__}']) from None


async def _closed(port: IListeningPort) -> None:
    stopped = port.stopListening()
    if stopped is not None:
        await stopped


@implementer(IOpenSSLContextFactory)
class _Today:
    """The certificates of the day: a renewed one serves from the next connection on."""

    def __init__(self, kit: MailKit) -> None:
        self._kit = kit

    def getContext(self) -> Any:
        certificates = self._kit.fittings.certificates
        assert certificates is not None
        return certificates.getContext()


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
