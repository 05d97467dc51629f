"""A client that a test leads by hand: it says a line, and the world goes on until the answer is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted_mail_kit.testing.world.world import World


class NoAnswer(AssertionError):
    """The answer did not come: the connection failed or ended, or time ran out."""


class Caller(ClientFactory):
    """One SMTP connection from a node of the world to an address of it.

    `ask` is for one reply, `say` for what has none. `problem` says why the connection failed or ended.
    """

    noisy = False

    def __init__(self, world: World, reactor: Any, host: str, port: int = 25, patience: float = 600.0) -> None:
        self.world = world
        self.patience = patience
        self.problem: Failure | None = None
        self.octets = b""
        """What came, and was not yet given."""
        self.transport: Any = None
        reactor.connectTCP(host, port, self, timeout=patience)

    def buildProtocol(self, addr: Any) -> Protocol:
        """Ours."""
        return _Ear(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """No connection."""
        self.problem = reason

    def say(self, text: str | bytes) -> None:
        """A line, or octets as they are. The world does not go on."""
        self._need(lambda: self.transport is not None)
        self.transport.write(text if isinstance(text, bytes) else f"{text}\r\n".encode())

    def hear(self) -> str:
        """The next reply, whole, its lines joined by LF. Raises NoAnswer."""
        self._need(lambda: self._reply_end() > 0)
        end = self._reply_end()
        reply, self.octets = self.octets[:end], self.octets[end:]
        return reply.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")

    def ask(self, text: str | bytes) -> str:
        """Say it, and give the reply."""
        self.say(text)
        return self.hear()

    def start_tls(self) -> None:
        """After 220: TLS from here on."""
        self.transport.startTLS(object())

    def hang_up(self) -> None:
        """Close the connection."""
        if self.transport is not None:
            self.transport.loseConnection()

    def wait_for_the_end(self) -> Failure:
        """The other side closes, or cuts, the connection: why."""
        if not self.world.run_until(lambda: self.problem is not None, self.patience):
            raise NoAnswer("the connection is still open")
        assert self.problem is not None
        return self.problem

    # --- inside ----------------------------------------------------------------------------------------------------

    def _need(self, what: Any) -> None:
        self.world.run_until(lambda: what() or self.problem is not None, self.patience)
        if not what():
            raise NoAnswer(f"{self.problem or 'nothing was said'}; heard so far: {self.octets!r}")

    def _reply_end(self) -> int:
        """Where the first whole reply ends; 0: there is none."""
        at = 0
        while (end := self.octets.find(b"\r\n", at)) >= 0:
            if self.octets[at + 3 : at + 4] != b"-":
                return end + 2
            at = end + 2
        return 0


class _Ear(Protocol):
    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def connectionMade(self) -> None:
        self.caller.transport = self.transport

    def dataReceived(self, data: bytes) -> None:
        self.caller.octets += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.caller.problem = reason


__all__ = ["Caller", "NoAnswer"]
