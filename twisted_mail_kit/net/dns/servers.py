"""Which name servers are asked: given ones, or those of resolv.conf."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DNS_PORT: Final = 53
MOST_SERVERS: Final = 8

# Docker's resolver is on loopback, but passes on what the network says.
_NOT_OUR_OWN: Final = {"127.0.0.11"}


class Server:
    """One name server, and what we have learned about it."""

    def __init__(self, host: str, port: int = DNS_PORT, is_trusted: bool = False) -> None:
        self.host = host
        self.port = port
        self.is_trusted = is_trusted
        """Its word that an answer is authentic counts."""
        self.silent_until = 0.0
        """It was not there lately: others are asked first until then."""
        self.keeps_case = True
        """It repeats names as they were written; False: it was seen not to, over TCP, where nobody forges."""
        self.knows_edns = True

    @property
    def is_ipv6(self) -> bool:
        """By its address."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def parse_server(text: str, trust_ad: bool = False) -> Server:
    """``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1``, ``[2001:db8::1]:53``. Raises ValueError."""
    host, port = text.strip(), DNS_PORT
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        if rest:
            port = _port(rest.removeprefix(":"))
    elif host.count(":") == 1:
        host, _, rest = host.partition(":")
        port = _port(rest)
    address = ipaddress.ip_address(host.partition("%")[0])
    is_own = address.is_loopback and host not in _NOT_OUR_OWN
    return Server(host, port, trust_ad or is_own)


def read_resolv_conf(path: Path, trust_ad: bool = False) -> list[Server]:
    """The servers that it names, in its order; 127.0.0.1 where it names none, or is not there. Broken lines are passed
    over. ``options trust-ad`` is that of glibc: all its servers are believed."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines if line.strip() and line.lstrip()[0] not in "#;"]
    for parts in words:
        if parts[0] == "options" and "trust-ad" in parts[1:]:
            trust_ad = True
    found: list[Server] = []
    for parts in words:
        if parts[0] == "nameserver" and len(parts) > 1 and len(found) < MOST_SERVERS:
            try:
                found.append(parse_server(f"[{parts[1]}]", trust_ad))
            except ValueError:
                continue
    return found or [parse_server("127.0.0.1", trust_ad)]


def in_order(servers: Sequence[Server], now: float) -> list[Server]:
    """As they are listed, but those that were silent lately come last."""
    return sorted(servers, key=lambda server: server.silent_until > now)


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError(f"{text} is no port")
    return port
