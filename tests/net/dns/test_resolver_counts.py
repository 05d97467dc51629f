"""What the resolver counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.rcode

from tests.metrics.counting import counting
from twisted_mail_kit.errors import ResolutionFailed


def test_each_lookup_is_counted_by_what_came_of_it(
    make_resolver: Callable[..., Any], ask: Callable[..., Any], zone: Any
) -> None:
    zone.records["mail.example.org", "A"] = ["192.0.2.1"]
    resolver = make_resolver()
    with counting() as change:
        ask(resolver, "mail.example.org", "A")
        ask(resolver, "mail.example.org", "A")
        ask(resolver, "mail.example.org", "MX")
        ask(resolver, "mail.example.org", "MX")
        zone.rcode = dns.rcode.SERVFAIL
        assert isinstance(ask(resolver, "mail.example.org", "TXT"), ResolutionFailed)
    told = {key: value for key, value in change.items() if key.startswith("mailkit_dns")}
    assert told == {
        "mailkit_dns_lookups_total{found}": 1,
        "mailkit_dns_lookups_total{nothing}": 1,
        "mailkit_dns_lookups_total{remembered}": 2,
        "mailkit_dns_lookups_total{failed}": 1,
    }
