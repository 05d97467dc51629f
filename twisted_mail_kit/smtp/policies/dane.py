"""DANE for SMTP: whether a certificate is the one that TLSA records promise (RFC 7672, RFC 7671)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL, crypto

from twisted_mail_kit.mail.records import TLSA
from twisted_mail_kit.smtp.policies.certificates import check_chain, check_names

TRUST_ANCHOR: Final = 2  # DANE-TA
END_ENTITY: Final = 3  # DANE-EE

_WHOLE: Final = 0
_LENGTHS: Final = {1: 32, 2: 64}  # SHA2-256, SHA2-512
_MOST_RECORDS: Final = 64


def usable(records: Iterable[TLSA]) -> tuple[TLSA, ...]:
    """Those that count for SMTP: usage 2 or 3, with a selector and a matching type that are known (RFC 7672 3.1).

    Of digests of the same usage and selector only the strongest count (RFC 7671 9): a broken one must not weaken.
    """
    good = [one for one in records if _is_usable(one)]
    strongest = {(one.usage, one.selector): 0 for one in good}
    for one in good:
        strongest[one.usage, one.selector] = max(strongest[one.usage, one.selector], one.matching)
    return tuple(
        one for one in good if one.matching in (_WHOLE, strongest[one.usage, one.selector])
    )[:_MOST_RECORDS]  # fmt: skip


def check_dane(connection: SSL.Connection, records: Sequence[TLSA], names: Sequence[str]) -> str | None:
    """None where one of the `usable` records promises what the other side showed; else why not, in a few words."""
    return check_dane_chain(connection.get_peer_cert_chain() or (), records, names)


def check_dane_chain(chain: Sequence[crypto.X509], records: Sequence[TLSA], names: Sequence[str]) -> str | None:
    """The same for a chain, the server's own certificate first. `names` are those that a certificate under a promised
    authority may be for, the host's first."""
    if not chain:
        return "the server showed no certificate"
    shown = [one.to_cryptography() for one in chain]
    for record in records:
        # RFC 7672 3.1.1: neither names nor dates count, the record says it all.
        if record.usage == END_ENTITY and _matches(record, shown[0]):
            return None
    problem = "the certificate is not the one that the TLSA records promise"
    for record in records:
        if record.usage != TRUST_ANCHOR:
            continue
        for anchor in _anchors(record, shown):
            found = _check_under(chain, anchor, shown[0], names)
            if found is None:
                return None
            problem = found
    return problem


def _check_under(
    chain: Sequence[crypto.X509], anchor: x509.Certificate, leaf: x509.Certificate, names: Sequence[str]
) -> str | None:
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(anchor))
    # The promised authority need not be a root.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return check_chain(chain, store) or check_names(leaf, names, common_name=True)


def _anchors(record: TLSA, shown: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    found = [one for one in shown if _matches(record, one)]
    if not found and (record.selector, record.matching) == (0, _WHOLE):
        # The record holds the whole certificate, so the server need not show it.
        found = [x509.load_der_x509_certificate(record.association)]
    return found


def _is_usable(record: TLSA) -> bool:
    if record.usage not in (TRUST_ANCHOR, END_ENTITY) or record.selector not in (0, 1):
        return False
    if record.matching in _LENGTHS:
        return len(record.association) == _LENGTHS[record.matching]
    if record.matching != _WHOLE or not record.association:
        return False
    if record.selector == 0:
        try:
            x509.load_der_x509_certificate(record.association)
        except ValueError:
            return False
    return True


def _matches(record: TLSA, certificate: x509.Certificate) -> bool:
    if record.selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = _public_key_info(certificate)
    if record.matching == _WHOLE:
        return octets == record.association
    digest = hashlib.sha256(octets) if record.matching == 1 else hashlib.sha512(octets)
    return digest.digest() == record.association


def _public_key_info(certificate: x509.Certificate) -> bytes:
    """SubjectPublicKeyInfo, octet for octet as the certificate has it; b"" for a key of an unknown kind."""
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # cryptography says no in many ways
        return b""
