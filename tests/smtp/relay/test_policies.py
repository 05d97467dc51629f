"""What a domain's TLS policy demands is done, or the mail does not go."""

from __future__ import annotations

from typing import Any

import pytest

from twisted_mail_kit.errors import TryLater
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Status
from twisted_mail_kit.smtp.tlspolicy import HostTLS

ALL = ("PIPELINING", "SIZE 1000000", "8BITMIME", "DSN", "STARTTLS")
A = "a@example.org"


class Policies:
    """TLSPolicies and TLSPolicy in one, of a table."""

    def __init__(self, **more: Any) -> None:
        self.allowed = more.pop("allowed", None)
        self.problem: str | None = more.pop("problem", None)
        self.raised: Exception | None = more.pop("raised", None)
        self.more = {"must_encrypt": True, "means": "dane", **more}
        self.asked: list[tuple[str, bool]] = []

    async def policy_for(self, domain: str, require_tls: bool = False) -> Any:
        self.asked.append((domain, require_tls))
        return self

    def allows_mx(self, host: str) -> bool:
        return self.allowed is None or host in self.allowed

    def mx_status(self, host: str) -> Status:
        return Status("4.7.5", f"{host} is not named")

    async def for_host(self, host: str, *_: Any) -> HostTLS:
        if self.raised is not None:
            raise self.raised
        return HostTLS(host=host, context=object(), check=lambda _: self.problem, **self.more)  # type: ignore[arg-type]


def test_a_host_that_the_policy_names_not_is_not_even_asked(office: Any, server: Any) -> None:
    there = office(policies=Policies(allowed={"two.example.org"}))
    there.net.domain("example.org", (10, "one.example.org"), (20, "two.example.org"))
    there.net.host("one.example.org", "192.0.2.1", server(*ALL))
    there.net.host("two.example.org", "192.0.2.2", server(*ALL))
    assert isinstance(there.sends(A)[0], Delivered)
    assert there.net.dialled == [("192.0.2.2", 25)]
    there = office(policies=Policies(allowed=()))
    there.mx(server(*ALL))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.7.5"


@pytest.mark.parametrize(
    ("offers", "policies", "code"),
    [
        (ALL, Policies(problem="a stranger's certificate"), "4.7.5"),
        (("PIPELINING",), Policies(), "4.7.4"),
        (ALL, Policies(raised=TryLater(Status("4.7.5", "the TLSA records cannot be looked up"))), "4.7.5"),
    ],
)
def test_without_the_tls_that_it_takes_no_mail_goes(
    office: Any, server: Any, offers: Any, policies: Any, code: str
) -> None:
    there = office(policies=policies)
    mx = there.mx(server(*offers))
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == code
    assert not any(line.startswith("MAIL") for said in mx.said for line in said)
    assert len(mx.said) <= 1, "and no second try in clear text"


def test_a_handshake_that_breaks_is_no_reason_for_clear_text_where_tls_is_a_must(office: Any, server: Any) -> None:
    there = office(policies=Policies())
    mx = there.mx(server(*ALL))
    mx.answers["EHLO"] = [mx.answer("EHLO"), "(cut)"]
    [outcome] = there.sends(A)
    assert isinstance(outcome, Delayed)
    assert outcome.status.code == "4.7.5"
    assert len(mx.said) == 1


def test_requiretls_is_passed_on(office: Any, server: Any) -> None:
    policies = Policies(needs_requiretls=True)
    there = office(policies=policies)
    mx = there.mx(server(*ALL, "REQUIRETLS"))
    assert isinstance(there.sends(A, require_tls=True)[0], Delivered)
    assert mx.said[0][3].endswith(" REQUIRETLS")
    assert policies.asked == [("example.org", True)]


@pytest.mark.parametrize(
    ("offers", "problem", "code"),
    [(ALL, None, "5.7.30"), (("PIPELINING",), None, "5.7.10"), ((*ALL, "REQUIRETLS"), "a stranger's", "5.7.10")],
)
def test_requiretls_that_cannot_be_kept_fails_at_once(
    office: Any, server: Any, offers: Any, problem: str | None, code: str
) -> None:
    there = office(policies=Policies(needs_requiretls=True, problem=problem))
    mx = there.mx(server(*offers))
    [outcome] = there.sends(A, require_tls=True)
    assert isinstance(outcome, Failed)
    assert outcome.status.code == code
    assert mx.messages == []


def test_connections_with_and_without_requiretls_are_not_shared(office: Any, server: Any) -> None:
    there = office(policies=Policies(must_encrypt=False, means="opportunistic"))
    mx = there.mx(server(*ALL))
    there.sends(A)
    there.sends(A, require_tls=True)
    assert len(mx.said) == 2
