"""One mail address: a local part, which only its own domain understands, and a domain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """An RFC 5321 mailbox. Equal when the local parts are equal octet for octet and the domains are the same name."""

    local: str
    """Without quoting: ``john doe`` for ``"john doe"@example.org``."""
    domain: str
    """Lower case; a U-label domain is kept as NFC U-labels; an address literal is kept as ``[192.0.2.1]``.
    Empty only for the bare ``postmaster`` of RFC 5321 4.5.1."""
