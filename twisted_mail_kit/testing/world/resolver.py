"""DNS of the world: zones from a dictionary, and times at which they do not answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.mail.records import MX, TLSA, Answer

if TYPE_CHECKING:
    from twisted_mail_kit.testing.world.node import NodeReactor

Trouble = Literal["servfail", "timeout", "nxdomain"]
PATIENCE = 30.0
"""Seconds after which a resolver gives up."""


class DNSFault(NamedTuple):
    """Times are seconds since the world began."""

    name: str
    kind: Trouble
    chance: float
    start: float
    end: float


class Zone:
    """All names there are. Text stands for itself; an MX is ``(10, "mx.example.org")`` or a `records.MX`."""

    def __init__(self, records: Mapping[str, Mapping[str, Iterable[Any]]] | None = None) -> None:
        self.records: dict[str, dict[str, list[Any]]] = {}
        self.authentic: set[str] = set()
        """Names whose answers come with the AD bit."""
        self.faults: list[DNSFault] = []
        self.queries = 0
        for name, kinds in (records or {}).items():
            for kind, values in kinds.items():
                self.add(name, kind, *values)

    def add(self, name: str, kind: str, *values: Any, authentic: bool = False) -> None:
        """Add records to a name."""
        name, kind = _key(name), kind.upper()
        make = {"MX": lambda value: MX(*value), "TLSA": lambda value: TLSA(*value)}.get(kind, str)
        self.records.setdefault(name, {}).setdefault(kind, []).extend(make(value) for value in values)
        if authentic:
            self.authentic.add(name)

    def remove(self, name: str, kind: str | None = None) -> None:
        """Remove a name, or its records of a kind."""
        if kind is None:
            self.records.pop(_key(name), None)
        else:
            self.records.get(_key(name), {}).pop(kind.upper(), None)

    def fail(self, name: str, kind: Trouble, start: float = 0.0, end: float = inf, chance: float = 1.0) -> None:
        """That name, and all names below it, get this instead of an answer, from `start` to `end`. ``""`` is all."""
        self.faults.append(DNSFault(_key(name), kind, chance, start, end))

    def trouble(self, name: str, now: float, random: Random) -> Trouble | None:
        """What is wrong with that name now."""
        for fault in self.faults:
            is_on = fault.start <= now < fault.end and (not fault.name or _is_below(_key(name), fault.name))
            if is_on and random.random() < fault.chance:
                return fault.kind
        return None

    def answer(self, name: str, kind: str) -> Answer:
        """What a name server that is well says."""
        self.queries += 1
        asked, kind = _key(name), kind.upper()
        is_authentic = True
        for _ in range(10):
            is_authentic = is_authentic and asked in self.authentic
            there = self.records.get(asked)
            if there is None:
                exists = any(_is_below(one, asked) for one in self.records)
                return Answer((), asked, is_authentic, exists, 300)
            if kind not in there and kind != "CNAME" and there.get("CNAME"):
                asked = _key(there["CNAME"][0])
                continue
            return Answer(tuple(there.get(kind, ())), asked, is_authentic, True, 300)
        raise ResolutionFailed(f"{name}: too many CNAMEs")


@implementer(IResolver)
class WorldResolver:
    """A process' view of the zone: an answer takes a few milliseconds, and never comes to a dead process."""

    def __init__(self, zone: Zone, reactor: NodeReactor, random: Random, began: float, tell: Any) -> None:
        self._zone = zone
        self._reactor = reactor
        self._random = random
        self._began = began
        self._tell = tell

    async def lookup(self, name: str, kind: str) -> Answer:
        """See IResolver."""
        trouble = self._zone.trouble(name, self._reactor.seconds() - self._began, self._random)
        seconds = PATIENCE if trouble == "timeout" else self._random.uniform(0.001, 0.03)
        waited: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, waited.callback, None)
        await waited
        if trouble is not None:
            self._tell(f"DNS: {trouble}, {name} {kind}")
        if trouble == "nxdomain":
            return Answer((), _key(name), exists=False, ttl=60)
        if trouble is not None:
            raise ResolutionFailed(f"{name} {kind}: {trouble}")
        return self._zone.answer(name, kind)


def _key(name: str) -> str:
    return name.rstrip(".").lower()


def _is_below(name: str, above: str) -> bool:
    return name == above or name.endswith(f".{above}")


__all__ = ["Trouble", "WorldResolver", "Zone"]
