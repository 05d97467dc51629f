"""DANE: TLSA records against certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from twisted_mail_kit.mail.records import TLSA
from twisted_mail_kit.smtp.policies.dane import check_dane_chain, usable

NAMES = ["mx.example.org", "example.org"]


def record(usage: int, selector: int, matching: int, certificate: Any) -> TLSA:
    octets = certificate.spki if selector else certificate.der
    made: Callable[[bytes], bytes] = [
        lambda octets: octets,
        lambda octets: hashlib.sha256(octets).digest(),
        lambda octets: hashlib.sha512(octets).digest(),
    ][matching]
    return TLSA(usage, selector, matching, made(octets))


FORMS = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


@pytest.mark.parametrize(("selector", "matching"), FORMS)
def test_the_servers_own_certificate(leaf: Any, certify: Any, selector: int, matching: int) -> None:
    promised = usable([record(3, selector, matching, leaf)])
    assert check_dane_chain(leaf.chain(), promised, NAMES) is None
    other = certify("mx.example.org")
    assert "TLSA" in (check_dane_chain(other.chain(), promised, NAMES) or "")
    # Only the server's own counts, not one that it shows along with it.
    assert check_dane_chain(other.chain(leaf), promised, NAMES)


def test_of_the_servers_own_certificate_neither_names_nor_dates_count(certify: Any) -> None:
    old = certify("elsewhere.example.com", days=(-60, -30), usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    assert check_dane_chain(old.chain(), [record(3, 1, 1, old)], NAMES) is None


@pytest.mark.parametrize(("selector", "matching"), FORMS)
def test_an_authority_that_the_server_shows(
    root: Any, middle: Any, leaf: Any, certify: Any, selector: int, matching: int
) -> None:
    for anchor in (root, middle):
        promised = usable([record(2, selector, matching, anchor)])
        assert check_dane_chain(leaf.chain(middle, root), promised, NAMES) is None
        assert check_dane_chain(certify("mx.example.org").chain(middle, root), promised, NAMES)


def test_an_authority_that_is_in_the_record_need_not_be_shown(root: Any, middle: Any, leaf: Any) -> None:
    assert check_dane_chain(leaf.chain(middle), [record(2, 0, 0, root)], NAMES) is None
    assert check_dane_chain(leaf.chain(), [record(2, 0, 0, middle)], NAMES) is None
    assert check_dane_chain(leaf.chain(), [record(2, 0, 0, root)], NAMES)  # the link is missing
    assert check_dane_chain(leaf.chain(middle), [record(2, 0, 1, root)], NAMES)  # a digest cannot stand in


@pytest.mark.parametrize(
    ("names", "subject", "good"),
    [
        (("mx.example.org",), "", True),
        (("MX.Example.ORG",), "", True),
        (("example.org",), "", True),
        (("*.example.org",), "", True),
        (("*.mx.example.org",), "", False),
        (("mx.example.com",), "mx.example.org", False),
        ((), "mx.example.org", True),
        ((), "mx.example.com", False),
        ((), "Ünicode", False),
        ((), "not a name", False),
    ],
)
def test_under_an_authority_names_count(middle: Any, certify: Any, names: Any, subject: str, good: bool) -> None:
    one = certify(*names, subject=subject, by=middle)
    assert (check_dane_chain(one.chain(middle), [record(2, 1, 1, middle)], NAMES) is None) is good


def test_under_an_authority_dates_and_uses_count(middle: Any, certify: Any) -> None:
    old = certify("mx.example.org", by=middle, days=(-60, -30))
    problem = check_dane_chain(old.chain(middle), [record(2, 1, 1, middle)], NAMES)
    assert problem is not None
    assert "expired" in problem
    client = certify("mx.example.org", by=middle, usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    assert check_dane_chain(client.chain(middle), [record(2, 1, 1, middle)], NAMES)


def test_a_certificate_that_is_no_authority_vouches_for_nobody(middle: Any, certify: Any) -> None:
    no_authority = certify("other.example.org", by=middle)
    under = certify("mx.example.org", by=no_authority)
    assert check_dane_chain(under.chain(no_authority, middle), [record(2, 1, 1, middle)], NAMES)


def test_an_authority_of_the_same_name_with_another_key(root: Any, certify: Any) -> None:
    false_root = certify(ca=True, subject="root")
    under = certify("mx.example.org", by=false_root)
    assert check_dane_chain(under.chain(root), [record(2, 0, 1, root)], NAMES)
    assert check_dane_chain(under.chain(false_root, root), [record(2, 0, 1, root)], NAMES)


def test_one_that_fits_is_enough(leaf: Any, middle: Any, certify: Any) -> None:
    records = [record(3, 1, 1, certify("x.org")), record(2, 0, 1, certify("y.org", ca=True)), record(3, 1, 1, leaf)]
    assert check_dane_chain(leaf.chain(middle), records, NAMES) is None


def test_no_certificate_at_all(leaf: Any) -> None:
    assert check_dane_chain([], [record(3, 1, 1, leaf)], NAMES) == "the server showed no certificate"


def test_what_is_usable(leaf: Any) -> None:
    good = [record(usage, selector, 1, leaf) for usage in (2, 3) for selector in (0, 1)]
    bad = [
        record(0, 0, 1, leaf),
        record(1, 1, 1, leaf),
        TLSA(4, 1, 1, bytes(32)),
        TLSA(255, 1, 1, bytes(32)),
        TLSA(3, 2, 1, bytes(32)),
        TLSA(3, 1, 3, bytes(32)),
        TLSA(3, 1, 1, bytes(31)),
        TLSA(3, 1, 2, bytes(32)),
        TLSA(3, 1, 1, b""),
        TLSA(3, 0, 0, b""),
        TLSA(2, 0, 0, b"no certificate"),
    ]
    assert usable([*bad, *good]) == tuple(good)
    assert usable(bad) == ()
    assert len(usable([TLSA(3, 1, 1, number.to_bytes(32, "big")) for number in range(1000)])) <= 100


def test_of_digests_the_strongest_counts(leaf: Any, certify: Any) -> None:
    weak, strong, whole = record(3, 1, 1, leaf), record(3, 1, 2, certify("x.org")), record(3, 1, 0, leaf)
    other = record(2, 1, 1, leaf)
    assert usable([weak, strong, other]) == (strong, other)
    assert usable([weak, whole]) == (weak, whole)
