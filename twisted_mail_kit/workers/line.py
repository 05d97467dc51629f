"""The line between owner and worker: both ends ask, answer and tell, many things at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.workers.frames import BadFrame, Frames, pack, pack_error, unpack_error

_ASK, _ANSWER, _ERROR, _TELL = range(4)
_SILENT = "the process at the other end has given no sign of life for too long"

Verb = Callable[..., Awaitable[Any]]
News = Callable[..., None]


@implementer(IPushProducer)
class Line(Protocol):
    """One end.

    What is said here arrives there in the same order, and is begun there in that order. `verbs` are what the other end
    may ask, `news` what it may tell. An error that has a word in `errors` is raised over there as it is; any other is
    logged here under a reference, and is Unavailable there.
    """

    log = Logger()

    def __init__(self, clock: Any, verbs: Mapping[str, Verb], news: Mapping[str, News] | None = None) -> None:
        self.clock = clock
        self.verbs = dict(verbs)
        self.news: dict[str, News] = {"pulse": lambda: None, **(news or {})}
        self.is_full = False
        """The other end is slow to read: what may wait should."""
        self.when_room: Callable[[], None] | None = None
        """Called when it is no longer full."""
        self.when_lost: Callable[[], None] | None = None
        """Called once, when the other end is gone."""
        self._frames = Frames()
        self._asked: dict[int, Deferred[Any]] = {}
        self._last = 0
        self._mentions: deque[tuple[str, tuple[object, ...]]] = deque()
        self._is_lost = False
        self.has_heard = False
        """Something was heard since somebody has last set this to False."""
        self.is_silent = False
        """The other end hangs, as far as we know: what is asked fails at once, until something is heard again."""

    # --- for our end -------------------------------------------------------------------------------------------------

    def ask(self, verb: str, *arguments: object) -> Deferred[Any]:
        """The other end's answer. Fails with its error, or with Unavailable: the other end is gone."""
        answer: Deferred[Any] = Deferred(self._forget)
        if self._is_lost or self.transport is None:
            answer.errback(Unavailable("the process at the other end is gone"))
            return answer
        if self.is_silent:
            answer.errback(Unavailable(_SILENT))
            return answer
        self._tell_mentions()
        self._last += 1
        self._asked[self._last] = answer
        try:
            self.transport.write(pack((_ASK, self._last, verb, arguments)))
        except Exception as problem:  # it cannot travel
            del self._asked[self._last]
            answer.errback(problem)
        return answer

    def tell(self, what: str, *arguments: object) -> None:
        """Say it, and expect no answer. Nothing happens where the other end is gone."""
        if not self._is_lost and self.transport is not None:
            self._tell_mentions()
            self.transport.write(pack((_TELL, 0, what, arguments)))

    def mention(self, what: str, *arguments: object) -> None:
        """Tell it together with what is asked or told next. May be called in any thread, so in a ``__del__`` too."""
        self._mentions.append((what, arguments))

    def close(self) -> None:
        """Hang up, after all that was said is on its way."""
        if self.transport is not None:
            self.transport.loseConnection()

    def expect_nothing(self) -> None:
        """The other end hangs: whoever waits for it is told so now, and whoever asks from now on at once. Should it
        wake up after all, it will do what it was asked, and nobody hears the answer."""
        self.is_silent = True
        self._fail_all(_SILENT)

    async def quiet(self) -> None:
        """Returns when all that was asked by now has its answer."""
        for asked in list(self._asked.values()):
            answered: Deferred[None] = Deferred()

            def passed(result: Any, answered: Deferred[None] = answered) -> Any:
                answered.callback(None)
                return result

            asked.addBoth(passed)
            await answered

    # --- what Twisted calls ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The other end may ask now."""
        assert self.transport is not None
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        """Something was asked, answered or told."""
        self.has_heard = True
        if self.is_silent:
            self.is_silent = False
            self.log.warn("the process at the other end answers again")
        try:
            for value in self._frames.receive(data):
                self._take(value)
        except BadFrame as problem:
            self.log.error("what another process says makes no sense, the line is cut: {problem}", problem=problem)
            self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nobody is at the other end any more."""
        self._is_lost = True
        self._fail_all("the process at the other end is gone")
        when_lost, self.when_lost = self.when_lost, None
        if when_lost is not None:
            when_lost()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self.is_full = True

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self.is_full = False
        if self.when_room is not None:
            self.when_room()

    def stopProducing(self) -> None:
        """See IPushProducer."""

    # --- inside ------------------------------------------------------------------------------------------------------

    def _take(self, value: Any) -> None:
        try:
            kind, number, what, arguments = value
        except (TypeError, ValueError):
            raise BadFrame(f"a {type(value).__name__} is no message") from None
        if kind == _ASK:
            Deferred.fromCoroutine(self._answer(number, what, arguments))
        elif kind == _TELL:
            self._hear(what, arguments)
        else:
            asked = self._asked.pop(number, None)
            if asked is None:
                return  # nobody waits for it any more
            if kind == _ANSWER:
                asked.callback(what)
            else:
                asked.errback(unpack_error(what))

    def _fail_all(self, why: str) -> None:
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            answer.errback(Unavailable(why))

    async def _answer(self, number: int, verb: str, arguments: tuple[Any, ...]) -> None:
        try:
            frame = pack((_ANSWER, number, await self.verbs[verb](*arguments), None))
        except Exception as error:
            frame = pack((_ERROR, number, pack_error(error) or self._unknown(verb), None))
        if not self._is_lost and self.transport is not None:
            self.transport.write(frame)

    def _unknown(self, verb: str) -> tuple[str, tuple[str]]:
        reference = new_trace_id(self.clock.seconds())
        self.log.failure("{verb} failed for another process, reference {reference}", verb=verb, reference=reference)
        return "Unavailable", (f"{verb} failed, reference {reference}",)

    def _hear(self, what: str, arguments: tuple[Any, ...]) -> None:
        try:
            self.news[what](*arguments)
        except Exception:
            self.log.failure("{what}, told by another process, could not be taken", what=what)

    def _tell_mentions(self) -> None:
        while self._mentions:
            what, arguments = self._mentions.popleft()
            self.transport.write(pack((_TELL, 0, what, arguments)))  # type: ignore[union-attr]

    def _forget(self, answer: Deferred[Any]) -> None:
        for number, asked in list(self._asked.items()):
            if asked is answer:
                del self._asked[number]
