"""What a session hears: the wire's events, awaited one by one, with the transport paused while nobody listens."""

from __future__ import annotations

from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.net.alarms import Alarms
from twisted_mail_kit.net.outflow import Outflow
from twisted_mail_kit.net.story import Until

Event_co = TypeVar("Event_co", covariant=True)
Event = TypeVar("Event")


class Signal(Enum):
    """What stands where an event would."""

    NEED_DATA = "the wire has no whole event yet"
    WOKEN = "nothing was heard, but somebody called `Inbox.wake`"


NEED_DATA: Final = Signal.NEED_DATA
WOKEN: Final = Signal.WOKEN


class Wire(Protocol[Event_co]):
    """The pure half of a session: octets in, events out. It owns no transport and no clock."""

    def receive(self, octets: bytes) -> None:
        """Take what came from the peer, however it was cut."""

    def next_event(self) -> Event_co | Signal:
        """The next whole event, or NEED_DATA. Bad input is an event too; it never raises."""


class TimedOut(ConnectionEnded):
    """The peer said nothing for too long."""


class Draining(ConnectionEnded):
    """The server is going down, and this is a safe point to say goodbye."""


class Inbox(Generic[Event]):
    """One session's ears. Only one coroutine listens at a time.

    Octets are taken in while the session is busy too, up to `HIGH_WATER`; then the transport is paused until the
    session has eaten what there is. So pipelining and back-pressure need no thought in a session.

    What the `outflow` has gathered goes out before the peer is waited for.
    """

    # Thousands of sessions may be idle at the same time, so each octet that one holds meanwhile counts.
    __slots__ = (
        "_alarm",
        "_alarms",
        "_clock",
        "_deadline",
        "_draining",
        "_ended",
        "_outflow",
        "_paused",
        "_transport",
        "_unheard",
        "_unheard_size",
        "_waiting",
        "_waiting_safe",
        "_waiting_wakeable",
        "_woken",
        "busy_since",
        "wire",
    )

    HIGH_WATER = 128 * 1024

    def __init__(
        self,
        wire: Wire[Event],
        transport: ITransport,
        clock: IReactorTime,
        outflow: Outflow | None = None,
        alarms: Alarms | None = None,
    ) -> None:
        """Many inboxes may share their `alarms`."""
        self.wire = wire
        self.busy_since = 0.0
        """When the last wait for the peer ended, by the clock."""
        self._transport = transport
        self._clock = clock
        self._outflow = outflow
        self._alarms = alarms or Alarms(clock)
        self._waiting: Deferred[None] | None = None
        self._waiting_safe = self._waiting_wakeable = False
        self._unheard: list[bytes] | None = None
        self._unheard_size = 0
        self._paused = False
        self._ended: BaseException | None = None
        self._draining = False
        self._woken = False
        self._deadline = 0.0
        self._alarm: float | None = None

    # --- for the session -------------------------------------------------------------------------------------------

    async def next(
        self, seconds: float, wakeable: bool = False, safe_point: bool = False, has_polled: bool = False
    ) -> Event | Signal:
        """The next event; with `wakeable`, WOKEN when `wake` was called and no event is there.

        `has_polled` says that `poll` has just found nothing. Raises TimedOut when no whole event came for `seconds`,
        ConnectionEnded when the peer is gone and all it said has been heard, and Draining, at a `safe_point` only, when
        the server wants to stop.
        """
        until: float | None = None
        while True:
            if not has_polled:
                event = self.poll()
                if event is not NEED_DATA:
                    return event
            has_polled = False
            if self._ended is not None:
                raise self._ended
            if safe_point and self._draining:
                raise Draining
            if wakeable and self._woken:
                self._woken = False
                return WOKEN
            if self._paused:
                self._paused = False
                self._transport.resumeProducing()  # type: ignore[attr-defined]
                if self._unheard:
                    continue
            if self._outflow is not None:
                self._outflow.flush()
            if until is None:  # half an event now and then does not count as one: the patience is for the whole
                until = self._clock.seconds() + seconds
            await Until(self._wait(until, safe_point, wakeable))
            self.busy_since = self._clock.seconds()

    def poll(self) -> Event | Signal:
        """The next event if it is here already, NEED_DATA if not; never waits. Before waiting is when to flush."""
        if self._unheard:
            self._eat()
        return self.wire.next_event()

    def has_more(self) -> bool:
        """Octets are here that the wire has not seen: the peer is pipelining, so replies may wait for each other."""
        return bool(self._unheard)

    def forget(self) -> None:
        """Throw away what was received and not heard yet: after STARTTLS a stranger's words do not count."""
        self._unheard = None
        self._unheard_size = 0

    # --- for others ------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let a wakeable `next` return WOKEN: something else has happened that the session should look at."""
        self._woken = True
        if self._waiting is not None and self._waiting_wakeable:
            self._answer()

    def drain(self) -> None:
        """Let `next` raise Draining at the next safe point."""
        self._draining = True
        if self._waiting is not None and self._waiting_safe:
            self._answer()

    def received(self, octets: bytes) -> None:
        """From dataReceived."""
        if self._unheard is None:
            self._unheard = [octets]
        else:
            self._unheard.append(octets)
        self._unheard_size += len(octets)
        if self._waiting is not None:
            self._answer()
        elif self._unheard_size > self.HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pauseProducing()  # type: ignore[attr-defined]

    def ended(self, reason: BaseException | None = None) -> None:
        """From connectionLost: what was heard stays to be heard, then ConnectionEnded."""
        if self._ended is None:
            self._ended = reason or ConnectionEnded("the peer is gone")
        if self._waiting is not None:
            self._answer()
        if self._alarm is not None:
            self._alarms.cancel(self, self._alarm)
            self._alarm = None

    # --- inside ----------------------------------------------------------------------------------------------------

    def _eat(self) -> None:
        unheard = self._unheard or []
        octets = unheard[0] if len(unheard) == 1 else b"".join(unheard)
        self.forget()
        self.wire.receive(octets)

    def _wait(self, until: float, safe_point: bool, wakeable: bool) -> Deferred[None]:
        # One alarm a session, moved on only when it rings: setting one anew for each read is what makes a
        # line-at-a-time server slow.
        self._deadline = until
        if self._alarm is None:
            self._alarm = self._alarms.set(self, until)
        elif self._alarm - 1.0 > until:
            self._alarms.cancel(self, self._alarm)
            self._alarm = self._alarms.set(self, until)
        self._waiting_safe = safe_point
        self._waiting_wakeable = wakeable
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        return waiting

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def ring(self) -> None:
        """From `Alarms`."""
        self._alarm = None
        if self._waiting is None:
            return  # nobody listens now; the next wait sets the alarm again
        if self._deadline > self._clock.seconds():
            self._alarm = self._alarms.set(self, self._deadline)
            return
        waiting, self._waiting = self._waiting, None
        waiting.errback(TimedOut("the peer said nothing for too long"))
