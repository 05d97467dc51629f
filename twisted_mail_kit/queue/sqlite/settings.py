"""What can be set about the bundled spool."""

from __future__ import annotations

from attrs import frozen

KILO = 1024
MEGA = 1024 * KILO


@frozen(kw_only=True)
class SpoolSettings:
    """Settings of the bundled spool."""

    small_message: int = 64 * KILO
    """Messages up to this many octets lie in the database; larger ones have a file each."""
    lock_timeout: float = 5.0
    """Seconds to wait for another process that is writing, before an operation is refused as unavailable."""
    housekeeping_interval: float = 60.0
    """Seconds between rounds that forget old timelines and give room back to the disk."""
    trace_age: float = 7 * 86400.0
    """Seconds for which the lines of a message's timeline are kept."""
    cache_size: int = 16 * MEGA
    """Octets of the database that the writer keeps in memory."""
