"""Which hosts take a domain's mail, and at which addresses (RFC 5321 5.1)."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from twisted_mail_kit.errors import Refused, ResolutionFailed, TryLater
from twisted_mail_kit.interfaces import IResolver
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.mail.records import MX, Answer

NULL_MX = "the domain does not accept mail (null MX)"


class Host(NamedTuple):
    """One that takes mail."""

    name: str
    """Without a dot at the end, lower case; or an IP address."""
    is_authentic: bool = False
    """DNSSEC vouches for it."""


class Addresses(NamedTuple):
    """Where a host is."""

    addresses: tuple[str, ...]
    """IPv6 and IPv4 in turn."""
    is_authentic: bool = False
    name: str = ""
    """The name that has them, after CNAMEs."""


class HostFinder:
    """Asks DNS. `own_names` are this host's; `shuffler` puts hosts of equal preference in some order."""

    def __init__(
        self,
        resolver: IResolver,
        own_names: Sequence[str],
        shuffler: random.Random,
        ipv4: bool = True,
        ipv6: bool = True,
    ) -> None:
        self._resolver = resolver
        self._own_names = {name.rstrip(".").lower() for name in own_names}
        self._shuffler = shuffler
        self._kinds = [kind for kind, wanted in (("AAAA", ipv6), ("A", ipv4)) if wanted]

    async def mail_hosts(self, domain: str) -> list[Host]:
        """In the order in which to try them; at least one. Raises Refused: there is none, or it would be us; TryLater:
        DNS does not say."""
        if domain.startswith("["):
            return [Host(_literal(domain))]
        if not domain or not domain.isascii():
            raise Refused(Status("5.1.2", f"{domain!r} is not the name of a domain"))
        try:
            answer = await self._resolver.lookup(domain, "MX")
        except ResolutionFailed as problem:
            raise TryLater(
                Status("4.4.3", f"the MX records of {domain} cannot be looked up: {_why(problem)}")
            ) from None
        if not answer.exists:
            raise Refused(Status("5.1.2", f"there is no domain {domain}"))
        records = [one for one in answer.records if isinstance(one, MX)]
        if not records:
            # RFC 5321 5.1: then the domain itself is the host.
            return self._in_order([MX(0, domain)], answer, domain)
        if all(one.exchange.rstrip(".") == "" for one in records):
            raise Refused(Status("5.1.10", f"{domain}: {NULL_MX}", 556))  # RFC 7505 4.1
        return self._in_order([one for one in records if one.exchange.rstrip(".")], answer, domain)

    async def addresses(self, host: str) -> Addresses:
        """Where that host is; empty: DNS knows no address. Raises TryLater: it does not say."""
        if (literal := _ip(host)) is not None:
            return Addresses((literal,))
        answers: list[Answer] = []
        problem: ResolutionFailed | None = None
        for kind in self._kinds:
            try:
                answers.append(await self._resolver.lookup(host, kind))
            except ResolutionFailed as failed:
                problem = failed
        found = [[str(one) for one in answer.records if _ip(str(one))] for answer in answers]
        addresses = tuple(one for one in chain.from_iterable(zip_longest(*found)) if one)
        if not addresses and problem is not None:
            raise TryLater(Status("4.4.3", f"the addresses of {host} cannot be looked up: {_why(problem)}"))
        named = [answer for answer in answers if answer.records]
        return Addresses(
            addresses,
            bool(named) and all(answer.is_authentic for answer in named),
            named[0].name if named else "",
        )

    def _in_order(self, records: list[MX], answer: Answer, domain: str) -> list[Host]:
        names = {one.exchange.rstrip(".").lower(): one.preference for one in sorted(records, reverse=True)}
        ours = [preference for name, preference in names.items() if name in self._own_names]
        if ours:
            # RFC 5321 5.1: mail must not go to a host that is no nearer than we are.
            names = {name: preference for name, preference in names.items() if preference < min(ours)}
        if not names:
            raise Refused(Status("5.4.6", f"mail for {domain} loops back to this host"))
        order = list(names.items())
        self._shuffler.shuffle(order)
        order.sort(key=lambda one: one[1])
        return [Host(name, answer.is_authentic) for name, _ in order]


def _ip(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _literal(domain: str) -> str:
    inside = domain[1:-1]
    address = _ip(inside[5:] if inside[:5].lower() == "ipv6:" else inside)
    if address is None:
        raise Refused(Status("5.1.2", f"{domain} is no address that mail can be sent to"))
    return address


def _why(problem: ResolutionFailed) -> str:
    return "".join(one if one.isprintable() else " " for one in str(problem))[:200] or "no answer"


def is_loopback(address: str) -> bool:
    """Whether whoever connects there meets himself, or nobody."""
    ip = ipaddress.ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_loopback or ip.is_unspecified or ip.is_multicast


def is_own(address: str, own_addresses: Sequence[str]) -> bool:
    """Whether it is one of those."""
    ip = ipaddress.ip_address(address)
    return any(ipaddress.ip_address(own) == ip for own in own_addresses)
