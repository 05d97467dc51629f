"""Where a recipient's mail goes: to accounts of ours, or outside, for those who may send there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from twisted.logger import Logger

from twisted_mail_kit.accounts.names import canonical_domain
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import IAccounts, IDeliveryTarget
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.destination import Alias, Destination, Local
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Status

RELAYING_DENIED = Status("5.7.1", "Relaying denied", 550)
NO_SUCH_USER = Status("5.1.1", "No such user here", 550)
NO_WAY_OUT = Status("4.3.5", "No route to that domain is configured here", 451)
EXPANDS_TOO_FAR = Status("4.3.5", "This address leads too far", 451)


@dataclass(slots=True)
class Route:
    """Where one recipient leads."""

    recipient: Recipient
    destination: Destination | None
    """None: not ours."""
    local: list[Local] = field(default_factory=list)
    outward: list[Recipient] = field(default_factory=list)


class Router:
    """Decides by the domain alone: a local part is opaque to everybody but its own domain (RFC 5321 2.3.11).

    ``joe%other.example@ours``, ``other.example!joe@ours`` and ``"joe@other.example"@ours`` are local parts that
    nobody has, unless `accounts` knows them. What is not ours goes outside only for those who logged in, or who
    connect from a trusted network, and only when there is a way out. LMTP never relays.
    """

    log = Logger()

    def __init__(
        self,
        domains: Iterable[str],
        accounts: IAccounts,
        settings: DeliverySettings | None = None,
        outbound: IDeliveryTarget | None = None,
    ) -> None:
        self.settings = settings or DeliverySettings()
        self.accounts = accounts
        self.domains = frozenset(canonical_domain(domain) for domain in domains)
        self.outbound = outbound
        self._trusted = [ipaddress.ip_network(text) for text in self.settings.trusted_networks]
        self._is_trusted = lru_cache(maxsize=1024)(self._lies_in_trusted) if self._trusted else _nobody

    def is_ours(self, address: Address) -> bool:
        """The address is in one of our domains, or it is the bare ``postmaster`` of RFC 5321 4.5.1."""
        if not address.domain:
            return address.local.lower() == "postmaster"
        return canonical_domain(address.domain) in self.domains

    def may_relay(self, peer: Peer) -> bool:
        """Whether this peer may send to other domains."""
        if peer.service == "lmtp":
            return False
        if peer.service == "queue":
            return True  # our own bounces; no listener has that name
        return bool(peer.login) or self._is_trusted(peer.host)

    async def route(self, envelope: Envelope, recipient: Recipient) -> Route:
        """Raises Refused: nobody has it, or relaying is denied. Raises TryLater, Unavailable."""
        address = recipient.address
        if not self.is_ours(address):
            if not address.domain or self.outbound is None or not self.may_relay(envelope.peer):
                raise Refused(RELAYING_DENIED)
            return Route(recipient, None, outward=[recipient])
        destination = await self.accounts.lookup(address)
        if destination is None:
            raise Refused(NO_SUCH_USER)
        if isinstance(destination, Local):
            return Route(recipient, destination, local=[destination])
        route = Route(recipient, destination)
        await self._expand(route, destination)
        return route

    async def _expand(self, route: Route, alias: Alias) -> None:
        """Follow an alias to its ends, each address once."""
        start = route.recipient.address
        seen = {_key(start)}
        layer = [alias]
        for _ in range(self.settings.aliases_deep):
            targets: list[Address] = []
            for one in layer:
                if one.keep is not None and one.keep not in route.local:
                    route.local.append(one.keep)
                for target in one.targets:
                    if (key := _key(target)) not in seen:
                        seen.add(key)
                        targets.append(target)
            if len(seen) > self.settings.aliases_wide:
                self._too_far(start)
            layer = []
            for target in targets:
                if not self.is_ours(target):
                    # The alias is ours: who may send to it may send to where it leads.
                    route.outward.append(_forwarded(route.recipient, target))
                    continue
                destination = await self.accounts.lookup(target)
                if isinstance(destination, Alias):
                    layer.append(destination)
                elif destination is None:
                    self.log.warn("alias {alias} leads to {target}, which nobody has", alias=start, target=target)
                elif destination not in route.local:
                    route.local.append(destination)
            if not layer:
                break
        else:
            self._too_far(start)
        if route.outward and self.outbound is None:
            self.log.error("alias {alias} leads outside, and there is no way out", alias=start)
            raise TryLater(NO_WAY_OUT)
        if not route.local and not route.outward:
            self.log.error("alias {alias} leads to nobody", alias=start)
            raise Refused(NO_SUCH_USER)

    def _too_far(self, start: Address) -> None:
        self.log.error("alias {alias} leads too far", alias=start)
        raise TryLater(EXPANDS_TOO_FAR)

    def _lies_in_trusted(self, host: str) -> bool:
        try:
            address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._trusted)


def _nobody(host: str) -> bool:
    return False


def _key(address: Address) -> tuple[str, str]:
    return address.local.lower(), canonical_domain(address.domain)


def _forwarded(recipient: Recipient, target: Address) -> Recipient:
    """The recipient that an alias leads to; RFC 3461 5.2.7.3: the original one is remembered."""
    orcpt = recipient.orcpt or f"rfc822;{_xtext(str(recipient.address))}"
    return Recipient(target, notify=recipient.notify, orcpt=orcpt)


def _xtext(text: str) -> str:
    """RFC 3461 4. What is not ASCII is written as UTF-8 octets."""
    return "".join(
        chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in text.encode()
    )
