"""A net in memory: scripted servers at IP addresses, names that a resolver knows, and a clock."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.mail.address import Address, parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Outcome
from twisted_mail_kit.mail.records import MX, Answer
from twisted_mail_kit.smtp.relay import Relay, RelaySettings
from twisted_mail_kit.testing.transport import MemoryTransport

CUT = "(cut)"
SILENCE = "(silence)"


class Server:
    """Answers as told: `answers` by the beginning of the command, the longest first; a list is used up one by one.

    CUT drops the connection, SILENCE says nothing. `dot` and `data` are the answers to a message and to DATA.
    """

    def __init__(self, *offers: str, greeting: str = "220 there", **more: Any) -> None:
        self.greeting = greeting
        self.offers = offers
        self.is_lmtp = more.pop("lmtp", False)
        self.answers: dict[str, Any] = more.pop("answers", {})
        self.chop: int | None = more.pop("chop", None)
        self.said: list[list[str]] = []
        """Commands, a list a connection."""
        self.messages: list[bytes] = []
        self.writes: list[bytes] = []
        """What came in one piece each."""
        self.sessions: list[_Session] = []

    def answer(self, line: str) -> str:
        for beginning in sorted(self.answers, key=len, reverse=True):
            if line.upper().startswith(beginning.upper()):
                told = self.answers[beginning]
                if isinstance(told, list):
                    if not told:
                        continue
                    return told.pop(0)
                return told
        verb = line.split(" ")[0].upper()
        if verb in ("EHLO", "LHLO"):
            lines = ["there", *self.offers]
            return "\r\n".join(f"250{' ' if one is lines[-1] else '-'}{one}" for one in lines)
        return {"DATA": "354 go on", "QUIT": "221 bye", "STARTTLS": "220 2.0.0 go"}.get(verb, "250 2.1.0 ok")


class _Session:
    def __init__(self, server: Server, transport: MemoryTransport) -> None:
        self.server = server
        self.transport = transport
        self.said: list[str] = []
        server.said.append(self.said)
        server.sessions.append(self)
        self.octets = b""
        self.data: bytes | None = None
        self.chunk = 0
        self.chunks = b""
        self.is_last = False
        self.accepted = 0
        self.is_greeted = False
        self.is_silent = False

    def step(self) -> bool:
        """Whether something happened."""
        transport = self.transport
        if transport.is_closed():
            return False
        if not self.is_greeted:
            self.is_greeted = True
            self.say(self.server.greeting)
            return True
        came = transport.take()
        if came:
            self.server.writes.append(came)
            self.octets += came
        acted = bool(came)
        while self.octets and self._act():
            acted = True
        transport.turn()
        return acted

    def say(self, text: str) -> None:
        if text == CUT:
            self.transport.drop()
        elif text == SILENCE:
            self.is_silent = True
        elif not self.is_silent:
            self.transport.send(text.encode() + b"\r\n", self.server.chop)

    def _act(self) -> bool:
        server = self.server
        if self.chunk or self.is_last:
            taken, self.octets = self.octets[: self.chunk], self.octets[self.chunk :]
            self.chunk -= len(taken)
            self.chunks += taken
            if self.chunk:
                return False
            if self.is_last:
                server.messages.append(self.chunks)
                self.chunks, self.is_last = b"", False
                self.finish()
            else:
                self.say(server.answer("CHUNK"))
            return True
        if self.data is not None:
            self.data += self.octets
            self.octets = b""
            whole = b"\r\n" + self.data
            end = whole.find(b"\r\n.\r\n")
            if end < 0:
                return False
            server.messages.append(whole[2 : end + 2].replace(b"\r\n..", b"\r\n."))
            self.octets = whole[end + 5 :]
            self.data = None
            self.finish()
            return True
        line, found, rest = self.octets.partition(b"\r\n")
        if not found:
            return False
        self.octets = rest
        self.command(line.decode())
        return True

    def finish(self) -> None:
        for _ in range(self.accepted if self.server.is_lmtp else 1):
            self.say(self.server.answer("."))
        self.accepted = 0

    def command(self, line: str) -> None:
        self.said.append(line)
        verb = line.split(" ")[0].upper()
        if verb == "BDAT":
            self.chunk = int(line.split(" ")[1])
            self.is_last = line.upper().endswith("LAST")
            return
        answer = self.server.answer(line)
        self.say(answer)
        if verb == "RCPT" and answer.startswith("25"):
            self.accepted += 1
        elif verb in ("MAIL", "RSET", "EHLO"):
            self.accepted = 0
        elif verb == "DATA" and answer.startswith("354"):
            self.data = b""
        elif verb == "STARTTLS" and answer.startswith("220"):
            self.octets = b""
        elif verb == "QUIT":
            self.transport.drop()


class Names:
    """IResolver of a table: ``names["example.org", "MX"] = [MX(10, "mx.example.org")]``; an exception is raised."""

    def __init__(self) -> None:
        self.table: dict[tuple[str, str], Any] = {}
        self.missing: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    async def lookup(self, name: str, kind: str) -> Answer:
        self.asked.append((name, kind))
        told = self.table.get((name, kind), ())
        if isinstance(told, Exception):
            raise told
        return Answer(tuple(told), name, exists=name not in self.missing)


class Net(Clock):
    """The reactor."""

    def __init__(self) -> None:
        super().__init__()
        self.advance(1_700_000_000)
        self.servers: dict[tuple[str, int], Server | Exception] = {}
        self.names = Names()
        self.sessions: list[_Session] = []
        self.dialled: list[tuple[str, int]] = []
        self.bound: list[Any] = []

    def host(self, name: str, address: str, server: Server | Exception, port: int = 25) -> Server:
        self.names.table.setdefault((name, "AAAA" if ":" in address else "A"), []).append(address)
        self.servers[address, port] = server
        return server  # type: ignore[return-value]

    def domain(self, name: str, *exchanges: tuple[int, str]) -> None:
        self.names.table[name, "MX"] = [MX(*one) for one in exchanges]

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> None:
        self.dialled.append((host, port))
        self.bound.append(bindAddress)
        server = self.servers.get((host, port), ConnectionRefusedError())
        if isinstance(server, ConnectTimeout):
            self.callLater(timeout, factory.clientConnectionFailed, None, Failure(server))
        elif isinstance(server, Exception):
            self.callLater(0, factory.clientConnectionFailed, None, Failure(server))
        else:
            transport = MemoryTransport(host)
            self.callLater(0, self._connect, transport, factory, server)

    def _connect(self, transport: MemoryTransport, factory: Any, server: Server) -> None:
        transport.connect(factory.buildProtocol(transport.peer))
        self.sessions.append(_Session(server, transport))

    def settle(self) -> None:
        """Until nothing happens without time going on."""
        while True:
            self.advance(0)
            acted = [session.step() for session in self.sessions]  # each of them
            if not any(acted):
                return

    def run(self, task: Coroutine[Any, Any, Any]) -> Any:
        """What it gives; time goes on as it must."""
        done: Deferred[Any] = Deferred.fromCoroutine(task)
        results: list[Any] = []
        done.addBoth(results.append)
        for _ in range(10_000):
            self.settle()
            if results:
                break
            calls = [call.getTime() for call in self.getDelayedCalls()]
            assert calls, "it waits for something that never comes"
            self.advance(max(0.0, min(calls) - self.seconds()))
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


class Office:
    """A relay on a net, and letters for it."""

    def __init__(self, **settings: Any) -> None:
        self.net = Net()
        routes = settings.pop("python_routes", ())
        self.policies = settings.pop("policies", None)
        self.relay = Relay(
            self.net, self.net.names, "our.example.com", RelaySettings(**settings), self.policies, routes
        )

    def mx(self, server: Server, domain: str = "example.org", address: str = "192.0.2.1") -> Server:
        """The usual: one domain with one MX."""
        self.net.domain(domain, (10, f"mx.{domain}"))
        return self.net.host(f"mx.{domain}", address, server)

    def sends(
        self,
        *to: str | Recipient,
        octets: bytes = b"Subject: hi\r\n\r\nbody\r\n",
        sender: str | None = "ann@example.com",
        chunk: int | None = None,
        **envelope: Any,
    ) -> list[Outcome]:
        async def send() -> Any:
            made = Envelope(parse_address(sender) if sender else None, Peer("", service="queue"), "trace", **envelope)
            delivery = await self.relay.begin(made)
            for one in to:
                await delivery.add_recipient(one if isinstance(one, Recipient) else Recipient(_address(one)))
            for at in range(0, len(octets), chunk or len(octets) or 1):
                await delivery.write(octets[at : at + (chunk or len(octets))])
            return await delivery.commit()

        return self.net.run(send())


def _address(text: str) -> Address:
    return parse_address(text)


@pytest.fixture(scope="session")
def office() -> Callable[..., Office]:
    return Office


@pytest.fixture(scope="session")
def server() -> Callable[..., Server]:
    return Server


@pytest.fixture(scope="session")
def no_dns() -> Exception:
    return ResolutionFailed("the resolver is on fire")
