"""MTA-STS on the page: records and policies, good and bad."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_mail_kit.smtp.policies.sts import BadPolicy, STSPolicy, parse_policy, policy_id

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1"], "1"),
        (["v=STSv1 ; id=1 ; more=x"], "1"),
        (["v=spf1 -all", "v=STSv1; id=1;"], "1"),
        (["v=STSv1; id=1; id=2"], "1"),
        ([], None),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=a-b;"], None),
        (["v=STSv1; id=" + "1" * 33], None),
        (["v=STSv1; nonsense; id=1"], None),
        (["v=STSv10; id=1"], None),
        (["V=STSv1; id=1"], None),
        ([" v=STSv1; id=1"], None),
        (["v=STSv1"], None),
    ],
)
def test_the_record(texts: list[str], found: str | None) -> None:
    assert policy_id(texts) == found


@pytest.mark.parametrize(
    "octets",
    [
        GOOD,
        GOOD.replace(b"\r\n", b"\n"),
        GOOD.rstrip(),
        GOOD + b"\r\nnew-thing: whatever\r\n",
        GOOD.replace(b": ", b" :\t").replace(b"\r\n", b"  \r\n"),
        GOOD + b"mode: none\r\nmax_age: 1\r\nversion: STSv2\r\n",  # the first counts
        GOOD.replace(b"mail.example.com", b"MAIL.example.com.") + b"mx: mail.example.com\r\n",
    ],
)
def test_a_policy(octets: bytes) -> None:
    assert parse_policy(octets) == STSPolicy("enforce", 604800, ("mail.example.com", "*.example.net"))


def test_a_policy_of_none_needs_no_mx() -> None:
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 86400\n") == STSPolicy("none", 86400, ())


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html>not found</html>",
        GOOD.replace(b"STSv1", b"STSv2"),
        GOOD.replace(b"version: STSv1\r\n", b""),
        GOOD.replace(b"enforce", b"Enforce"),
        GOOD.replace(b"mode: enforce\r\n", b""),
        GOOD.replace(b"604800", b""),
        GOOD.replace(b"604800", b"-1"),
        GOOD.replace(b"604800", b"1e3"),
        GOOD.replace(b"604800", b"31557601"),
        GOOD.replace(b"604800", "６０４８００".encode()),
        GOOD.replace(b"604800", b"9" * 60_000),
        b"version: STSv1\nmode: enforce\nmax_age: 86400\n",
        GOOD.replace(b"*.example.net", b"*"),
        GOOD.replace(b"*.example.net", b"*.*.example.net"),
        GOOD.replace(b"*.example.net", b"mail.*.example.net"),
        GOOD.replace(b"*.example.net", b"m*.example.net"),
        GOOD.replace(b"*.example.net", b".example.net"),
        GOOD.replace(b"*.example.net", b"192.0.2.1 x"),
        GOOD.replace(b"*.example.net", b""),
        GOOD.replace(b"*.example.net", b"a" * 64 + b".net"),
        GOOD + b"no field\r\n",
        GOOD + b"\xff: \xff\r\n",
        GOOD.replace(b"\r\n", b"\r"),
        GOOD + b"mx: mail.example.com\r\n" * 1001,
    ],
)
def test_what_is_no_policy(octets: bytes) -> None:
    with pytest.raises(BadPolicy) as said:
        parse_policy(octets)
    assert str(said.value)


@given(st.binary(max_size=300) | st.lists(st.sampled_from([*GOOD.split(b"\r\n"), b"mx:", b":"])).map(b"\n".join))
@settings(max_examples=200)
def test_nonsense_is_a_policy_or_none(octets: bytes) -> None:
    try:
        parse_policy(octets)
    except BadPolicy:
        pass


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.example.com", True),
        ("MAIL.Example.com.", True),
        ("a.example.net", True),
        ("A.EXAMPLE.NET", True),
        ("a.b.example.net", False),
        ("example.net", False),
        (".example.net", True),  # no host name; the resolver has no such thing
        ("mail.example.com.evil.org", False),
        ("xmail.example.com", False),
        ("evil.org", False),
        ("", False),
        ("com", False),
    ],
)
def test_which_mx_a_policy_names(host: str, allowed: bool) -> None:
    assert parse_policy(GOOD).allows(host) is allowed
