"""The smallest parts that keep every promise of their doors: what broken ones are made of."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mail_kit.checks import Check
from twisted_mail_kit.errors import AccountNotFound, BadSyntax, Refused, Unavailable
from twisted_mail_kit.interfaces import (
    Alias,
    Delivered,
    Destination,
    IAccounts,
    IDelivery,
    IDeliveryTarget,
    IDestinations,
    IPasswords,
    Local,
    Outcome,
    Status,
)
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.sasl import IScramKeys, ScramKeys, make_scram_keys
from twisted_mail_kit.testing.fakes import FakeAuthenticator

NOT_WANTED = Status("5.7.1", "Not wanted", 554)
NO_SUCH_USER = Status("5.1.1", "No such user", 550)


class Place:
    """What would be on a disk."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.mail: list[tuple[str, bytes]] = []
        self.is_lost = False

    def look(self) -> None:
        """Raises Unavailable where it is lost."""
        if self.is_lost:
            raise Unavailable("the disk is gone")


@implementer(ICredentialsChecker, IPasswords, IScramKeys)
class Checker:
    """Users in a dictionary."""

    credentialInterfaces: Any = (IUsernamePassword,)
    wants_full_names = True

    def __init__(self, place: Place) -> None:
        self.place = place

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.check(credentials.username, credentials.password))

    async def check(self, username: bytes, password: bytes) -> bytes:
        self.place.look()
        user = username.decode("utf-8", "replace")
        known = self.place.users.get(user)
        if known is None or known.encode() != password:
            raise UnauthorizedLogin
        return user.encode()

    async def set_password(self, user: str, password: str) -> None:
        if not user.isprintable() or not user or not password:
            raise BadSyntax("no login")
        self.place.users[user] = password

    async def remove_user(self, user: str) -> None:
        if self.place.users.pop(user, None) is None:
            raise AccountNotFound(user)

    async def user_names(self) -> Sequence[str]:
        return sorted(self.place.users)

    async def scram_keys(self, user: str) -> ScramKeys | None:
        password = self.place.users.get(user)
        return None if password is None else make_scram_keys(password, 4096)

    def decoy_keys(self, user: str) -> ScramKeys:
        salt = (user.encode() * 32)[:32]
        return ScramKeys(salt=salt, iterations=4096, stored_key=b"x" * 32, server_key=b"x" * 32)


class Authenticator(FakeAuthenticator):
    """An IAuthenticator of one's own."""

    def __init__(self, place: Place) -> None:
        super().__init__({name: (word, SimpleNamespace(name=name)) for name, word in USERS.items()})  # type: ignore[misc]


USERS = {"joe@example.org": "secret", "ann@example.org": "two  words"}
JOE, ANN = Address("joe", "example.org"), Address("ann", "example.org")
INFO, ALL = Address("info", "example.org"), Address("all", "example.org")
ADDRESSES: dict[Address, Destination] = {
    JOE: Local("joe@example.org"),
    ANN: Local("ann@example.org"),
    INFO: Alias((JOE, Address("bob", "theirs.example"))),
    ALL: Alias((JOE,), Local("all@example.org")),
}


@implementer(IAccounts)
class Addresses:
    """Addresses in a dictionary."""

    def __init__(self, place: Place) -> None:
        self.place = place

    async def lookup(self, address: Address) -> Destination | None:
        self.place.look()
        return ADDRESSES.get(address)

    async def may_send_as(self, account: str, sender: Address) -> bool:
        found = ADDRESSES.get(sender)
        own = found.keep if isinstance(found, Alias) else found
        return own is not None and own.account == account


class Questions(Check):
    """Refuses casinos."""

    name = "casino"

    def __init__(self, place: Place) -> None:
        self.place = place

    async def message(self, envelope: Envelope, recipients: Sequence[Recipient], message: Any) -> bytes | None:
        self.place.look()
        await message.read(0, 100)
        if b"casino" in (message.headers.get(b"Subject") or b""):
            raise Refused(NOT_WANTED)
        return b"X-Casino: no\r\n"


@implementer(IDeliveryTarget, IDestinations)
class Target:
    """Mail in a list."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def destination_of(self, recipient: Recipient) -> str:
        return recipient.address.domain or "here"

    async def begin(self, envelope: Envelope) -> IDelivery:
        return Delivering(self, envelope)


@implementer(IDelivery)
class Delivering:
    """One message."""

    def __init__(self, target: Any, envelope: Envelope) -> None:
        self.target, self.place, self.envelope = target, target.place, envelope
        self.to: list[str] = []
        self.pieces: list[bytes] = []

    async def add_recipient(self, recipient: Recipient) -> None:
        if recipient.address.local == "nobody":
            raise Refused(NO_SUCH_USER)
        self.to.append(str(recipient.address))

    async def write(self, octets: bytes) -> None:
        self.pieces.append(octets)

    async def commit(self) -> Sequence[Outcome]:
        self.place.look()
        self.place.mail += [(one, b"".join(self.pieces)) for one in self.to]
        return [Delivered()] * len(self.to)

    async def abort(self) -> None:
        self.pieces.clear()
