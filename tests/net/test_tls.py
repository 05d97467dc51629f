"""Certificates: from files and from octets, the whole chain is shown, and what cannot be used is told."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory

from tests.net.handshake import shake_hands
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.net.tls import Certificates, GivenCertificates, self_signed_pem


def parts(hostname: str) -> tuple[bytes, bytes]:
    """Certificate, key."""
    certificate, begin, key = self_signed_pem(hostname).partition(b"-----BEGIN PRIVATE KEY-----")
    return certificate, begin + key


def shown(factory: IOpenSSLContextFactory) -> list[x509.Certificate]:
    """What a client is shown in a handshake."""
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    shake_hands(client, SSL.Connection(factory.getContext(), None))
    return [one.to_cryptography() for one in client.get_peer_cert_chain() or ()]


# The second one stands for an authority between us and a root; nobody checks here that it is.
ONE, KEY = parts("mx.example.org")
CHAIN = ONE + parts("authority.example.org")[0]


@pytest.mark.parametrize(
    ("chain", "key"),
    [(CHAIN, KEY), (CHAIN + KEY, None), (KEY + CHAIN, None), (ONE, KEY)],
    ids=["key apart", "key last", "key first", "one"],
)
def test_the_whole_chain_is_shown_from_files_and_from_octets_without_a_warning(
    chain: bytes, key: bytes | None, tmp_path: Path
) -> None:
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key or b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_files = Certificates(tmp_path / "chain.pem", tmp_path / "key.pem" if key else None)
        from_octets = GivenCertificates(chain, key)
    expected = x509.load_pem_x509_certificates(chain)
    assert shown(from_files) == expected
    assert shown(from_octets) == expected
    assert datetime.datetime.fromtimestamp(from_files.expires(), datetime.UTC) == expected[0].not_valid_after_utc


@pytest.mark.parametrize(
    ("chain", "key"),
    [(b"", KEY), (b"nonsense", KEY), (ONE[:200], KEY), (ONE, KEY[:60]), (ONE, parts("mx.example.org")[1])],
)
def test_what_cannot_be_used_is_told_with_the_files_and_the_old_one_stays(
    chain: bytes, key: bytes, tmp_path: Path
) -> None:
    certificate, private = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.write_bytes(ONE)
    private.write_bytes(KEY)
    certificates = Certificates(certificate, private)
    ends = certificates.expires()
    certificate.write_bytes(chain)
    private.write_bytes(key)
    with pytest.raises(ConfigurationError, match=r"chain\.pem: cannot be used with .*key\.pem"):
        certificates.reload()
    assert certificates.expires() == ends
    assert shown(certificates) == x509.load_pem_x509_certificates(ONE)
    with pytest.raises((ValueError, SSL.Error)):
        GivenCertificates(chain, key)
