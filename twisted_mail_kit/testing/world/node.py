"""A machine of the world, and the process on it: what runs there sees only this reactor, and dies with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTCP, IReactorThreads, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mail_kit.testing.world.line import End
from twisted_mail_kit.testing.world.network import Admission, Connector, Network, Port
from twisted_mail_kit.testing.world.timeline import Timeline


class InlineThreads:
    """A thread pool whose threads are done before you look: the work is done inline, its result comes in a later turn
    where it goes by `callFromThread`, as `twisted.internet.threads.deferToThreadPool` lets it."""

    def __init__(self, reactor: NodeReactor) -> None:
        self._reactor = reactor

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def adjustPoolsize(self, minthreads: int | None = None, maxthreads: int | None = None) -> None:
        """There is always one thread."""

    def callInThread(self, func: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Do it now."""
        self.callInThreadWithCallback(None, func, *args, **kw)

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object] | None, func: Callable[..., object], *args: Any, **kw: Any
    ) -> None:
        """Do it now, and tell how it went."""
        if not self._reactor.is_alive:
            return
        try:
            result: Any = func(*args, **kw)
            success = True
        except Exception:
            success, result = False, Failure()
            if onResult is None:
                self._reactor.timeline.failures.append(result)
        if onResult is not None:
            onResult(success, result)


@implementer(IReactorTime, IReactorTCP, IReactorThreads)
class NodeReactor:
    """What one process sees of the world: its time, its threads, its network. When it dies, its callLaters never ring,
    its connections are gone, and whatever waits for something waits for ever."""

    def __init__(self, node: Node, network: Network) -> None:
        self.node = node
        self.network = network
        self.timeline: Timeline = network.timeline
        self.is_alive = True
        self.running = True
        self.listening: dict[tuple[str, int], Port] = {}
        self._ends: list[End] = []
        self._prune_at = 64
        self._grave: list[object] = []
        """What held the dead process' coroutines: were they collected, their `finally` would run."""
        self._threads = InlineThreads(self)

    # --- IReactorTime ----------------------------------------------------------------------------------------------

    def seconds(self) -> float:
        """Seconds since 1970 UTC, in the world."""
        return self.timeline.rightNow

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """Rings at its virtual time, if the process still lives then."""
        return self.timeline.call_later(self, delay, callable, args, kw)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """Those of this process."""
        return [call for call in self.timeline.getDelayedCalls() if getattr(call, "owner", None) is self]

    # --- IReactorTCP -----------------------------------------------------------------------------------------------

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """On all addresses of the node, or one of them. Port 0 is a free one."""
        return Port(self, interface, port or next(self.node.ephemeral), factory)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> Connector:
        """`host` is an IP address: names are the resolver's."""
        connector = Connector(self, host, port, factory, timeout, bindAddress)
        connector.connect()
        return connector

    # --- IReactorThreads, and what applications ask of a core --------------------------------------------------------

    def callFromThread(self, callable: Callable[..., object], *args: object, **kw: object) -> None:
        """In the next turn."""
        self.callLater(0, callable, *args, **kw)

    def callInThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        """At once."""
        self._threads.callInThread(callable, *args, **kwargs)

    def getThreadPool(self) -> Any:
        """See InlineThreads."""
        return self._threads

    def suggestThreadPoolSize(self, size: int) -> None:
        """There is always one thread."""

    def callWhenRunning(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        """It runs."""
        callable(*args, **kwargs)

    def addSystemEventTrigger(self, phase: str, eventType: str, callable: Any, *args: object, **kw: object) -> object:
        """A process of the world never ends in order: stop your services yourself."""
        return object()

    def removeSystemEventTrigger(self, triggerID: object) -> None:
        """Nothing was set."""

    # --- for the network, and the world ------------------------------------------------------------------------------

    def keep(self, end: End) -> None:
        """A connection of this process."""
        self._ends.append(end)
        if len(self._ends) >= self._prune_at:
            self._ends = [one for one in self._ends if not one.is_over]
            self._prune_at = 64 + 2 * len(self._ends)

    def die(self, quietly: bool) -> None:
        """See World.crash."""
        self.is_alive = self.running = False
        self._grave = [*self.timeline.pending(), *self.listening.values()]
        self.listening.clear()
        for end in self._ends:
            if not end.is_over:
                end.die(quietly)


class Node:
    """A machine with addresses, and one process at a time. `boot`, where set, is called with the reactor of each new
    process: there you start what runs on it."""

    def __init__(
        self,
        network: Network,
        random: Random,
        name: str,
        addresses: Sequence[str],
        latency: float = 0.005,
        bandwidth: float | None = None,
    ) -> None:
        self.network = network
        self.random = random
        self.name = name
        self.addresses = tuple(addresses)
        self.latency = latency
        self.bandwidth = bandwidth
        self.is_off = False
        """The machine has no power: it does not even refuse."""
        self.boot: Callable[[NodeReactor], object] | None = None
        self.ephemeral = count(49152)
        self.reactor = NodeReactor(self, network)
        self.buried: list[NodeReactor] = []
        """The processes that have died."""
        network.join(self)

    def address_for(self, host: str) -> str:
        """Our address of the family of that one; empty: none."""
        return next((one for one in self.addresses if (":" in one) == (":" in host)), "")

    def latency_to(self, node: Node | None) -> float:
        """Seconds that octets take on this connection."""
        far = 0.02 if node is None else node.latency
        return (self.latency + far) * self.random.uniform(0.7, 1.3)

    def admit(self, source: str) -> Admission:
        """What happens to a connection from there."""
        return "accept"

    def greet(self, end: End) -> None:
        """A connection has come; its protocol is about to get it."""

    def disk(self, spool: Any, seconds: float = 0.005) -> Any:
        """`spool` (or a store) as this process sees it: each call takes `seconds` of the process' time, about half of
        it before it is done and half after. So a crash finds it undone, or done and not yet known. What survives a
        crash is `spool` itself."""
        return Disk(spool, self.reactor, self.random, seconds)


class Disk:
    """See Node.disk. Provides what the thing behind it provides."""

    def __init__(self, real: Any, reactor: NodeReactor, random: Random, seconds: float) -> None:
        self._real = real
        self._reactor = reactor
        self._random = random
        self._seconds = seconds

    @property
    def __provides__(self) -> Any:
        return self._real.__provides__

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found
        if name.startswith("new_"):
            return lambda *args, **kw: Disk(found(*args, **kw), self._reactor, self._random, self._seconds)
        return lambda *args, **kw: self._slowly(found, args, kw)

    async def _slowly(self, function: Callable[..., Any], args: Any, kw: Any) -> Any:
        before = self._random.uniform(0, self._seconds)
        await self._pass(before)
        try:
            result = await function(*args, **kw)
        finally:
            await self._pass(self._seconds - before)
        return result

    async def _pass(self, seconds: float) -> None:
        passed: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, passed.callback, None)
        await passed


__all__ = ["Disk", "InlineThreads", "Node", "NodeReactor"]
