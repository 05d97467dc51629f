"""Connections that wait for their next message."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall

from twisted_mail_kit.metrics.catalogue import RELAY_IDLE
from twisted_mail_kit.smtp.client.connection import ClientConnection


class Pool:
    """Idle connections by key. Each waits `idle` seconds, takes `messages` messages at most, and leaves with QUIT."""

    def __init__(self, reactor: Any, idle: float, messages: int) -> None:
        self._reactor = reactor
        self._idle = idle
        self._messages = messages
        self._waiting: dict[Hashable, dict[ClientConnection, float]] = {}
        """Since when; who came first is first."""
        self._alarm: IDelayedCall | None = None
        """One for all: a message takes a connection, and gives it back, in a moment."""
        self._leaving: set[Deferred[None]] = set()
        self._is_closed = False
        RELAY_IDLE.read(self.count)

    def take(self, key: Hashable) -> ClientConnection | None:
        """The one that came last; None: there is none."""
        while waiting := self._waiting.get(key):
            connection = next(reversed(waiting))
            self._forget(key, connection)
            if connection.is_usable:
                return connection
            connection.hang_up()
        return None

    def put(self, key: Hashable, connection: ClientConnection) -> None:
        """Its message is done. It waits for the next one, or leaves."""
        most = connection.offers.mails or self._messages
        is_spent = connection.messages >= self._messages or connection.messages >= most
        # Whether it says goodbye meanwhile is seen when somebody takes it.
        if is_spent or self._is_closed or not self._idle or connection.is_lost:
            self.let_go(connection)
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = {}
        waiting[connection] = self._reactor.seconds()
        if self._alarm is None:
            self._alarm = self._reactor.callLater(self._idle, self._expire)
        connection.on_lost = lambda: self._forget(key, connection)

    def let_go(self, connection: ClientConnection) -> None:
        """QUIT, and do not wait for it."""
        if connection.is_lost:
            return
        leaving = Deferred.fromCoroutine(connection.quit())
        self._leaving.add(leaving)
        leaving.addBoth(lambda _: self._leaving.discard(leaving))

    def count(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    async def close(self) -> None:
        """All of them leave. Those that are given back later leave at once."""
        self._is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for key, waiting in list(self._waiting.items()):
            for connection in list(waiting):
                self._forget(key, connection)
                self.let_go(connection)
        if self._leaving:
            await DeferredList(list(self._leaving))

    def _expire(self) -> None:
        """Let those go that have waited long enough; ring again when the next one has."""
        self._alarm = None
        now = self._reactor.seconds()
        oldest = now
        for key, waiting in list(self._waiting.items()):
            for connection, since in list(waiting.items()):
                if since > now - self._idle:
                    oldest = min(oldest, since)
                    break
                self._forget(key, connection)
                self.let_go(connection)
        if self._waiting:
            self._alarm = self._reactor.callLater(oldest + self._idle - now, self._expire)

    def _forget(self, key: Hashable, connection: ClientConnection) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[key]
        connection.on_lost = None
