"""Certificates of all kinds, TLS handshakes in memory, and DNS from a table."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.net.handshake import shake_hands
from twisted_mail_kit.errors import ResolutionFailed
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.mail.records import Answer


@dataclass
class Certificate:
    """A certificate, its key, and those who vouch for it."""

    certificate: x509.Certificate
    key: Any
    above: list[Certificate] = field(default_factory=list)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def spki(self) -> bytes:
        return self.certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def x509(self) -> crypto.X509:
        return crypto.X509.from_cryptography(self.certificate)

    def chain(self, *more: Certificate) -> list[crypto.X509]:
        return [one.x509 for one in (self, *more)]


def make_certificate(
    *names: str,
    by: Certificate | None = None,
    ca: bool = False,
    subject: str = "",
    days: tuple[int, int] = (-1, 30),
    usages: list[x509.ObjectIdentifier] | None = None,
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject_name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, subject or (names[0] if names else "an authority"))]
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject_name)
        .issuer_name(by.certificate.subject if by else subject_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if by is not None:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.certificate.public_key())
        builder = builder.add_extension(issuer, critical=False)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
        )
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Certificate(builder.sign(by.key if by else key, hashes.SHA256()), key)


@pytest.fixture(scope="session")
def certify() -> Callable[..., Certificate]:
    return make_certificate


@pytest.fixture(scope="session")
def root() -> Certificate:
    return make_certificate(ca=True, subject="root")


@pytest.fixture(scope="session")
def middle(root: Certificate) -> Certificate:
    return make_certificate(ca=True, subject="middle", by=root)


@pytest.fixture(scope="session")
def leaf(middle: Certificate) -> Certificate:
    return make_certificate("mx.example.org", by=middle, usages=[ExtendedKeyUsageOID.SERVER_AUTH])


@pytest.fixture
def handshake() -> Callable[..., SSL.Connection]:
    """Shake hands in memory; gives the client's connection. `server_names` of the function collects SNI."""

    def shake(creator: Any, *chain: Certificate) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate(chain[0].certificate)
        context.use_privatekey(chain[0].key)
        for one in chain[1:]:
            context.add_extra_chain_cert(one.certificate)
        context.set_tlsext_servername_callback(lambda connection: names.append(connection.get_servername()))
        client: SSL.Connection = creator.clientConnectionForTLS(object())
        shake_hands(client, SSL.Connection(context, None))
        return client

    names: list[bytes | None] = []
    shake.server_names = names  # type: ignore[attr-defined]
    return shake


@implementer(IResolver)
class TableDNS:
    """Answers from a table: Answer, or an exception to raise; all else is not there."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Answer | Exception] = {}
        self.asked: list[tuple[str, str]] = []

    def fail(self, name: str, kind: str) -> None:
        self.answers[name, kind] = ResolutionFailed("no answer")

    def say(self, name: str, kind: str, *records: object, authentic: bool = False) -> None:
        self.answers[name, kind] = Answer(records, name, authentic, ttl=60)

    async def lookup(self, name: str, kind: str) -> Answer:
        self.asked.append((name, kind))
        found = self.answers.get((name, kind), Answer((), name, exists=False))
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def dns() -> TableDNS:
    return TableDNS()


@pytest.fixture
def clock() -> Clock:
    made = Clock()
    made.advance(1_800_000_000)
    return made


@pytest.fixture
def now() -> Callable[[Any], Any]:
    """The result of a coroutine that has nothing to wait for."""

    def run(coroutine: Any) -> Any:
        results: list[Any] = []
        done = Deferred.fromCoroutine(coroutine)
        done.addBoth(results.append)
        assert results, "it waits"
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    return run
