"""What a connection must do about TLS: MTA-STS, DANE, REQUIRETLS, and all of them together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator, IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from twisted_mail_kit.errors import ConfigurationError, Refused, TryLater
from twisted_mail_kit.mail.records import TLSA
from twisted_mail_kit.net.fetch import Fetched
from twisted_mail_kit.smtp.tlspolicy import HostTLS, TLSPolicies, TLSPolicySettings

MX = "mx.example.org"
SECURE = {"mx_authentic": True, "address_authentic": True}


@pytest.fixture
def policies(dns: Any, clock: Any, tmp_path: Path, root: Any) -> TLSPolicies:
    trust = tmp_path / "root.pem"
    trust.write_bytes(root.pem)

    async def fetch(url: str) -> Fetched:
        return Fetched("text/plain", pages[url])

    pages: dict[str, bytes] = {}
    made = TLSPolicies(dns, fetch, clock, tmp_path, TLSPolicySettings(trust=trust))
    made.pages = pages  # type: ignore[attr-defined]
    return made


@pytest.fixture
def sts(dns: Any, policies: Any) -> Callable[..., None]:
    def publish(mode: str, *mx: str) -> None:
        dns.say("_mta-sts.example.org", "TXT", "v=STSv1; id=1;")
        lines = ["version: STSv1", f"mode: {mode}", "max_age: 604800", *(f"mx: {one}" for one in mx)]
        policies.pages["https://mta-sts.example.org/.well-known/mta-sts.txt"] = "\n".join(lines).encode()

    return publish


def promise(dns: Any, certificate: Any, usage: int = 3, host: str = MX, authentic: bool = True) -> None:
    digest = hashlib.sha256(certificate.spki).digest()
    dns.say(f"_25._tcp.{host}", "TLSA", TLSA(usage, 1, 1, digest), authentic=authentic)


@pytest.fixture
def host_tls(policies: TLSPolicies, now: Any) -> Callable[..., HostTLS]:
    def get(host: str = MX, require_tls: bool = False, **facts: Any) -> HostTLS:
        return now(now(policies.policy_for("example.org", require_tls)).for_host(host, **facts))

    return get


# --- nothing said ---


def test_without_any_policy_tls_is_opportunistic(
    host_tls: Any, handshake: Any, certify: Any, policies: Any, now: Any
) -> None:
    host = host_tls()
    assert (host.must_encrypt, host.means, host.needs_requiretls) == (False, "opportunistic", False)
    assert now(policies.policy_for("example.org")).allows_mx("anything.example.com")
    connection = handshake(host.context, certify("elsewhere.org", days=(-60, -30)))
    assert host.verify(connection) is None
    assert handshake.server_names == [MX.encode()]


def test_the_context_is_what_twisted_takes(host_tls: Any) -> None:
    assert IOpenSSLClientConnectionCreator.providedBy(host_tls().context)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "[192.0.2.1]"])
def test_addresses_are_not_named_in_the_handshake(policies: Any, handshake: Any, certify: Any, host: str) -> None:
    handshake(policies.opportunistic(host).context, certify("x.org"))
    assert handshake.server_names in ([], [None])


def test_an_address_literal_has_no_policy(policies: Any, now: Any, dns: Any) -> None:
    policy = now(policies.policy_for("[192.0.2.1]"))
    assert not now(policy.for_host("192.0.2.1")).must_encrypt
    assert not dns.asked


# --- MTA-STS ---


def test_sts_enforce(
    sts: Any, host_tls: Any, handshake: Any, policies: Any, now: Any, leaf: Any, middle: Any, certify: Any
) -> None:
    sts("enforce", MX, "*.example.net")
    policy = now(policies.policy_for("example.org"))
    assert policy.allows_mx(MX)
    assert policy.allows_mx("A.example.NET")
    assert not policy.allows_mx("evil.example.com")
    assert policy.mx_status("evil.example.com").code == "4.7.5"
    host = host_tls()
    assert (host.must_encrypt, host.means) == (True, "mta-sts")
    assert host.verify(handshake(host.context, leaf, middle)) is None
    problem = host.verify(handshake(host.context, certify(MX)))
    assert problem is not None
    assert "not trusted" in problem
    assert host.status(problem) == ("4.7.5", problem, 0, "")


@pytest.mark.parametrize(
    ("names", "days", "problem"),
    [
        ((MX,), (-1, 1), None),
        (("*.example.org",), (-1, 1), None),
        (("example.org",), (-1, 1), "not for mx.example.org"),
        (("*.org",), (-1, 1), "not for mx.example.org"),
        ((), (-1, 1), "not for mx.example.org"),
        ((MX,), (-9, -1), "expired"),
        ((MX,), (1, 9), "not yet valid"),
    ],
)
def test_certificates_under_sts(
    sts: Any, host_tls: Any, handshake: Any, middle: Any, certify: Any, names: Any, days: Any, problem: str | None
) -> None:
    sts("enforce", MX)
    host = host_tls()
    shown = certify(*names, subject=MX, by=middle, days=days)
    found = host.verify(handshake(host.context, shown, middle))
    assert (found is None) if problem is None else (problem in found)


def test_sts_testing_tells_but_does_not_stop(
    sts: Any, host_tls: Any, handshake: Any, policies: Any, now: Any, certify: Any
) -> None:
    sts("testing", MX)
    assert now(policies.policy_for("example.org")).allows_mx("evil.example.com")
    host = host_tls()
    assert (host.must_encrypt, host.means) == (False, "mta-sts testing")
    with logged() as events:
        assert host.verify(handshake(host.context, certify(MX))) is None
    assert "not trusted" in events[0]["problem"]


def test_sts_none(sts: Any, host_tls: Any, policies: Any, now: Any) -> None:
    sts("none")
    assert now(policies.policy_for("example.org")).allows_mx("any.example.com")
    assert host_tls().means == "opportunistic"


def test_sts_can_be_switched_off(dns: Any, clock: Any, now: Any) -> None:
    never: Any = None
    for made in (TLSPolicies(dns, never, clock), TLSPolicies(dns, fail, clock, None, TLSPolicySettings(mta_sts=False))):
        assert now(made.policy_for("example.org")).sts is None
    assert not dns.asked


async def fail(url: str) -> Fetched:
    raise AssertionError


# --- DANE ---


def test_dane(dns: Any, host_tls: Any, handshake: Any, certify: Any) -> None:
    own = certify("whatever.example.com", days=(-60, -30))
    promise(dns, own)
    host = host_tls(**SECURE)
    assert (host.must_encrypt, host.means) == (True, "dane")
    assert host.verify(handshake(host.context, own)) is None
    problem = host.verify(handshake(host.context, certify(MX)))
    assert problem is not None
    assert host.status(problem).code == "4.7.5"
    assert handshake.server_names[0] == MX.encode()


def test_dane_under_an_authority_takes_the_domains_name_too(
    dns: Any, host_tls: Any, handshake: Any, middle: Any, certify: Any
) -> None:
    promise(dns, middle, usage=2)
    host = host_tls(**SECURE)
    for name, good in ((MX, True), ("example.org", True), ("example.com", False)):
        assert (host.verify(handshake(host.context, certify(name, by=middle), middle)) is None) is good


@pytest.mark.parametrize("facts", [{}, {"mx_authentic": True}, {"address_authentic": True}])
def test_dane_needs_authentic_answers_all_the_way(dns: Any, host_tls: Any, certify: Any, facts: Any) -> None:
    promise(dns, certify(MX))
    assert host_tls(**facts).means == "opportunistic"
    assert ("_25._tcp.mx.example.org", "TLSA") not in dns.asked
    promise(dns, certify(MX), authentic=False)
    assert host_tls(**SECURE).means == "opportunistic"


def test_no_tlsa_records_no_dane(host_tls: Any) -> None:
    assert host_tls(**SECURE).means == "opportunistic"


def test_tlsa_records_that_cannot_be_had_may_be_hidden(dns: Any, host_tls: Any) -> None:
    dns.fail("_25._tcp.mx.example.org", "TLSA")
    with pytest.raises(TryLater) as said:
        host_tls(**SECURE)
    assert said.value.status.code == "4.7.5"
    assert host_tls().means == "opportunistic"


def test_only_unusable_records_still_want_encryption(dns: Any, host_tls: Any, handshake: Any, certify: Any) -> None:
    dns.say("_25._tcp.mx.example.org", "TLSA", TLSA(1, 1, 1, bytes(32)), TLSA(0, 1, 1, bytes(32)), authentic=True)
    host = host_tls(**SECURE)
    assert (host.must_encrypt, host.means) == (True, "encrypt")
    assert host.verify(handshake(host.context, certify("x.org"))) is None


def test_where_a_cname_leads_is_asked_first(dns: Any, host_tls: Any, handshake: Any, certify: Any) -> None:
    promise(dns, own := certify("x.org"), host="real.example.net")
    host = host_tls(**SECURE, address_name="real.example.net")
    assert host.means == "dane"
    assert host.verify(handshake(host.context, own)) is None
    assert handshake.server_names == [b"real.example.net"]
    dns.answers.clear()
    promise(dns, own)
    assert host_tls(**SECURE, address_name="real.example.net").means == "dane"
    assert host_tls(**SECURE, address_name="real.example.net").host == MX


def test_dane_can_be_switched_off(dns: Any, clock: Any, now: Any, certify: Any) -> None:
    promise(dns, certify(MX))
    made = TLSPolicies(dns, None, clock, None, TLSPolicySettings(dane=False))
    assert now(now(made.policy_for("example.org")).for_host(MX, **SECURE)).means == "opportunistic"


def test_dane_goes_before_sts_but_the_mx_must_be_named(
    dns: Any, sts: Any, host_tls: Any, handshake: Any, policies: Any, now: Any, certify: Any, leaf: Any, middle: Any
) -> None:
    # RFC 8461 2: a policy must not override a DANE failure.
    sts("enforce", MX)
    promise(dns, own := certify(MX))
    host = host_tls(**SECURE)
    assert host.means == "dane"
    assert host.verify(handshake(host.context, own)) is None
    assert host.verify(handshake(host.context, leaf, middle))
    assert not now(policies.policy_for("example.org")).allows_mx("other.example.com")


def test_unusable_records_do_not_weaken_sts(dns: Any, sts: Any, host_tls: Any) -> None:
    sts("enforce", MX)
    dns.say("_25._tcp.mx.example.org", "TLSA", TLSA(1, 1, 1, bytes(32)), authentic=True)
    assert host_tls(**SECURE).means == "mta-sts"


# --- REQUIRETLS ---


def test_requiretls_with_sts(sts: Any, host_tls: Any, handshake: Any, leaf: Any, middle: Any, certify: Any) -> None:
    for mode in ("enforce", "testing"):
        sts(mode, MX)
        host = host_tls(require_tls=True)
        assert (host.must_encrypt, host.needs_requiretls, host.means) == (True, True, "mta-sts")
        assert host.verify(handshake(host.context, leaf, middle)) is None
        problem = host.verify(handshake(host.context, certify(MX)))
        assert problem is not None
        assert host.status(problem)[::2] == ("5.7.10", 550)


def test_requiretls_with_dane(dns: Any, host_tls: Any, handshake: Any, certify: Any) -> None:
    promise(dns, own := certify(MX))
    host = host_tls(require_tls=True, **SECURE)
    assert (host.must_encrypt, host.needs_requiretls, host.means) == (True, True, "dane")
    assert host.verify(handshake(host.context, own)) is None


def test_requiretls_with_an_authentic_mx_wants_a_good_certificate(
    dns: Any, host_tls: Any, handshake: Any, leaf: Any, middle: Any, certify: Any
) -> None:
    dns.say("_25._tcp.mx.example.org", "TLSA", TLSA(1, 1, 1, bytes(32)), authentic=True)
    for facts in (SECURE, {"mx_authentic": True}):
        host = host_tls(require_tls=True, **facts)
        assert (host.must_encrypt, host.needs_requiretls, host.means) == (True, True, "pkix")
        assert host.verify(handshake(host.context, leaf, middle)) is None
        assert host.verify(handshake(host.context, certify(MX)))


def test_requiretls_where_nothing_vouches_for_the_mx(sts: Any, host_tls: Any, policies: Any, now: Any) -> None:
    with pytest.raises(Refused) as said:
        host_tls(require_tls=True)
    assert said.value.status[::2] == ("5.7.10", 550)
    sts("enforce", MX)
    with pytest.raises(Refused):
        host_tls("evil.example.com", require_tls=True)
    assert now(policies.policy_for("example.org", require_tls=True)).mx_status("evil").code == "5.7.10"


# --- for smarthosts, and odds and ends ---


def test_a_smarthost_by_name_or_address(policies: Any, handshake: Any, leaf: Any, middle: Any) -> None:
    host = policies.verified(MX)
    assert host.must_encrypt
    assert host.verify(handshake(host.context, leaf, middle)) is None
    assert policies.verified("other.example.org").verify(handshake(host.context, leaf, middle))
    assert policies.verified("192.0.2.1").verify(handshake(host.context, leaf, middle))
    assert policies.encrypted(MX).must_encrypt


def test_a_check_that_breaks_is_a_problem_and_not_an_exception(policies: Any) -> None:
    broken: Any = object()
    with logged() as events:
        assert policies.verified(MX).verify(broken) == "the certificate could not be checked"
    assert events[0]["host"] == MX


def test_a_file_of_authorities_that_is_none(dns: Any, clock: Any, tmp_path: Path) -> None:
    for name, octets in (("none.pem", None), ("bad.pem", b"nonsense")):
        if octets is not None:
            (tmp_path / name).write_bytes(octets)
        with pytest.raises(ConfigurationError, match=name):
            TLSPolicies(dns, None, clock, None, TLSPolicySettings(trust=tmp_path / name))


def test_the_systems_authorities_are_trusted_by_default_and_ours_not(
    dns: Any, clock: Any, handshake: Any, leaf: Any, middle: Any
) -> None:
    host = TLSPolicies(dns, None, clock).verified(MX)
    assert "not trusted" in (host.verify(handshake(host.context, leaf, middle)) or "")


def test_stop_writes_the_policies(sts: Any, policies: Any, now: Any, tmp_path: Path) -> None:
    sts("enforce", MX)
    now(policies.policy_for("example.org"))
    now(policies.stop())
    assert "example.org" in (tmp_path / "mta-sts.json").read_text()


async def test_with_starttls_of_twisted_on_a_real_socket(policies: Any, leaf: Any, middle: Any, certify: Any) -> None:
    for chain, good in ((leaf, middle), True), ((certify(MX),), False):
        connection = await shake_hands_on_a_socket(policies.verified(MX), chain)
        assert (policies.verified(MX).verify(connection) is None) is good


async def shake_hands_on_a_socket(host: HostTLS, chain: Any) -> Any:
    """As the relay does: connect in clear text, startTLS, wait for the handshake, take the handle."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(chain[0].certificate)
    context.use_privatekey(chain[0].key)
    for one in chain[1:]:
        context.add_extra_chain_cert(one.certificate)

    @implementer(IOpenSSLContextFactory)
    class Certificates:
        def getContext(self) -> SSL.Context:
            return context

    @implementer(IHandshakeListener)
    class Client(Protocol):
        def connectionMade(self) -> None:
            self.transport.startTLS(host.context)

        def handshakeCompleted(self) -> None:
            shaken.callback(self.transport.getHandle())

        def connectionLost(self, reason: Any = None) -> None:
            ended.callback(None)

    class Server(Protocol):
        def connectionMade(self) -> None:
            self.transport.startTLS(Certificates())

        def dataReceived(self, data: bytes) -> None:
            self.transport.loseConnection()

    shaken: Deferred[Any] = Deferred()
    ended: Deferred[None] = Deferred()
    port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    client = await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(Factory.forProtocol(Client))
    try:
        return await shaken
    finally:
        client.transport.write(b"bye")
        await ended
        await port.stopListening()


class logged:
    def __enter__(self) -> list[dict[str, Any]]:
        from twisted.logger import globalLogPublisher

        self.publisher, self.events = globalLogPublisher, []
        self.publisher.addObserver(self.events.append)
        return self.events

    def __exit__(self, *args: object) -> None:
        self.publisher.removeObserver(self.events.append)
