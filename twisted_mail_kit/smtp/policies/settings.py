"""What an operator can set about TLS on the way out."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.validators import ge


@frozen(kw_only=True)
class TLSPolicySettings:
    """The table ``[relay.tls]``. Times are seconds."""

    mta_sts: bool = True
    """Ask for, and keep, the policies of RFC 8461."""
    dane: bool = True
    """Ask for TLSA records (RFC 7672) where the resolver vouches for DNSSEC."""
    trust: Path | None = None
    """PEM file of the authorities that certificates are checked against; without it, those of the system."""
    sts_refresh: float = field(default=24 * 3600.0, validator=ge(60))
    """A policy is fetched again after this time, though its id has not changed, so that it does not run out."""
    sts_retry: float = field(default=300.0, validator=ge(1))
    """After a policy could not be fetched, it is not asked for again so soon (RFC 8461 3.3)."""
    sts_longest: float = field(default=31_557_600.0, validator=ge(3600))
    """The longest time for which a policy is kept, whatever its `max_age` says (RFC 8461 3.2)."""
    sts_domains: int = field(default=10_000, validator=ge(100))
    """Policies kept; those that run out first are forgotten first."""
