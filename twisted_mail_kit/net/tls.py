"""Certificates: loading, renewing without a restart, and saying in a Received field what was agreed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.ssl import CertificateOptions, TLSVersion
from zope.interface import implementer

from twisted_mail_kit.errors import ConfigurationError


@implementer(IOpenSSLContextFactory)
class Certificates:
    """A server's certificate chain and key, read from PEM files; `reload` reads them again for new connections."""

    def __init__(self, certificate: Path, key: Path | None = None) -> None:
        self.certificate = certificate
        self.key = key or certificate
        self._ends = 0.0
        self._context = self._load()

    def reload(self) -> None:
        """Read the files again. On any error the old certificate stays, and ConfigurationError is raised."""
        self._context = self._load()

    def getContext(self) -> SSL.Context:
        """What Twisted asks for each connection."""
        return self._context

    def expires(self) -> float:
        """When the certificate ends, seconds since 1970 UTC."""
        return self._ends

    def _load(self) -> SSL.Context:
        for path in (self.certificate, self.key):
            if not path.is_file():
                raise ConfigurationError([f"{path}: no such file"])
        try:
            context = _new_context()
            context.use_certificate_chain_file(str(self.certificate))
            context.use_privatekey_file(str(self.key))
            context.check_privatekey()
            first = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        except (SSL.Error, ValueError, OSError) as problem:
            raise ConfigurationError([f"{self.certificate}: cannot be used with {self.key}: {problem}"]) from problem
        self._ends = first.not_valid_after_utc.timestamp()
        return context


@implementer(IOpenSSLContextFactory)
class GivenCertificates:
    """As `Certificates`, from the octets of PEM files."""

    def __init__(self, chain: bytes, key: bytes | None = None) -> None:
        """Without a `key` it is among the octets of the chain. Raises whatever OpenSSL and cryptography say."""
        first, *others = x509.load_pem_x509_certificates(chain)
        self._context = _new_context()
        # Not as options of Twisted's: these want pyOpenSSL's own objects, which pyOpenSSL wants no more.
        self._context.use_certificate(first)
        for one in others:
            self._context.add_extra_chain_cert(one)
        private: Any = load_pem_private_key(key or chain, None)  # OpenSSL refuses those kinds that it cannot use
        self._context.use_privatekey(private)
        self._context.check_privatekey()

    def getContext(self) -> SSL.Context:
        """What Twisted asks for each connection."""
        return self._context


def _new_context() -> SSL.Context:
    context: SSL.Context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
    return context


def self_signed(hostname: str) -> GivenCertificates:
    """A certificate that nobody vouches for; for tests."""
    return GivenCertificates(self_signed_pem(hostname))


def self_signed_pem(hostname: str) -> bytes:
    """A certificate that nobody vouches for and its key, for `Certificates` to read; for the demo."""
    import datetime

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def describe_tls(transport: Any) -> str:
    """``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty where that cannot be told (yet)."""
    get_handle = getattr(transport, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    if not isinstance(handle, SSL.Connection):
        return ""
    cipher = handle.get_cipher_name()
    return f"{handle.get_protocol_version_name()} {cipher}" if cipher else ""
