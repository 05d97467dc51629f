"""The HTTPS GET against a real server on loopback, good, slow, endless and false."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from twisted_mail_kit.errors import ResolutionFailed, Unavailable
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.mail.records import Answer
from twisted_mail_kit.net.fetch import Fetched, Fetcher, FetchFailed
from twisted_mail_kit.net.tls import GivenCertificates, self_signed_pem

NAME = "mta-sts.example.org"


@implementer(IResolver)
class Loopback:
    """Every name is 127.0.0.1."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses or ("127.0.0.1",)

    async def lookup(self, name: str, kind: str) -> Answer:
        if not self.addresses[0]:
            raise ResolutionFailed("no answer")
        return Answer(self.addresses if kind == "A" else (), name)


class Page(Resource):
    isLeaf = False

    def __init__(self, render: Any) -> None:
        super().__init__()
        self.render = render


class Server:
    """Pages by path; counts open connections."""

    def __init__(self, pem: bytes) -> None:
        self.certificate = GivenCertificates(pem)
        self.trust = trustRootFromCertificates([Certificate.loadPEM(pem)])
        self.root = Resource()
        self.site = Site(self.root)
        self.port = 0

    def page(self, name: bytes, render: Any) -> str:
        self.root.putChild(name, Page(render))
        return self.url(name.decode())

    def url(self, path: str, host: str = NAME) -> str:
        return f"https://{host}:{self.port}/{path}"

    def fetcher(self, *addresses: str, **more: Any) -> Fetcher:
        more.setdefault("trust", self.trust)
        return Fetcher(reactor, Loopback(*addresses), **more)


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[Server]:
    made = Server(self_signed_pem(NAME))
    endpoint = SSL4ServerEndpoint(reactor, 0, made.certificate, interface="127.0.0.1")
    port = await endpoint.listen(made.site)
    made.port = port.getHost().port
    yield made
    await port.stopListening()
    await deferLater(reactor, 0.05)
    # Whatever happened, nothing of ours stays connected.
    assert not [one for one in reactor.getReaders() if getattr(one, "server", None) and one.connected]


async def why(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchFailed) as said:
        await fetcher(url)
    assert isinstance(said.value, Unavailable)
    return str(said.value)


async def test_a_page(server: Server) -> None:
    def render(request: Any) -> bytes:
        assert request.getHeader("host") == f"{NAME}:{server.port}"
        request.setHeader("content-type", "Text/Plain; charset=utf-8")
        return b"version: STSv1\r\n"

    assert await server.fetcher()(server.page(b"a", render)) == Fetched("text/plain", b"version: STSv1\r\n")


async def test_addresses_are_tried_in_turn(server: Server) -> None:
    url = server.page(b"a", lambda request: b"yes")
    # Nobody listens on the first.
    assert (await server.fetcher("127.0.0.2", "127.0.0.1")(url)).body == b"yes"
    assert await why(server.fetcher("127.0.0.2"), url) == "ConnectionRefusedError"


async def test_a_name_without_addresses(server: Server) -> None:
    fetcher = server.fetcher("")
    assert await why(fetcher, server.url("a")) == "the host's address cannot be looked up"


async def test_without_a_resolver_the_reactors_is_asked(server: Server) -> None:
    fetcher = Fetcher(reactor, trust=server.trust)
    # It gets there, and the certificate is for another name.
    assert "TLS" in await why(fetcher, server.url("a", host="localhost"))


@pytest.mark.parametrize("code", [204, 301, 302, 307, 308, 403, 404, 500])
async def test_whatever_is_not_200_is_a_failure(server: Server, code: int) -> None:
    def render(request: Any) -> bytes:
        request.setResponseCode(code)
        request.setHeader("location", server.url("b"))
        asked.append(request.path)
        return b"" if code == 204 else b"x" * 1_000_000

    asked: list[bytes] = []
    server.page(b"b", render)
    assert await why(server.fetcher(), server.page(b"a", render)) == f"the server answered {code}"
    assert asked == [b"/a"]


