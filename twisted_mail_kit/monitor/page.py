"""``GET /metrics`` over HTTP, and nothing else."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import INTERNAL_SERVER_ERROR, NOT_ALLOWED, NOT_FOUND
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from twisted_mail_kit.mail.trace import new_trace_id
from twisted_mail_kit.monitor.exposition import exposition
from twisted_mail_kit.monitor.gathering import Gathering

PATIENCE = 30
"""Seconds of silence, after which a connection is closed."""
MOST = 50
"""Connections at a time."""


class MetricsPage(Resource):
    """The one page, at ``/metrics``."""

    log = Logger()
    isLeaf = True

    def __init__(self, gathering: Gathering) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._gathering = gathering

    def render(self, request: Any) -> Any:
        """twisted.web asks."""
        request.setHeader(b"server", b"mailkit")
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-content-type-options", b"nosniff")
        request.setHeader(b"content-security-policy", b"default-src 'none'")
        if request.path != b"/metrics":
            return _say(request, NOT_FOUND, "There is nothing here but /metrics.")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return _say(request, NOT_ALLOWED, "GET it.")
        answering = Deferred.fromCoroutine(self._answer(request))
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(self._broken, request)
        return NOT_DONE_YET

    async def _answer(self, request: Any) -> None:
        accept = request.getHeader("accept") or ""
        gathered = await self._gathering.now()
        text, content_type = await deferToThread(exposition, gathered, accept)
        request.setHeader(b"content-type", content_type.encode("ascii"))
        request.setHeader(b"content-length", b"%d" % len(text))
        if request.method != b"HEAD":
            request.write(text)
        request.finish()

    def _broken(self, failure: Failure, request: Any) -> None:
        if request._disconnected or request.finished:
            return  # nobody is there any more
        reference = new_trace_id(self._gathering.server.reactor.seconds())
        self.log.failure("the page of metrics failed, reference {reference}", failure, reference=reference)
        request.write(_say(request, INTERNAL_SERVER_ERROR, f"Something broke here, reference {reference}."))
        request.finish()


def _say(request: Any, code: int, text: str) -> bytes:
    octets = f"{text}\n".encode()
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    request.setHeader(b"content-length", b"%d" % len(octets))
    return octets


class _Bodiless(Request):
    """Nobody has anything to tell us: what comes as a body is not kept."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        pass


class _Few(Site):
    """At most so many connections."""

    _count = 0

    def buildProtocol(self, addr: Any) -> Any:
        if self._count >= MOST:
            return None
        channel: Any = super().buildProtocol(addr)  # type: ignore[no-untyped-call]
        self._count += 1
        lost = channel.connectionLost

        def gone(reason: Any) -> None:
            self._count -= 1
            lost(reason)

        channel.connectionLost = gone
        return channel


async def open_page(gathering: Gathering, reactor: Any, endpoint: Any) -> IListeningPort:
    """Listen. Raises what the endpoint raises where it cannot."""
    make: Any = _Few
    site = make(MetricsPage(gathering), reactor=reactor, timeout=PATIENCE, requestFactory=_Bodiless)
    site.displayTracebacks = site.noisy = False
    site.log = lambda request: None  # it is asked every few seconds
    port: IListeningPort = await endpoint.listen(site)
    return port
