"""Parts that block: a class that says `blocking = True` is written with plain methods, which are called in threads.

    class AcmeStore:
        blocking = True  # every method may take its time
        threads = 4      # at most so many calls at once; without it 8

        def open_account(self, name, create=False): ...

What its methods give that is a door itself (an account, a blob writer, a delivery) is called in the same threads.
Calls of one blob writer, or one delivery, come one after the other, in their order; all others at the same time, as
many as there are threads: a class whose calls must not meet says ``threads = 1``.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from attrs import field, frozen
from attrs.validators import ge
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import blockingCallFromThread, deferToThreadPool
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy
from zope.interface.interface import Method

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import IBlobWriter, IPasswords, IReceivedMessage
from twisted_mail_kit.net.threads import DaemonThreads

T = TypeVar("T")

AT_ONCE = frozenset({"watch_changes", "destination_of", "mechanisms", "decoy_keys", "read_elsewhere", "start"})
"""Methods of doors that answer at once, in the reactor thread, and must not wait for anything."""
GIVES = frozenset({"open_account", "begin"})
"""Methods that give another part, which is called in the same threads."""
IN_ORDER = frozenset({"begin", "new_blob"})
"""What these give is called in order, never twice at once."""
ALWAYS = frozenset({"abort", "close"})
"""Methods that are never turned away: they make room."""


@frozen(kw_only=True)
class BlockingSettings:
    """How many calls of one part run, and wait; a part may say otherwise by attributes of these names."""

    threads: int = field(default=8, validator=ge(1))
    """Threads at most; they are made when they are needed."""
    waiting: int = field(default=1000, validator=ge(0))
    """Calls that wait for a thread; one more is refused as temporarily unavailable."""


def adapted(part: T, reactor: Any, settings: BlockingSettings | None = None) -> T:
    """Give the same part as everybody may use it; one whose class does not say `blocking = True` as it is.

    It provides the same interfaces, has the same attributes, and raises the same errors. `close` waits for calls that
    run, and ends the threads. A reactor without threads (a test's clock) makes every call at once.
    """
    if not getattr(type(part), "blocking", False):
        return part
    settings = settings or BlockingSettings()
    threads = getattr(part, "threads", settings.threads)
    waiting = getattr(part, "waiting", settings.waiting)
    return cast(T, Adapted(part, _Threads(reactor, type(part).__name__, threads, waiting)))


def release(part: object) -> None:
    """Nobody needs an adapted part for now: its threads end when their calls do, and are made anew for another call.

    Anything else is left alone.
    """
    if isinstance(part, Adapted):
        part._threads.release()


class Adapted:
    """A part whose methods are called in threads; those that are coroutines are not."""

    def __init__(self, part: Any, threads: _Threads, turn: _Turn | None = None) -> None:
        self._part: Any = part
        self._threads = threads
        self._turn = turn
        provided = providedBy(part)
        self._waits = _methods(provided)
        directlyProvides(self, *provided)

    def __repr__(self) -> str:
        return f"<{self._part!r} in threads>"

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if name == "new_blob" and name in self._waits:
            return partial(_Writer, value, self._threads)
        if name == "watch_changes" and name in self._waits:
            return partial(_watch, self._threads.reactor, value)
        if name not in self._waits or name in AT_ONCE or inspect.iscoroutinefunction(value):
            return value
        if name == "close":
            return partial(self._threads.close, value)
        return partial(self._call, name, value)

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **more: Any) -> Deferred[Any]:
        args = tuple(_Read(one, self._threads.reactor) if IReceivedMessage.providedBy(one) else one for one in args)
        done = self._threads.call(partial(method, *args, **more), self._turn, name in ALWAYS)
        if name in GIVES:
            turn = _Turn() if name in IN_ORDER else None
            done.addCallback(_given, self._threads, turn)
        return done


def _given(part: Any, threads: _Threads, turn: _Turn | None) -> Any:
    """An account or a delivery, to be called in the same threads; one that is written with coroutines as it is."""
    work = getattr(part, "apply", None) or getattr(part, "commit", None)
    return part if inspect.iscoroutinefunction(work) else Adapted(part, threads, turn)


class _Writer(Adapted):
    """A blob writer that is made, in a thread, with its first call: to make one may block too."""

    def __init__(self, make: Callable[..., Any], threads: _Threads, *args: Any, **more: Any) -> None:
        self._part = None
        self._make = partial(make, *args, **more)
        self._threads = threads
        self._turn = _Turn()
        directlyProvides(self, IBlobWriter)

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "commit", "abort"):
            return partial(self._call, name, partial(self._do, name))
        if self._part is None:
            raise AttributeError(name)
        return getattr(self._part, name)

    def _do(self, name: str, *args: Any) -> Any:
        if self._part is None:
            if name == "abort":
                return None
            self._part = self._make()
        return getattr(self._part, name)(*args)


class _Turn:
    """Whose turn it is, where calls must not meet."""

    def __init__(self) -> None:
        self.is_taken = False
        self.waiting: deque[Callable[[], None]] = deque()


class _Threads:
    """The threads of one part, and of all that came out of it."""

    def __init__(self, reactor: Any, name: str, threads: int, waiting: int) -> None:
        self.reactor = reactor
        self.name = name
        self.threads = threads
        self.waiting = waiting
        self.busy = 0
        """Calls that run or wait."""
        self._is_closed = False
        self._is_released = False
        self._is_over = False
        self._pool: DaemonThreads | None = None
        self._idle: list[Deferred[None]] = []

    def call(self, work: Callable[[], T], turn: _Turn | None = None, always: bool = False) -> Deferred[T]:
        """What `work()` gives, called in a thread. Fails with Unavailable: too many wait, or all is closed.

        Who cancels it does not wait any longer; the call goes on, and nobody's turn comes before it is done.
        """
        if always and self._is_over:
            return cast("Deferred[T]", succeed(None))
        try:
            self._admit(always)
        except Unavailable:
            return cast("Deferred[T]", _failed())
        told: Deferred[T] = Deferred()

        def begin() -> None:
            self._in_thread(work).addBoth(done)

        def done(result: Any) -> None:
            if turn is not None:
                if turn.waiting:
                    turn.waiting.popleft()()
                else:
                    turn.is_taken = False
            self.busy -= 1
            if not self.busy:
                self._rest()
            if isinstance(result, Failure):
                told.errback(result)
            else:
                told.callback(result)

        if turn is not None and turn.is_taken:
            turn.waiting.append(begin)
        else:
            if turn is not None:
                turn.is_taken = True
            begin()
        return told

    async def close(self, close: Callable[[], Any]) -> None:
        """Wait for what runs, then call the part's own `close`, then end the threads."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.busy:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        try:
            await self._in_thread(close)
        finally:
            self._is_over = True
            self._end()

    def release(self) -> None:
        """End the threads as soon as they are idle."""
        self._is_released = True
        if not self.busy:
            self._rest()

    def _admit(self, always: bool) -> None:
        if self._is_closed and not always:
            raise Unavailable(f"{self.name} is closed")
        if self.busy >= self.threads + self.waiting and not always:
            raise Unavailable(f"{self.name}: {self.busy} calls run or wait already")
        self.busy += 1
        self._is_released = False

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        if not IReactorThreads.providedBy(self.reactor):
            try:
                return succeed(work())
            except Exception:
                return cast("Deferred[T]", _failed())
        if self._pool is None:
            self._pool = DaemonThreads(0, self.threads, self.name)
            self._pool.start()
        done: Deferred[T] = deferToThreadPool(self.reactor, self._pool, work)
        return done

    def _rest(self) -> None:
        if self._is_released:
            self._end()
        idle, self._idle = self._idle, []
        for one in idle:
            one.callback(None)

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()  # nothing runs: there is nothing to wait for


@implementer(IReceivedMessage)
class _Read:
    """A message as a check in a thread sees it: `read` gives octets, and not an awaitable."""

    def __init__(self, message: Any, reactor: Any) -> None:
        self._message = message
        self._reactor = reactor
        self.size = message.size
        self.headers = message.headers

    def read(self, offset: int, size: int) -> Any:
        """See IReceivedMessage."""
        if not IReactorThreads.providedBy(self._reactor):
            return _now(self._message.read(offset, size))
        return blockingCallFromThread(self._reactor, self._message.read, offset, size)


def _watch(
    reactor: Any, watch_changes: Callable[..., Callable[[], None]], heard: Callable[[str, int], None]
) -> Callable[[], None]:
    """`IChangeHints.watch_changes`; the store may tell from any of its threads."""
    is_over = False

    def tell(name: str, modseq: int) -> None:
        if not is_over:
            heard(name, modseq)

    def unwatch() -> None:
        nonlocal is_over
        is_over = True
        end()

    call = getattr(reactor, "callFromThread", None)
    end = watch_changes(tell if call is None else partial(call, tell))
    return unwatch


@lru_cache(maxsize=256)
def _methods(provided: Any) -> frozenset[str]:
    """The names of all methods that these interfaces have."""
    names = {name for one in provided.flattened() for name in one.names() if isinstance(one[name], Method)}
    return frozenset(names | {"is_user"} if IPasswords in provided.flattened() else names)  # what `Directory` asks


def _failed() -> Deferred[Any]:
    """The exception that is being handled, as a Deferred."""
    done: Deferred[Any] = Deferred()
    done.errback(Failure())
    return done


def _now(result: Awaitable[T]) -> T:
    """What a coroutine gives that has nothing to wait for."""
    done = Deferred.fromCoroutine(cast(Any, result))
    return cast(T, done.result)