@pytest.mark.parametrize("how", ["length", "chunked", "endless"])
async def test_a_long_page_is_not_read_to_its_end(server: Server, how: str) -> None:
    class Endless:
        def __init__(self, request: Any) -> None:
            self.request = request
            request.registerProducer(self, False)

        def resumeProducing(self) -> None:
            self.request.write(b"x" * 10_000)

        def stopProducing(self) -> None:
            stopped.append(True)

    def render(request: Any) -> Any:
        if how == "length":
            return b"x" * 70_000
        if how == "chunked":
            for _ in range(7):
                request.write(b"x" * 10_000)
            request.finish()
        else:
            Endless(request)
        return NOT_DONE_YET

    stopped: list[bool] = []
    fetcher = server.fetcher(size=65_536)
    assert await why(fetcher, server.page(b"a", render)) == "longer than 65536 octets"
    if how == "endless":
        await deferLater(reactor, 0.1)
        assert stopped


async def test_a_page_of_just_that_size(server: Server) -> None:
    page = await server.fetcher()(server.page(b"a", lambda request: b"x" * 65_536))
    assert len(page.body) == 65_536


@pytest.mark.parametrize("how", ["silent", "header", "body"])
async def test_a_slow_server_has_only_so_much_time(server: Server, how: str) -> None:
    def render(request: Any) -> Any:
        if how == "body":
            request.write(b"x")
        request.notifyFinish().addErrback(lambda _: gone.append(True))
        return NOT_DONE_YET

    gone: list[bool] = []
    began = reactor.seconds()
    assert await why(server.fetcher(timeout=0.3), server.page(b"a", render)) == "no answer within 0.3 seconds"
    assert reactor.seconds() - began < 2
    await deferLater(reactor, 0.1)
    assert gone


async def test_a_page_that_is_cut_off(server: Server) -> None:
    def render(request: Any) -> Any:
        request.setHeader("content-length", "1000")
        request.write(b"x" * 500)
        reactor.callLater(0.05, request.transport.abortConnection)
        return NOT_DONE_YET

    assert await why(server.fetcher(), server.page(b"a", render)) == "the answer was cut off"


async def test_certificates_are_checked(server: Server) -> None:
    url = server.page(b"a", lambda request: b"no")
    assert "certificate verify failed" in await why(server.fetcher(trust=None), url)
    other = trustRootFromCertificates([Certificate.loadPEM(self_signed_pem(NAME))])
    assert "TLS failed" in await why(server.fetcher(trust=other), url)
    elsewhere = server.url("a", host="mta-sts.example.com")
    assert "TLS failed" in await why(server.fetcher(), elsewhere)


@pytest.mark.parametrize(
    "url", ["http://mta-sts.example.org/", "ftp://x/", "", "https://", "https://exämple.org/", "https://a b/"]
)
async def test_what_is_no_https_url(server: Server, url: str) -> None:
    assert await why(server.fetcher(), url)


async def test_a_server_that_speaks_no_http() -> None:
    class Nonsense(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(b"220 mx.example.org ESMTP\r\n" * 10_000)

    pem = self_signed_pem(NAME)
    given = GivenCertificates(pem)
    port = await SSL4ServerEndpoint(reactor, 0, given, interface="127.0.0.1").listen(Factory.forProtocol(Nonsense))
    try:
        trust = trustRootFromCertificates([Certificate.loadPEM(pem)])
        fetcher = Fetcher(reactor, Loopback(), trust=trust, timeout=5)
        assert await why(fetcher, f"https://{NAME}:{port.getHost().port}/")
    finally:
        await port.stopListening()
        await deferLater(reactor, 0.05)


async def test_a_header_without_end() -> None:
    class Header(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\n")
            self.more()

        def more(self) -> None:
            if self.connected and self.transport is not None:
                self.transport.write(b"X-More: " + b"x" * 1000 + b"\r\n")
                self.written = getattr(self, "written", 0) + 1
                self.later = reactor.callLater(0, self.more)

        def connectionLost(self, reason: Any = None) -> None:
            self.later.cancel()
            ended.append(self.written)

    ended: list[int] = []
    pem = self_signed_pem(NAME)
    given = GivenCertificates(pem)
    port = await SSL4ServerEndpoint(reactor, 0, given, interface="127.0.0.1").listen(Factory.forProtocol(Header))
    try:
        trust = trustRootFromCertificates([Certificate.loadPEM(pem)])
        fetcher = Fetcher(reactor, Loopback(), trust=trust, timeout=10)
        assert (
            await why(fetcher, f"https://{NAME}:{port.getHost().port}/")
            == "the connection was lost, or the header too long"
        )
        await deferLater(reactor, 0.1)
        assert ended[0] < 2000
    finally:
        await port.stopListening()
        await deferLater(reactor, 0.05)
