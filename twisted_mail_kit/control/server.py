"""The operator's line to a running server: a unix socket in the state folder that takes verbs."""

from __future__ import annotations

import base64
import inspect
import json
import os
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mail_kit.control.place import LOCK, remove_stale, short_address, take_lock
from twisted_mail_kit.control.wire import BadRequest, Request, RequestWire
from twisted_mail_kit.errors import BadSyntax, ConfigurationError, ConnectionEnded, Forbidden, MailError
from twisted_mail_kit.net.factory import ConnectionLimits, SessionFactory
from twisted_mail_kit.net.session import Session

Verb = Callable[..., Awaitable[object]]
"""Called with the request's arguments by name. What it answers must be plain JSON values, or an AsyncIterator of such
values, or of octets. A MailError is told to the operator as it is."""

_ITEMS = 50
"""Items that are written between two looks at how fast the operator's side reads."""


@frozen(kw_only=True)
class ControlLimits:
    """How much the socket takes: it serves a person, not the world."""

    request: int = 256 * 1024
    """Octets of a request."""
    patience: float = 30.0
    """Seconds until the request is whole."""
    still: float = 10.0
    """Seconds between two words to an operator who waits for a verb that takes long."""
    at_once: int = 50
    """Connections."""
    drain: float = 5.0
    """Seconds that verbs get to end in when the server stops."""


class Control:
    """Listens on the socket from `start` to `stop`.

    Who may speak: the server's own user and root, by the socket's mode (0600) and by what the kernel says of the peer.
    The state folder belongs to one running server: a lock that the kernel lets go of when the server dies tells a
    socket that a killed server has left from one that is in use.
    """

    log = Logger()

    def __init__(
        self, path: Path, reactor: Any, verbs: Mapping[str, Verb], limits: ControlLimits | None = None
    ) -> None:
        self.path = path
        self.reactor = reactor
        self.verbs = dict(verbs)
        self.limits = limits or ControlLimits()
        self._factory: SessionFactory | None = None
        self._port: Any = None
        self._lock = self._folder = -1

    def start(self, has_lock: bool = False) -> None:
        """Open the socket; take the lock first, unless its caller has it. Raises ConfigurationError: another server
        runs here, or it cannot be opened."""
        try:
            if not has_lock:
                self._lock = take_lock(self.path.with_name(LOCK))
            self._folder, address = short_address(self.path)
            remove_stale(self.path)
            limits = ConnectionLimits(per_listener=self.limits.at_once)
            self._factory = SessionFactory(lambda: _Conversation(self), self.reactor, limits)
            self._port = self.reactor.listenUNIX(address, self._factory, mode=0o600)
            self._factory.ports.append(self._port)
        except (OSError, CannotListenError) as problem:
            self._let_go()
            raise ConfigurationError([f"{self.path}: the control socket cannot be opened: {problem}"]) from None
        except ConfigurationError:
            self._let_go()
            raise

    async def stop(self) -> None:
        """Take no more requests, let verbs that have begun come to their end, and take the socket away."""
        port, self._port = self._port, None
        if port is not None and self._factory is not None:
            with suppress(FileNotFoundError):  # somebody has taken the file away already
                await port.stopListening()
            over: Deferred[object] = self._factory.drain(self.limits.drain)
            late: Deferred[object] = deferLater(
                self.reactor, self.limits.drain + 1.0
            )  # a verb that hangs is not waited for
            await DeferredList([over, late], fireOnOneCallback=True)
            late.addErrback(lambda _: None).cancel()
        self._let_go()

    def _let_go(self) -> None:
        for one in (self._folder, self._lock):
            if one >= 0:
                os.close(one)
        self._lock = self._folder = -1


class _Conversation(Session):
    """One request and what comes of it."""

    def __init__(self, control: Control) -> None:
        super().__init__(control.reactor, "control")
        self._control = control

    def make_wire(self) -> RequestWire:
        return RequestWire(self._control.limits.request)

    async def run(self) -> None:
        uid = peer_uid(self.transport)
        if uid not in (None, 0, os.geteuid()):
            self.log.warn("control: the user with uid {uid} was turned away", uid=uid)
            self._say_error(Forbidden("only the server's own user and root may speak here"))
            return
        request = await self.inbox.next(self._control.limits.patience, safe_point=True)
        try:
            if isinstance(request, Request):
                await self._answer(request)
            elif isinstance(request, BadRequest):
                raise BadSyntax(request.text)
        except ConnectionEnded:
            raise
        except MailError as problem:
            self._say_error(problem)
        except Exception:
            what = f"control: {request.verb}" if isinstance(request, Request) else "control"
            reference = self.reference(Failure(), what)
            self._say(
                {
                    "error": "Unavailable",
                    "text": f"something broke here; the server's log says more under {reference}",
                    "reference": reference,
                }
            )

    async def _answer(self, request: Request) -> None:
        verb = self._control.verbs.get(request.verb)
        if verb is None:
            known = ", ".join(sorted(self._control.verbs))
            raise BadSyntax(f'the running server does not know "{request.verb}"; it knows {known}')
        try:
            inspect.signature(verb).bind(**request.arguments)
        except TypeError as problem:
            raise BadSyntax(f"{request.verb}: {problem}") from None
        # Arguments are not for the log: one of them may be a password some day.
        self.log.debug("control: {verb}", verb=request.verb)
        still = LoopingCall(self._say_still)
        still.clock = self.clock
        still.start(self._control.limits.still, now=False)
        try:
            await self._do(verb, request)
        finally:
            still.stop()

    async def _do(self, verb: Verb, request: Request) -> None:
        result = await verb(**request.arguments)
        if isinstance(result, AsyncIterator):
            async with aclosing(result) if isinstance(result, AsyncGenerator) else nullcontext():
                await self._say_pieces(result)
            result = None
        self._say({"result": result})

    async def _say_pieces(self, pieces: AsyncIterator[object]) -> None:
        count = 0
        async for piece in pieces:
            count += 1
            if isinstance(piece, bytes):
                self._say({"octets": base64.b64encode(piece).decode()})
            else:
                self._say({"item": piece})
            if isinstance(piece, bytes) or count % _ITEMS == 0:
                await self.outflow.drained()

    def _say_still(self) -> None:
        self._say({"still": True})
        self.outflow.flush()

    def _say_error(self, problem: MailError) -> None:
        self._say({"error": type(problem).__name__, "text": str(problem)})

    def _say(self, value: dict[str, object]) -> None:
        self.outflow.write(json.dumps(value).encode() + b"\n")


def peer_uid(transport: Any) -> int | None:
    """The user at the other end of a unix socket; None where the system does not say (then the mode has to do)."""
    which = getattr(socket, "SO_PEERCRED", None)
    if which is None:
        return None
    credentials = transport.socket.getsockopt(socket.SOL_SOCKET, which, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
