"""The relay keeps every promise of a delivery target, in a world of mail hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zope.interface import implementer

from twisted_mail_kit.errors import Refused
from twisted_mail_kit.interfaces import IDelivery, IDeliveryTarget, IDestinations
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.smtp.relay import Relay
from twisted_mail_kit.testing.contracts import DeliveryContract
from twisted_mail_kit.testing.fakes import CollectingTarget
from twisted_mail_kit.testing.world import Behaviour, Fault, World


@implementer(IDeliveryTarget, IDestinations)
class InTheWorld:
    """A target whose time is the world's: each call is over before anybody else is asked."""

    def __init__(self, world: World, target: Any) -> None:
        self.world, self.target = world, target

    def destination_of(self, recipient: Any) -> str:
        return str(self.target.destination_of(recipient))

    async def begin(self, envelope: Any) -> Any:
        return _Delivering(self.world, self.world.wait(self.target.begin(envelope)))


@implementer(IDelivery)
class _Delivering:
    def __init__(self, world: World, delivery: Any) -> None:
        self.world, self.delivery = world, delivery

    async def add_recipient(self, recipient: Any) -> None:
        self.world.wait(self.delivery.add_recipient(recipient))

    async def write(self, octets: bytes) -> None:
        self.world.wait(self.delivery.write(octets))

    async def commit(self) -> Any:
        return self.world.wait(self.delivery.commit(), limit=7200)

    async def abort(self) -> None:
        self.world.wait(self.delivery.abort())


class TestRelay(DeliveryContract):
    refuses = "nobody@example.net"
    ends_lines = True
    longest_lag = 5.0  # the whole world runs while somebody waits
    world: World | None = None

    def make_target(self, tmp_path: Path) -> InTheWorld:
        if self.world is None:
            self.world = World(3)
            self.host = CollectingTarget()
            self.host.refusals["nobody@example.net"] = Refused(Status("5.1.1", "No such user", 550))
            self.world.add_host("mx.example.net", ["192.0.2.1"], domains=["example.net"], target=self.host)
        return self.relay(self.world)

    def make_broken(self, tmp_path: Path) -> InTheWorld:
        world = World(4)
        down = Behaviour(faults=(Fault("refused", 1.0),))
        world.add_host("mx.example.net", ["192.0.2.1"], down, domains=["example.net"])
        return self.relay(world)

    def relay(self, world: World) -> InTheWorld:
        return InTheWorld(world, Relay(world.reactor, world.resolver, "mx.example.org"))

    def delivered(self, tmp_path: Path) -> list[tuple[str, bytes]]:
        return [(str(to.address), one.octets) for one in self.host.messages for to in one.recipients]
