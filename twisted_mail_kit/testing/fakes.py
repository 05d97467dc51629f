"""Small real implementations of the doors, for tests: a doorkeeper, a delivery target, and a transport in memory.

They keep the promises of the interfaces, so what passes here passes with the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zope.interface import implementer

from twisted_mail_kit.errors import AuthenticationFailed, BadSyntax, MechanismNotSupported
from twisted_mail_kit.interfaces import IAccount, IAuthenticator, IDelivery, IReception, ISASLExchange
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delivered, Outcome
from twisted_mail_kit.testing.transport import MemoryTransport

__all__ = ["Collected", "CollectingTarget", "FakeAuthenticator", "MemoryTransport"]


@implementer(IAuthenticator)
class FakeAuthenticator:
    """Knows users as ``{"joe": ("secret", account)}``; offers PLAIN and LOGIN under TLS and on loopback.

    `failures` counts refused logins. `problem`, where set, is raised instead of an answer.
    """

    def __init__(self, users: Mapping[str, tuple[str, IAccount]], names: Sequence[str] = ("PLAIN", "LOGIN")) -> None:
        self.users = dict(users)
        self.names = tuple(names)
        self.failures = 0
        self.problem: Exception | None = None
        self.peers: list[Peer] = []
        """Who asked, in order."""

    def mechanisms(self, peer: Peer) -> Sequence[str]:
        """None in clear text off loopback."""
        return self.names if peer.tls or peer.is_local else ()

    def begin(self, mechanism: str, peer: Peer) -> ISASLExchange:
        """PLAIN or LOGIN."""
        if mechanism.upper() not in self.names:
            raise MechanismNotSupported(mechanism)
        return (_Plain if mechanism.upper() == "PLAIN" else _Login)(self, peer)

    async def login(self, user: str, password: str, peer: Peer) -> IAccount:
        """The account, or AuthenticationFailed."""
        self.peers.append(peer)
        if self.problem is not None:
            raise self.problem
        known = self.users.get(user)
        if known is None or known[0] != password:
            self.failures += 1
            raise AuthenticationFailed(user)
        return known[1]


@implementer(ISASLExchange)
class _Plain:
    def __init__(self, doorkeeper: FakeAuthenticator, peer: Peer) -> None:
        self.doorkeeper = doorkeeper
        self.peer = peer

    async def respond(self, response: bytes | None) -> bytes | IAccount:
        if response is None:
            return b""
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise BadSyntax("PLAIN: three parts")
        return await self.doorkeeper.login(_text(parts[1]), _text(parts[2]), self.peer)


@implementer(ISASLExchange)
class _Login:
    def __init__(self, doorkeeper: FakeAuthenticator, peer: Peer) -> None:
        self.doorkeeper = doorkeeper
        self.peer = peer
        self.user: str | None = None

    async def respond(self, response: bytes | None) -> bytes | IAccount:
        if response is None:
            return b"Username:"
        if self.user is None:
            self.user = _text(response)
            return b"Password:"
        return await self.doorkeeper.login(self.user, _text(response), self.peer)


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise BadSyntax("not UTF-8") from None


class Collected:
    """One message that a `CollectingTarget` took, or is taking."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.recipients: list[Recipient] = []
        self.octets = b""


@implementer(IReception)
class CollectingTarget:
    """A delivery target that keeps what it is given in `messages`: envelope, recipients, octets.

    `refusals` says who is refused: a key is ``"connect"``, ``"greeting"``, ``"sender"``, ``"message"`` (at the first
    write), ``"commit"``, or a recipient's address in lower case; the value is the exception to raise. `outcomes`
    gives the outcomes by address where they are not Delivered. `gate`, where set, is awaited in every write and in
    commit (a slow disk).
    """

    def __init__(self) -> None:
        self.messages: list[Collected] = []
        self.aborted: list[Collected] = []
        self.open = 0
        """Transactions that were begun and neither committed nor aborted."""
        self.peers: list[tuple[str, Peer]] = []
        """``("connected", peer)`` and ``("greeted", peer)``, in order."""
        self.refusals: dict[str, Exception] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.gate: Callable[[], Any] | None = None

    async def connected(self, peer: Peer) -> None:
        """Noted."""
        self.peers.append(("connected", peer))
        self.refuse("connect")

    async def greeted(self, peer: Peer) -> None:
        """Noted."""
        self.peers.append(("greeted", peer))
        self.refuse("greeting")

    async def begin(self, envelope: Envelope) -> IDelivery:
        """A message comes."""
        self.refuse("sender")
        self.open += 1
        return _Collecting(self, Collected(envelope))

    def refuse(self, where: str) -> None:
        """Raise what `refusals` has for this."""
        problem = self.refusals.get(where)
        if problem is not None:
            raise problem


@implementer(IDelivery)
class _Collecting:
    def __init__(self, target: CollectingTarget, message: Collected) -> None:
        self.target = target
        self.message = message
        self.pieces: list[bytes] = []
        self.is_over = False

    async def add_recipient(self, recipient: Recipient) -> None:
        self.target.refuse(str(recipient.address).lower())
        self.message.recipients.append(recipient)

    async def write(self, octets: bytes) -> None:
        if self.target.gate is not None:
            await self.target.gate()
        self.target.refuse("message")
        self.pieces.append(octets)

    async def commit(self) -> Sequence[Outcome]:
        if self.target.gate is not None:
            await self.target.gate()
        self.target.refuse("commit")
        self.message.octets = b"".join(self.pieces)
        self._over()
        self.target.messages.append(self.message)
        outcomes = self.target.outcomes
        return [outcomes.get(str(known.address).lower(), Delivered()) for known in self.message.recipients]

    async def abort(self) -> None:
        if not self.is_over:
            self._over()
            self.target.aborted.append(self.message)

    def _over(self) -> None:
        self.is_over = True
        self.target.open -= 1
