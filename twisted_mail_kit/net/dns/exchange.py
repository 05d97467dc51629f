"""One question to one server: over UDP from a port of its own, or over TCP."""

from __future__ import annotations

import random
from typing import Any, Final

import dns.flags
import dns.message
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorThreads
from twisted.internet.protocol import ClientFactory
from twisted.internet.threads import deferToThreadPool
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from twisted_mail_kit.net.dns.query import CaseLost, NotOurs, Query
from twisted_mail_kit.net.dns.reply import ServerFailed
from twisted_mail_kit.net.dns.servers import Server
from twisted_mail_kit.net.dns.sockets import open_socket

MOST_FORGERIES: Final = 16
"""Datagrams that are not the answer; with more of them, somebody is guessing, and TCP is the better way."""

_LONGEST_DATAGRAM: Final = 4096
_READ_ASIDE: Final = 2048
"""A stranger's zone may hold an answer that takes a second to read: longer ones are read in a thread."""


class Silent(ServerFailed):
    """The server is not there, or says nothing in time."""


class AskOverTCP(Exception):
    """UDP will not do: the answer was cut short, or may be forged."""

    def __init__(self, case_lost: bool = False) -> None:
        super().__init__()
        self.case_lost = case_lost


async def ask_udp(
    reactor: Any, server: Server, query: Query, seconds: float, random: random.Random
) -> dns.message.Message:
    """The answer. Raises Silent, AskOverTCP."""
    answered: Deferred[dns.message.Message] = Deferred()
    ear = _Ear(query, answered)
    try:
        socket = open_socket(reactor, server, query.octets, ear.heard, ear.refused, random)
    except OSError as problem:
        raise Silent(f"it cannot be reached: {type(problem).__name__}") from problem
    alarm = reactor.callLater(seconds, _end, answered, Silent("no answer in time"))
    try:
        message = await answered
    finally:
        if alarm.active():
            alarm.cancel()
        socket.close()
    if message.flags & dns.flags.TC:
        raise AskOverTCP
    return message


async def ask_tcp(reactor: Any, server: Server, query: Query, seconds: float) -> dns.message.Message:
    """The answer, in whatever case: nobody but the server can have sent it. Raises Silent, ServerFailed."""
    answered: Deferred[bytes] = Deferred()
    connector = reactor.connectTCP(server.host, server.port, _Streams(query, answered), timeout=seconds)
    alarm = reactor.callLater(seconds, _end, answered, Silent("no answer in time"))
    try:
        octets = await answered
    finally:
        if alarm.active():
            alarm.cancel()
        connector.disconnect()
    try:
        if len(octets) > _READ_ASIDE and IReactorThreads.providedBy(reactor):
            message = await deferToThreadPool(reactor, reactor.getThreadPool(), query.read, octets, True)
        else:
            message = query.read(octets, any_case=True)
    except NotOurs as problem:
        raise ServerFailed(f"nonsense over TCP: {problem}") from problem
    if message.flags & dns.flags.TC:
        raise ServerFailed("the answer is cut short over TCP too")
    return message


class _Ear:
    """Waits for the one datagram that answers."""

    def __init__(self, query: Query, answered: Deferred[dns.message.Message]) -> None:
        self._query = query
        self._answered = answered
        self._forgeries = 0

    def heard(self, datagram: bytes) -> None:
        """One datagram of the server, or of one who pretends to be it."""
        if self._answered.called:
            return
        try:
            if len(datagram) > _LONGEST_DATAGRAM:
                raise NotOurs("longer than anything that was asked for")
            _end(self._answered, self._query.read(datagram))
        except CaseLost:
            _end(self._answered, AskOverTCP(case_lost=True))
        except NotOurs:
            self._forgeries += 1
            if self._forgeries > MOST_FORGERIES:
                _end(self._answered, AskOverTCP())

    def refused(self, why: str) -> None:
        """There will be none."""
        _end(self._answered, Silent(why))


class _Stream(Int16StringReceiver):
    factory: _Streams

    def connectionMade(self) -> None:
        """Ask."""
        self.sendString(self.factory.query.octets)  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        _end(self.factory.answered, string)

    def connectionLost(self, reason: Failure | None = None) -> None:
        _end(self.factory.answered, Silent("the connection was closed"))


class _Streams(ClientFactory):
    noisy = False

    def __init__(self, query: Query, answered: Deferred[bytes]) -> None:
        self.query = query
        self.answered = answered

    def buildProtocol(self, addr: IAddress | None) -> Any:
        made = _Stream()
        made.factory = self
        return made

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        _end(self.answered, Silent("no TCP connection"))


def _end(answered: Deferred[Any], result: Any) -> None:
    if answered.called:
        return
    if isinstance(result, Exception):
        answered.errback(result)
    else:
        answered.callback(result)
