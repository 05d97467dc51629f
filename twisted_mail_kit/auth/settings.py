"""What can be set about logging in."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge


def _not_below_rfc(instance: Any, attribute: Any, value: int) -> None:
    if value < 4096:
        raise ValueError(f"{attribute.name}: RFC 7677 4 asks for at least 4096")


@frozen(kw_only=True)
class LoginSettings:
    """The doorkeeper: how failed logins slow down."""

    first_delay: float = field(default=0.5, validator=ge(0))
    """Seconds that the answer to a first failed login takes longer; each further failure doubles it."""
    longest_delay: float = field(default=30.0, validator=ge(0))
    """Seconds at most."""
    forget: float = field(default=900.0, validator=ge(1))
    """Seconds after which a failure no longer counts."""
    failing_at_once: int = field(default=20, validator=ge(1))
    """Failed logins of one IPv4 address or one IPv6 /64 that may be waiting for their answer; more are turned away
    unheard."""
    remembered: int = field(default=10_000, validator=ge(100))
    """Addresses, and accounts, whose failures are remembered; the oldest are forgotten first."""


@frozen(kw_only=True)
class PasswordFileSettings:
    """The `passwords` plugin: argon2id hashes in a file."""

    file: str = "passwords"
    """Relative to the state directory. Readable by its owner only."""
    time_cost: int = field(default=3, validator=ge(1))
    """argon2id passes (RFC 9106)."""
    memory_cost: int = field(default=64 * 1024 * 1024, validator=ge(8192))
    """Octets that one hash takes while it is made."""
    threads: int = field(default=0, validator=ge(0))
    """Hashes at once, in each process; 0 is as many as there are cores."""
    waiting: int = field(default=100, validator=ge(1))
    """Logins that may wait for a thread, in each process; more are turned away for now (454 4.7.0, [UNAVAILABLE])."""
    remember: float = field(default=300.0, validator=ge(0))
    """Seconds for which the same right password is not hashed again; 0 is never."""
    scram: bool = True
    """Keep SCRAM-SHA-256 keys beside the hash. A stolen file is cheaper to guess against with them than without."""
    scram_iterations: int = field(default=15_000, validator=_not_below_rfc)
    """PBKDF2 rounds of these keys."""
