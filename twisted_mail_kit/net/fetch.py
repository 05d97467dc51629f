"""A small HTTPS GET: certificates checked, no redirects, a size limit, a time limit."""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.net.fetched import Fetched, FetchFailed

_HEADER_SIZE: Final = 64 * 1024


class Fetcher:
    """GETs over HTTPS. Certificates are checked for the name in the URL, against the system's authorities, or those of
    `trust` (what `twisted.internet.ssl.trustRootFromCertificates` gives).

    With a `resolver` it is asked for addresses; else the reactor's. A redirect is a failure (RFC 8461 3.3 wants it so).
    """

    def __init__(
        self,
        reactor: Any,
        resolver: IResolver | None = None,
        trust: Any = None,
        size: int = 64 * 1024,
        timeout: float = 60.0,
    ) -> None:
        self._reactor = reactor
        self._size = size
        self._timeout = timeout
        endpoints = _Endpoints(reactor, resolver, trust, size, timeout)
        pool = HTTPConnectionPool(reactor, persistent=False)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, pool=pool)

    async def __call__(self, url: str) -> Fetched:
        """Raises FetchFailed, and nothing else but CancelledError."""
        got = Deferred.fromCoroutine(self._get(url))
        got.addTimeout(self._timeout, self._reactor, onTimeoutCancel=_too_slow)
        try:
            return await got
        except (FetchFailed, CancelledError):
            raise
        except Exception as problem:
            raise FetchFailed(_why(problem)) from problem

    async def _get(self, url: str) -> Fetched:
        if not url.startswith("https://"):
            raise FetchFailed("only https is fetched")
        headers = Headers({b"User-Agent": [b"mailkit"], b"Accept-Encoding": [b"identity"]})
        response: Any = await self._agent.request(b"GET", url.encode("ascii"), headers)
        try:
            if response.code != 200:
                raise FetchFailed(f"the server answered {response.code}")
            if isinstance(response.length, int) and response.length > self._size:
                raise FetchFailed(f"longer than {self._size} octets")
            body = _Body(self._size)
            response.deliverBody(body)
        except FetchFailed:
            _drop(response)
            raise
        octets = await body.whole
        kind = response.headers.getRawHeaders(b"content-type", [b""])[0]
        return Fetched(kind.split(b";")[0].strip().lower().decode("ascii", "replace"), octets)


class _Body(Protocol):
    """The body, until it is too long."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._octets = bytearray()
        self.whole: Deferred[bytes] = Deferred(lambda _: self._stop())

    def dataReceived(self, data: bytes) -> None:
        self._octets += data
        if len(self._octets) > self._size:
            self._octets.clear()
            self._finish(FetchFailed(f"longer than {self._size} octets"))
            self._stop()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        # Without a length, the end of the connection is the end of the page; TLS says whether it was cut.
        whole = reason.check(ResponseDone, PotentialDataLoss)
        self._finish(bytes(self._octets) if whole else FetchFailed("the answer was cut off"))

    def _finish(self, result: bytes | FetchFailed) -> None:
        if not self.whole.called:
            if isinstance(result, bytes):
                self.whole.callback(result)
            else:
                self.whole.errback(result)

    def _stop(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            # To TLS this is the end without a farewell: loseConnection would wait for the other side's.
            transport.stopProducing()


def _drop(response: IResponse) -> None:
    body = _Body(0)
    body.whole.addErrback(lambda _: None)
    response.deliverBody(body)
    body._stop()


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, resolver: IResolver | None, trust: Any, size: int, timeout: float) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._trust = trust
        self._size = size
        self._timeout = timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """What the Agent asks for."""
        if uri.scheme != b"https":
            raise FetchFailed("only https is fetched")
        host = uri.host.decode("ascii")
        options = optionsForClientTLS(host, **({} if self._trust is None else {"trustRoot": self._trust}))
        plain: IStreamClientEndpoint
        if self._resolver is None:
            plain = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=self._timeout)
        else:
            plain = _Resolved(self._reactor, self._resolver, host, uri.port)
        return _Limited(wrapClientTLS(options, plain), self._size + _HEADER_SIZE)


@implementer(IStreamClientEndpoint)
class _Limited:
    """twisted.web reads header fields without end; this is the end."""

    def __init__(self, endpoint: IStreamClientEndpoint, size: int) -> None:
        self._endpoint = endpoint
        self._size = size

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """As endpoints do."""
        connected: Deferred[Any] = self._endpoint.connect(_Counted(protocolFactory, self._size))
        return connected.addCallback(lambda counting: counting.wrappedProtocol)


class _Counting(ProtocolWrapper):
    factory: _Counted

    def dataReceived(self, data: bytes) -> None:
        self.factory.left -= len(data)
        if self.factory.left >= 0:
            self.wrappedProtocol.dataReceived(data)
        else:
            self.transport.abortConnection()  # type: ignore[union-attr]


class _Counted(WrappingFactory):
    noisy = False
    protocol = _Counting

    def __init__(self, factory: IProtocolFactory, left: int) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self.left = left


@implementer(IStreamClientEndpoint)
class _Resolved:
    """A host by our own resolver: its addresses in turn, until one answers."""

    def __init__(self, reactor: Any, resolver: IResolver, host: str, port: int) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._host = host
        self._port = port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """As endpoints do."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        last: Exception = FetchFailed("the host has no address")
        for kind, endpoint in (("A", TCP4ClientEndpoint), ("AAAA", TCP6ClientEndpoint)):
            try:
                answer = await self._resolver.lookup(self._host, kind)
            except ResolutionFailed as problem:
                last = problem
                continue
            for address in answer.records[:4]:
                try:
                    return await maybeDeferred(
                        endpoint(self._reactor, str(address), self._port, timeout=15).connect, factory
                    )
                except ConnectError as problem:
                    last = problem
        raise last


def _too_slow(result: Any, timeout: float) -> Any:
    raise FetchFailed(f"no answer within {timeout:g} seconds")


def _why(problem: Exception) -> str:
    """In a few words, without the traceback-like texts of twisted.web's wrapped failures."""
    for one in getattr(problem, "reasons", ()):
        if one.check(VerificationError):
            return "TLS failed: the certificate is for another name"
        if one.check(SSL.Error):
            return f"TLS failed: {str(one.value)[:150]}"
        if one.check(ConnectionLost):
            return "the connection was lost, or the header too long"
        return type(one.value).__name__
    if isinstance(problem, ResolutionFailed):
        return "the host's address cannot be looked up"
    return f"{type(problem).__name__}"
