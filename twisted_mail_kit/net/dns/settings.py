"""What an operator can set about DNS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen
from attrs.validators import ge, le

from twisted_mail_kit.net.dns.servers import parse_server


def _addresses(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for one in value:
        parse_server(one)


@frozen(kw_only=True)
class ResolverSettings:
    """The table ``[dns]``. Times are seconds, sizes octets."""

    servers: tuple[str, ...] = field(default=(), validator=_addresses)
    """IP addresses of resolving name servers, ``192.0.2.1``, ``192.0.2.1:5353`` or ``[2001:db8::1]:53``; empty: those
    of `resolv_conf`, which is read again when it changes."""
    resolv_conf: Path = Path("/etc/resolv.conf")
    """Where servers are named, where none are set. Without one there, 127.0.0.1 is asked."""
    hosts: Path | None = Path("/etc/hosts")
    """Asked before DNS for addresses; TOML's way to say none is ``hosts = ""``."""
    trust_ad: bool = False
    """Believe all servers that an answer is authentic (DNSSEC). Without it only one on loopback is believed (and
    Docker's 127.0.0.11 is not, as it only passes on), and all where resolv.conf says ``options trust-ad``."""
    first_timeout: float = field(default=1.5, validator=ge(0.05))
    """For the first answer of a server; doubled in each further round over the servers."""
    rounds: int = field(default=3, validator=ge(1))
    """How often each server is asked over UDP."""
    tcp_timeout: float = field(default=5.0, validator=ge(0.05))
    """For an answer over TCP, which is tried where one over UDP was cut short, or may be forged."""
    total_time: float = field(default=20.0, validator=ge(0.1))
    """For one name, all told: servers, rounds, and where CNAMEs lead."""
    at_once: int = field(default=500, validator=ge(1))
    """Questions under way at the same time; more wait."""
    payload: int = field(default=1232, validator=[ge(512), le(4096)])
    """The longest answer over UDP that is asked for (EDNS)."""
    mixed_case: bool = True
    """Write names in random upper and lower case, which the answer must repeat: hard to forge for a stranger."""
    chain: int = field(default=10, validator=ge(1))
    """CNAMEs that are followed for one name."""
    cache_size: int = field(default=8 * 1024 * 1024, validator=ge(0))
    """Octets of answers that are remembered, about; 0: none."""
    shortest_ttl: float = field(default=1.0, validator=ge(0))
    """An answer is remembered for so long at least."""
    longest_ttl: float = field(default=86_400.0, validator=ge(0))
    """An answer is remembered for so long at most."""
    longest_negative_ttl: float = field(default=3600.0, validator=ge(0))
    """That something is not there is remembered for so long at most (RFC 2308 5)."""
    failure_ttl: float = field(default=5.0, validator=ge(0))
    """That there was no answer is remembered for so long (RFC 9520)."""
