"""An SMTP listener in memory: a target that collects, a doorkeeper, a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.mail.outcome import Delayed, Failed, Status
from twisted_mail_kit.net.factory import SessionFactory
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.testing.fakes import CollectingTarget, FakeAuthenticator, MemoryTransport


class Account:
    name = "joe"


def make_target() -> CollectingTarget:
    target = CollectingTarget()
    for number in range(30):
        target.refusals[f"nobody{number or ''}@example.org"] = Refused(Status("5.1.1", "Nobody here", 550))
    target.refusals["full@example.org"] = TryLater(Status("4.2.2", "No room"))
    target.refusals["broken@example.org"] = RuntimeError("secret")
    target.outcomes["late@example.org"] = Delayed(Status("4.3.1", "The disk is full"))
    target.outcomes["never@example.org"] = Failed(Status("5.2.1", "Closed"))
    return target


class Listener:
    """A factory with all that it was made of."""

    def __init__(self, service: str = "smtp", **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.target = make_target()
        self.authenticator = FakeAuthenticator({"joe": ("secret", Account())})
        self.factory: SessionFactory = make_factory(
            service, "mx.example.org", self.target, self.authenticator, object(), SMTPSettings(**settings), self.clock
        )

    def connect(self, peer: str = "192.0.2.7", tls: bool = False) -> Client:
        transport = MemoryTransport(peer, tls=tls)
        session = self.factory.buildProtocol(transport.peer)
        transport.connect(session)
        return Client(transport, session)


class Client:
    """Says something, and gives what is answered at once."""

    def __init__(self, transport: MemoryTransport, session: Any) -> None:
        self.transport = transport
        self.session = session

    def says(self, *lines: str | bytes) -> list[str]:
        self.transport.send(b"".join((line if isinstance(line, bytes) else line.encode() + b"\r\n") for line in lines))
        return self.hears()

    def hears(self) -> list[str]:
        lines = self.transport.take().decode("ascii").splitlines()
        self.transport.turn()
        return lines

    def is_closed(self) -> bool:
        self.transport.turn()
        self.transport.turn()
        return self.transport.is_closed()


@pytest.fixture(scope="session")
def listen() -> Callable[..., Listener]:
    return Listener
