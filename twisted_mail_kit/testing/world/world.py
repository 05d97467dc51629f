"""The world: machines, mail hosts, DNS and time, all of it from one seed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.interfaces import IReception, IResolver
from twisted_mail_kit.testing.world.caller import Caller
from twisted_mail_kit.testing.world.faults import Behaviour
from twisted_mail_kit.testing.world.host import Host, Receipt
from twisted_mail_kit.testing.world.network import Network
from twisted_mail_kit.testing.world.node import Node, NodeReactor
from twisted_mail_kit.testing.world.resolver import WorldResolver, Zone
from twisted_mail_kit.testing.world.timeline import Timeline

T = TypeVar("T")
BEGINNING = 1_800_000_000.0
"""Friday, 15 January 2027, 08:00 UTC."""


class TooLate(AssertionError):
    """What a test waited for did not come in time."""


class World:
    """Give your server `reactor` and `resolver`, make hosts with `add_host`, and let time pass with `run`::

        world = World(seed=1)
        host = world.add_host("mx.there.example", ["192.0.2.1"], domains=["there.example"])
        relay = Relay(world.reactor, world.resolver, "mx.home.example", RelaySettings())
        ...
        world.run(5 * 24 * 3600)
        assert [one.recipient for one in host.received] == ["joe@there.example"]

    Nothing happens while the world does not run, and it never waits: time jumps from event to event. All chance comes
    from the seed, so the same seed gives the same `story`. `node` is the machine that your own server runs on;
    `add_node` makes others. `records` are zones for DNS; see `resolver.Zone`.
    """

    log = Logger()

    def __init__(
        self,
        seed: int | str = 0,
        records: Mapping[str, Mapping[str, Iterable[Any]]] | None = None,
        *,
        name: str = "mx.home.example",
        addresses: Sequence[str] = ("198.51.100.1", "2001:db8::1"),
    ) -> None:
        self.seed = seed
        self.timeline = Timeline(BEGINNING)
        self.random = self._random("the test")
        """For the test's own use."""
        self.network = Network(self.timeline, self._random("network"))
        self.dns = Zone(records)
        self.story: list[str] = []
        self.hosts: dict[str, Host] = {}
        self.receipts: list[Receipt] = []
        """What all hosts took, in the order of time."""
        self.node = self.add_node(name, addresses)

    # --- who is there ----------------------------------------------------------------------------------------------

    @property
    def reactor(self) -> NodeReactor:
        """The reactor of the process on `node`: clock, threads and network in one. A new one after each restart."""
        return self.node.reactor

    @property
    def resolver(self) -> IResolver:
        """DNS for the process on `node`; new after each restart, as a program's cache is."""
        return self.resolver_for(self.node)

    def resolver_for(self, node: Node) -> IResolver:
        """DNS for the process on that node."""
        random = self._random(f"dns {node.name} {len(node.buried)}")
        return WorldResolver(self.dns, node.reactor, random, self.timeline.began, self.tell)

    def add_node(self, name: str, addresses: Sequence[str], latency: float = 0.005) -> Node:
        """A machine on which you start what you like, with `node.reactor`. Its name gets A and AAAA records."""
        node = Node(self.network, self._random(name), name, addresses, latency)
        self._publish(name, addresses, ())
        return node

    def add_host(
        self,
        name: str,
        addresses: Sequence[str],
        behaviour: Behaviour | None = None,
        *,
        domains: Sequence[str] = (),
        preference: int = 10,
        target: IReception | None = None,
    ) -> Host:
        """A mail host that listens on port 25 of its addresses. Its name gets A and AAAA records, its `domains` an MX.

        It takes all recipients, in `Host.received`; with a `target` of your own, mail goes there instead, and only the
        faults of connections are the host's.
        """
        host = Host(self, self._random(name), name, addresses, behaviour or Behaviour(), target)
        self.hosts[name] = host
        self._publish(name, addresses, domains, preference)
        return host

    def call(self, address: str, port: int = 25, node: Node | None = None) -> Caller:
        """A connection that the test leads by hand, from that node (or ours)."""
        return Caller(self, (node or self.node).reactor, address, port)

    # --- time ------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the world began. `reactor.seconds()` is seconds since 1970 UTC."""
        return self.timeline.rightNow - self.timeline.began

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.advance(seconds)

    def run_until(self, predicate: Callable[[], object], limit: float) -> bool:
        """Let time pass until `predicate()`, which is asked after each event. False: not within `limit` seconds."""
        until = self.timeline.rightNow + limit
        while not predicate():
            if not self.timeline.step(until):
                self.timeline.rightNow = max(self.timeline.rightNow, until)
                return bool(predicate())
        return True

    def wait(self, awaitable: Awaitable[T], limit: float = 3600.0) -> T:
        """Let time pass until the coroutine (or Deferred) is done: its result, or what it raised. Raises TooLate."""
        done = self.start(awaitable)
        results: list[Any] = []
        done.addBoth(results.append)
        if not self.run_until(lambda: results, limit):
            raise TooLate(f"not done after {limit} seconds: {awaitable!r}")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: T = results[0]
        return result

    def start(self, awaitable: Awaitable[T]) -> Deferred[T]:
        """Begin it; it goes on as the world runs."""
        if isinstance(awaitable, Deferred):
            return awaitable
        return Deferred.fromCoroutine(awaitable)  # type: ignore[arg-type]

    @property
    def failures(self) -> list[Failure]:
        """What raised out of an event or a protocol: a reactor would have logged it. A good test ends with none."""
        return self.timeline.failures

    # --- fate ------------------------------------------------------------------------------------------------------

    def crash(self, node: Node | None = None, power_cut: bool = False) -> None:
        """Kill the process on that node (or ours), as `kill -9` does: its callLaters never ring, its connections are
        closed by its system, and what it waited for never comes. What it had written to the network is still sent.

        With `power_cut` the machine is gone too: nobody is told, and connections to it time out. What is to survive
        (a spool, a store) is yours: hand the same object to the next process. See `Node.disk`.
        """
        node = node or self.node
        if not node.reactor.is_alive:
            return
        self.tell(f"{node.name}: {'the power is cut' if power_cut else 'crashes'}")
        node.is_off = power_cut
        node.reactor.die(quietly=power_cut)
        node.buried.append(node.reactor)

    def restart(self, node: Node | None = None) -> NodeReactor:
        """A new process: `node.boot`, where set, is called with its reactor, which is given back. A living one is
        crashed first."""
        node = node or self.node
        self.crash(node)
        node.is_off = False
        node.reactor = NodeReactor(node, self.network)
        self.tell(f"{node.name}: starts")
        if node.boot is not None:
            node.boot(node.reactor)
        return node.reactor

    def tell(self, line: str) -> None:
        """Add a line to the story."""
        seconds = self.now
        days, rest = divmod(seconds, 86400)
        hours, rest = divmod(rest, 3600)
        minutes, rest = divmod(rest, 60)
        self.story.append(f"{int(days)}d {int(hours):02}:{int(minutes):02}:{rest:06.3f} {line}")

    def took(self, receipts: Sequence[Receipt]) -> None:
        """From hosts: they have taken mail."""
        self.receipts += receipts

    # --- inside ----------------------------------------------------------------------------------------------------

    def _random(self, whose: str) -> Random:
        # Everybody has dice of their own: one more throw here does not change what happens there.
        return Random(f"{self.seed} {whose}")

    def _publish(self, name: str, addresses: Sequence[str], domains: Sequence[str], preference: int = 10) -> None:
        for one in addresses:
            self.dns.add(name, "AAAA" if ":" in one else "A", one)
        for domain in domains:
            self.dns.add(domain, "MX", (preference, name))
