"""What can be set about the bundled checks: each one's own keys."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, le


@frozen(kw_only=True)
class LowDiskSettings:
    """The `low-disk` check."""

    min_free: float = field(default=5.0, validator=[ge(0), le(100)])
    """Percent of the disk that has to be free; below it mail is not taken (452 4.3.1)."""
    path: str = ""
    """A folder on that disk; relative to the state directory, which it is by default."""
    every: float = field(default=5.0, validator=ge(0))
    """Seconds for which an answer of the disk is good."""


@frozen(kw_only=True)
class SenderIdentitySettings:
    """The `sender-identity` check."""

    return_path: bool = True
    """The return path (MAIL FROM) has to be an address of the login."""
    header: bool = True
    """The addresses in From, and in Sender where there is one, have to be addresses of the login."""
