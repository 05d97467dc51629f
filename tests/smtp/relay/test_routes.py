"""The table of routes: hosts of our choice, how they are protected, who we are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Status
from twisted_mail_kit.smtp.relay import RouteSettings, TargetRoute
from twisted_mail_kit.smtp.relay.routes import Routes
from twisted_mail_kit.smtp.tlspolicy import TLSPolicies
from twisted_mail_kit.testing.fakes import CollectingTarget

ALL = ("PIPELINING", "SIZE 1000000", "8BITMIME", "DSN")


def to(text: str) -> Recipient:
    return Recipient(parse_address(text))


class Trusting(TLSPolicies):
    """The memory transport has no certificates, so whoever is asked for is who it is."""

    def verified(self, host: str, means: str = "pkix", needs_requiretls: bool = False) -> Any:
        made = self.encrypted(host, means)
        self.asked_for = host
        return made


def test_the_most_exact_pattern_wins() -> None:
    routes = Routes(
        RouteSettings(domain=pattern, host=host)
        for pattern, host in (
            ("*", "all"),
            (".example.org", "below"),
            (".a.example.org", "deeper"),
            ("b.example.org", "exact"),
            ("faß.example", "eszett"),
        )
    )
    for address, host in (
        ("x@example.net", "all"),
        ("x@example.org", "all"),
        ("x@c.example.org", "below"),
        ("x@d.c.example.org", "below"),
        ("x@a.example.org", "below"),
        ("x@c.a.example.org", "deeper"),
        ("x@b.example.org", "exact"),
        ("x@FAß.example", "eszett"),
        ("x@[192.0.2.1]", "all"),
    ):
        assert routes.next_hop(to(address)).destination == f"{host}:25"


def test_without_routes_the_domain_is_the_destination(office: Any) -> None:
    relay = office().relay
    assert relay.destination_of(to("x@Example.ORG")) == "example.org"
    assert relay.destination_of(to("x@faß.example")) == "xn--fa-hia.example"


def test_a_smarthost_is_one_destination_and_one_connection(office: Any, server: Any) -> None:
    there = office(routes=(RouteSettings(host="smart.example.net", port=2525),))
    smart = there.net.host("smart.example.net", "127.0.0.1", server(*ALL), port=2525)
    assert there.relay.destination_of(to("a@example.org")) == "smart.example.net:2525"
    outcomes = there.sends("a@example.org", "b@example.net")
    assert [type(one) for one in outcomes] == [Delivered, Delivered]
    assert len(smart.messages) == 1, "one transaction for both"
    assert ("example.org", "MX") not in there.net.names.asked


def test_a_route_by_mx(office: Any, server: Any) -> None:
    there = office(routes=(RouteSettings(domain="example.org", host="example.net", mx=True),))
    mx = there.mx(server(*ALL), "example.net")
    assert isinstance(there.sends("a@example.org")[0], Delivered)
    assert mx.said[0][2] == "RCPT TO:<a@example.org>"


def test_a_slip_in_our_own_table_bounces_nothing(office: Any) -> None:
    for mx in (False, True):
        there = office(routes=(RouteSettings(host="smrat.example.net", mx=mx),))
        there.net.names.missing.add("smrat.example.net")
        [outcome] = there.sends("a@example.org")
        assert isinstance(outcome, Delayed)
        assert outcome.status.code in ("4.4.4", "4.1.2")


def test_a_python_target(office: Any) -> None:
    target = CollectingTarget()
    target.refusals["no@example.org"] = Refused(Status("5.1.1", "nobody"))
    target.refusals["later@example.org"] = TryLater(Status("4.2.2", "full"))
    there = office(python_routes=(TargetRoute("example.org", target),))
    outcomes = there.sends("a@example.org", "no@example.org", "later@example.org", "b@example.org")
    assert [type(one) for one in outcomes] == [Delivered, Failed, Delayed, Delivered]
    assert target.messages[0].octets == b"Subject: hi\r\n\r\nbody\r\n"
    assert target.open == 0
    target.refusals["commit"] = RuntimeError("secret")
    [outcome] = there.sends("a@example.org")
    assert isinstance(outcome, Delayed)
    assert "secret" not in outcome.status.text


@pytest.mark.parametrize("tls", ["may", "encrypt", "verify"])
def test_starttls_begins_anew(office: Any, server: Any, tls: Any) -> None:
    there = office(routes=(RouteSettings(host="smart.example.net", tls=tls),))
    there.relay._means = there.relay._means._replace(policies=Trusting(there.net.names, None, there.net))
    smart = there.net.host("smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS"))
    assert isinstance(there.sends("a@example.org")[0], Delivered)
    assert [line.split(" ")[0] for line in smart.said[0]][:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert smart.sessions[0].transport.tls_started == 1


def test_none_means_none(office: Any, server: Any) -> None:
    there = office(routes=(RouteSettings(host="smart.example.net", tls="none"),))
    smart = there.net.host("smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS"))
    assert isinstance(there.sends("a@example.org")[0], Delivered)
    assert "STARTTLS" not in smart.said[0]


def test_implicit_tls_comes_before_the_greeting(office: Any, server: Any) -> None:
    there = office(routes=(RouteSettings(host="smart.example.net", port=465, tls="implicit"),))
    there.relay._means = there.relay._means._replace(policies=Trusting(there.net.names, None, there.net))
    smart = there.net.host("smart.example.net", "192.0.2.1", server(*ALL), port=465)
    assert isinstance(there.sends("a@example.org")[0], Delivered)
    assert smart.sessions[0].transport.tls_started == 1
    assert "STARTTLS" not in smart.said[0]


@pytest.mark.parametrize("offers", [(), ("STARTTLS",)])
def test_encrypt_means_encrypt(office: Any, server: Any, offers: Any) -> None:
    there = office(routes=(RouteSettings(host="smart.example.net", tls="encrypt"),))
    smart = there.net.host("smart.example.net", "192.0.2.1", server(*offers, answers={"STARTTLS": "454 4.7.0 not now"}))
    [outcome] = there.sends("a@example.org")
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.7.4"
    assert smart.messages == []


def test_verify_refuses_whom_it_cannot_verify(office: Any, server: Any) -> None:
    there = office(routes=(RouteSettings(host="smart.example.net", tls="verify"),))
    smart = there.net.host("smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS"))
    [outcome] = there.sends("a@example.org")
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.7.5"
    assert not any(line.startswith("MAIL") for line in smart.said[0])


def test_opportunistic_tls_that_fails_is_followed_by_clear_text(office: Any, server: Any) -> None:
    there = office()
    mx = there.mx(server(*ALL, "STARTTLS"))
    mx.answers["EHLO"] = [mx.answer("EHLO"), "(cut)"]
    [outcome] = there.sends("a@example.org")
    assert isinstance(outcome, Delivered)
    assert [len(said) for said in mx.said] == [3, 4]
    assert "STARTTLS" not in mx.said[1]


def test_words_behind_the_go_ahead_to_starttls_do_not_count(office: Any, server: Any) -> None:
    there = office()
    evil = "250-there\r\n250 AUTH PLAIN"
    mx = there.mx(server(*ALL, "STARTTLS", answers={"STARTTLS": f"220 go\r\n{evil}"}))
    [outcome] = there.sends("a@example.org")
    assert isinstance(outcome, Delivered)
    assert mx.said[0][1:3] == ["STARTTLS", "EHLO our.example.com"]
    assert mx.said[0][3].startswith("MAIL FROM:<ann@example.com> SIZE="), "the offers are those under TLS"


# --- who we are ------------------------------------------------------------------------------------------------------


def smart_office(office: Any, tmp_path: Path, secret: str = "geheim\n", **more: Any) -> Any:
    file = tmp_path / "secret"
    file.write_text(secret)
    more.setdefault("password_file", file)
    return office(routes=(RouteSettings(host="smart.example.net", user="joe", tls="encrypt", **more),))


def test_login_with_plain(office: Any, server: Any, tmp_path: Path) -> None:
    there = smart_office(office, tmp_path)
    answers = {"AUTH PLAIN": "235 2.7.0 welcome"}
    smart = there.net.host(
        "smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS", "AUTH LOGIN PLAIN", answers=answers)
    )
    assert isinstance(there.sends("a@example.org")[0], Delivered)
    assert smart.said[0][3] == "AUTH PLAIN AGpvZQBnZWhlaW0="


def test_login_with_login(office: Any, server: Any, tmp_path: Path) -> None:
    there = smart_office(office, tmp_path)
    answers = {"AUTH LOGIN": "334 VXNlcm5hbWU6", "am9l": "334 UGFzc3dvcmQ6", "Z2VoZWlt": "235 2.7.0 welcome"}
    there.net.host("smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS", "AUTH LOGIN", answers=answers))
    assert isinstance(there.sends("a@example.org")[0], Delivered)


def test_login_with_a_token(office: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("ya29.x")
    there = smart_office(office, tmp_path, "ya29.x", password_file=None, token_file=tmp_path / "secret")
    answers = {"AUTH XOAUTH2": "235 2.7.0 welcome"}
    smart = there.net.host(
        "smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS", "AUTH XOAUTH2 PLAIN", answers=answers)
    )
    assert isinstance(there.sends("a@example.org")[0], Delivered)
    assert smart.said[0][3] == "AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgeWEyOS54AQE="


def test_a_refused_login_is_a_delay_and_tells_no_password(office: Any, server: Any, tmp_path: Path) -> None:
    there = smart_office(office, tmp_path)
    answers = {"AUTH": "535 5.7.8 wrong"}
    there.net.host("smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS", "AUTH PLAIN", answers=answers))
    [outcome] = there.sends("a@example.org")
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.7.8"
    assert "535" in outcome.status.text
    assert "geheim" not in outcome.status.text


@pytest.mark.parametrize("offers", [("AUTH PLAIN",), ("STARTTLS",)])
def test_no_password_without_tls_or_without_a_mechanism(office: Any, server: Any, tmp_path: Path, offers: Any) -> None:
    there = smart_office(office, tmp_path)
    smart = there.net.host("smart.example.net", "192.0.2.1", server(*ALL, *offers))
    assert isinstance(there.sends("a@example.org")[0], Delayed)
    assert not any(line.startswith(("AUTH", "MAIL")) for line in smart.said[0])


def test_a_secret_that_cannot_be_read(office: Any, server: Any, tmp_path: Path) -> None:
    there = smart_office(office, tmp_path, password_file=tmp_path / "none")
    there.net.host("smart.example.net", "192.0.2.1", server(*ALL, "STARTTLS", "AUTH PLAIN"))
    [outcome] = there.sends("a@example.org")
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.3.5"


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "joe"},
        {"password_file": Path("x")},
        {"user": "joe", "password_file": Path("x"), "tls": "may"},
        {"user": "joe", "password_file": Path("x"), "tls": "none"},
        {"tls": "implicit", "mx": True},
        {"host": "a b"},
    ],
    ids=str,
)
def test_routes_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(ValueError):
        RouteSettings(**{"host": "smart.example.net", **wrong})


def test_a_user_means_verified_tls() -> None:
    assert RouteSettings(host="h", user="joe", password_file=Path("x")).security == "verify"
    assert RouteSettings(host="h").security == "may"


def test_requiretls_fails_where_it_cannot_be_kept(office: Any, server: Any) -> None:
    there = office()
    there.mx(server(*ALL, "STARTTLS"))
    [outcome] = there.sends("a@example.org", require_tls=True)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == "5.7.10"
