"""Which way a domain goes: by its MX records, to a host of our choice, or into a Python target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from attrs import frozen

from twisted_mail_kit.interfaces import IDeliveryTarget, IDestinations
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.smtp.relay.settings import RouteSettings

_REMEMBERED = 1000


@frozen
class TargetRoute:
    """Mail for `domain` (a pattern as in `RouteSettings`) goes into another delivery target."""

    domain: str
    target: IDeliveryTarget


Route = RouteSettings | TargetRoute


class NextHop(NamedTuple):
    """Where a recipient's message goes next."""

    destination: str
    """What attempts and connections are grouped by."""
    domain: str
    """Whose MX records are asked for, or whose policy counts: A-labels, an address literal, or a route's host."""
    route: Route | None = None


class Routes:
    """The table. The most exact pattern wins: a domain, then the longest ``.parent``, then ``*``."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, Route] = {}
        self._known: dict[str, NextHop] = {}
        """Of domains that were asked for a moment ago."""
        for route in routes:
            # The first of two with the same pattern counts.
            self._routes.setdefault(ascii_domain(route.domain), route)

    def next_hop(self, recipient: Recipient) -> NextHop:
        """Where to."""
        known = self._known.get(recipient.address.domain)
        if known is not None:
            return known
        domain = ascii_domain(recipient.address.domain)
        route = self._find(domain) if self._routes else None
        if isinstance(route, RouteSettings):
            host = route.host.lower()
            hop = NextHop(f"{host}:{route.port}{'/lmtp' if route.lmtp else ''}", host, route)
        elif route is not None and IDestinations.providedBy(route.target):
            return NextHop(route.target.destination_of(recipient), domain, route)
        else:
            hop = NextHop(domain, domain, route)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[recipient.address.domain] = hop
        return hop

    def _find(self, domain: str) -> Route | None:
        routes = self._routes
        found = routes.get(domain)
        rest = domain
        while found is None and not domain.startswith("["):
            _, dot, rest = rest.partition(".")
            if not dot:
                break
            found = routes.get(f".{rest}")
        return found or routes.get("*")


def ascii_domain(domain: str) -> str:
    """A-labels, lower case; as it is, where that cannot be."""
    if domain.isascii():
        return domain.lower()
    lead = "." if domain.startswith(".") else ""
    try:
        return lead + Address("postmaster", domain.removeprefix(".")).to_ascii().domain.lower()
    except ValueError:
        return domain.lower()
