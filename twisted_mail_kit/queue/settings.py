"""What can be set about the queue: how often, how long, how many at once, and what senders are told."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge, in_, le

_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 24 * _HOUR


def _gaps(instance: Any, attribute: Any, value: tuple[float, ...]) -> None:
    if not value or min(value) < 1:
        raise ValueError(f"{attribute.name}: at least one gap is needed, and none below one second")


@frozen(kw_only=True)
class QueueSettings:
    """Times are in seconds, sizes in octets."""

    gaps: tuple[float, ...] = field(
        default=(
            5 * _MINUTE,
            10 * _MINUTE,
            20 * _MINUTE,
            40 * _MINUTE,
            1 * _HOUR,
            2 * _HOUR,
            3 * _HOUR,
        ),
        converter=tuple,
        validator=_gaps,
    )
    """From one attempt to the next; the last one is used for all that follow."""
    jitter: float = field(default=0.2, validator=[ge(0), le(0.9)])
    """The share by which a gap is made longer or shorter by chance, so that what failed together does not come back
    together."""
    age: float = field(default=5 * _DAY, validator=ge(1))
    """A message that could not be delivered for so long is given up and returned to its sender. RFC 5321 4.5.4.1 asks
    for four or five days at least."""
    delay_notice: float = field(default=4 * _HOUR, validator=ge(0))
    """A sender whose message has waited for so long is told, once a recipient; 0: never."""
    attempts: int = field(default=200, validator=ge(1))
    """The most attempts at the same time."""
    destination_start: int = field(default=5, validator=ge(1))
    """Attempts at the same time for a destination that nothing is known about yet."""
    destination_most: int = field(default=20, validator=ge(1))
    """The most attempts at the same time for one destination: it gets there by success."""
    recipients: int = field(default=100, validator=ge(1))
    """The most recipients of a message in one attempt. RFC 5321 4.5.3.1.8 lets every server count on 100."""
    dead_after: int = field(default=3, validator=ge(1))
    """When so many attempts in a row could not even speak with a destination, it is taken for dead: one attempt at a
    time asks whether it is back, and all others for it are put off without trying."""
    dead_gaps: tuple[float, ...] = field(
        default=(1 * _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 20 * _MINUTE),
        converter=tuple,
        validator=_gaps,
    )
    """How long a dead destination is left alone between two such attempts."""
    lease: float = field(default=300.0, validator=ge(3))
    """How long work that was taken belongs to a process that has died; one that lives renews it in time. With one
    process a spool it hardly matters."""
    poll: float = field(default=60.0, validator=ge(0.1))
    """How often to look for work that another process has put into a shared spool."""
    memory: int = field(default=256 * 1024, validator=ge(0))
    """A message of up to this size is sent from memory at its first attempt."""
    memory_total: int = field(default=32 * 1024 * 1024, validator=ge(0))
    """What all messages together may take of memory for that."""
    notices: int = field(default=20, validator=ge(1))
    """The most bounces and notices that are being delivered at the same time."""
    returned: str = field(default="headers", validator=in_(("headers", "full")))
    """What of a message goes back with its bounce when its sender did not say (RFC 3461 RET)."""
    returned_size: int = field(default=100 * 1024, validator=ge(0))
    """A message above this size is returned by its header section only, whatever its sender said."""
    postmaster: str = ""
    """Whom a bounce names for questions; empty: the postmaster at our host name."""
