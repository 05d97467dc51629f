"""A world in virtual time for tests of mail servers: DNS, mail hosts, faults and crashes, all from one seed."""

from __future__ import annotations

from twisted_mail_kit.testing.world.caller import Caller, NoAnswer
from twisted_mail_kit.testing.world.faults import Behaviour, Fault
from twisted_mail_kit.testing.world.host import Host, Receipt
from twisted_mail_kit.testing.world.node import Node, NodeReactor
from twisted_mail_kit.testing.world.resolver import Zone
from twisted_mail_kit.testing.world.timeline import Timeline, WorldSpins
from twisted_mail_kit.testing.world.world import TooLate, World

__all__ = [
    "Behaviour",
    "Caller",
    "Fault",
    "Host",
    "NoAnswer",
    "Node",
    "NodeReactor",
    "Receipt",
    "Timeline",
    "TooLate",
    "World",
    "WorldSpins",
    "Zone",
]
