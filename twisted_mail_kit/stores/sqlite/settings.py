"""What can be set about the embedded store."""

from __future__ import annotations

from attrs import frozen

KILO = 1024
MEGA = 1024 * KILO


@frozen(kw_only=True)
class SQLiteSettings:
    """Settings of the embedded store; the defaults serve a small office and a big one alike."""

    segment_size: int = 64 * MEGA
    """Octets of message bodies after which a new segment file is begun."""
    small_message: int = MEGA
    """Messages up to this many octets are gathered in memory and share a segment; larger ones have a file each."""
    gathered: int = 64 * MEGA
    """Octets that all messages in the making may hold in memory; when there are more, they go to files early."""
    compact_share: float = 0.5
    """A segment file of which more than this share is dead is copied without it, and removed; 1: never by itself."""
    lock_timeout: float = 5.0
    """Seconds to wait for another process that is writing, before an operation is refused as unavailable."""
    watch_interval: float = 1.0
    """Seconds between looks for changes that other processes made; only while somebody watches."""
    housekeeping_interval: float = 60.0
    """Seconds between rounds that forget old tombstones, tokens, and messages that nobody has any more."""
    blob_grace: float = 3600.0
    """Seconds for which a message's octets can still be read after its last reference is gone."""
    tombstone_age: float = 7 * 86400.0
    """Seconds for which removals are remembered at least."""
    tombstones: int = 1000
    """Removals an account that are remembered however old they are."""
    token_days: int = 7
    """Days for which a delivery's token is remembered, so that it is never done twice."""
    mailboxes: int = 10_000
    """Mailboxes an account."""
    name_depth: int = 20
    """Levels in a mailbox's name."""
    cache_size: int = 16 * MEGA
    """Octets of the index that the writer keeps in memory."""
