"""Certificates of other mail servers: the client side of TLS, and who vouches for which name."""

from __future__ import annotations

import ipaddress
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, CertificatePattern, DNSPattern, IPAddress_ID, verify_service_identity
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from zope.interface import implementer

from twisted_mail_kit.errors import ConfigurationError


class ClientTLS:
    """The client side of TLS, TLSv1.2 and newer. The handshake takes any certificate: whether it is good enough is
    asked afterwards, and differs by host."""

    def __init__(self) -> None:
        self._context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
        self._context.set_verify(SSL.VERIFY_NONE)

    def to(self, host: str) -> IOpenSSLClientConnectionCreator:
        """For a connection to that host."""
        return _Connections(self._context, host)


@implementer(IOpenSSLClientConnectionCreator)
class _Connections:
    def __init__(self, context: SSL.Context, host: str) -> None:
        self._context = context
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """What Twisted asks for each connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        if _is_name(self._host):  # RFC 6066 3: no addresses
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection


class Authorities:
    """Whom we trust to say who is who: those of a PEM file, or the system's."""

    def __init__(self, file: Path | None = None) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        try:
            if file is None:
                self._context.set_default_verify_paths()
            else:
                self._context.load_verify_locations(str(file))
        except (SSL.Error, OSError) as problem:
            raise ConfigurationError([f"{file}: cannot be used as a list of authorities: {problem}"]) from problem
        store = self._context.get_cert_store()
        assert store is not None
        self.store: crypto.X509Store = store


def check_certificate(connection: SSL.Connection, store: crypto.X509Store, names: Sequence[str]) -> str | None:
    """None where the other side's certificate leads to an authority of `store` and is for one of the `names`; else why
    not, in a few words."""
    chain = connection.get_peer_cert_chain()
    if not chain:
        return "the server showed no certificate"
    return check_chain(chain, store) or check_names(chain[0].to_cryptography(), names)


def check_chain(chain: Sequence[crypto.X509], store: crypto.X509Store) -> str | None:
    """None where the first certificate leads over the others to an authority, all of them valid today."""
    try:
        crypto.X509StoreContext(store, chain[0], list(chain[1:])).verify_certificate()
    except crypto.X509StoreContextError as problem:
        return f"the certificate is not trusted: {_short(problem.args[0])}"
    except crypto.Error:
        return "the certificate is not trusted"
    leaf = chain[0].to_cryptography()
    try:
        usages = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None
    except ValueError:
        return "the certificate has broken extensions"
    if usages.isdisjoint({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}):
        return "the certificate is not for servers"
    return None


def check_names(leaf: x509.Certificate, names: Iterable[str], common_name: bool = False) -> str | None:
    """None where the certificate is for one of the names (RFC 6125: alternative names, with a wildcard for the
    leftmost label). With `common_name`, a certificate without alternative names may name itself in its subject."""
    names = list(names)
    patterns = _patterns(leaf, common_name)
    for name in names if patterns else ():
        wanted: Any = DNS_ID(name) if _is_name(name) else IPAddress_ID(name.strip("[]").removeprefix("IPv6:"))
        try:
            verify_service_identity(patterns, obligatory_ids=[wanted], optional_ids=[])
        except VerificationError:
            continue
        return None
    return f"the certificate is not for {names[0]}"


def _patterns(leaf: x509.Certificate, common_name: bool) -> Sequence[CertificatePattern]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of certificates without alternative names
            patterns = extract_patterns(leaf)
        if patterns or not common_name:
            return patterns
        texts = [str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        return [DNSPattern.from_bytes(text.encode("ascii")) for text in texts]
    except (ValueError, CertificateError):
        return []


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").removeprefix("IPv6:"))
    except ValueError:
        return True
    return False


def _short(problem: object) -> str:
    return "".join(one for one in str(problem) if one.isprintable())[:100]
