"""What can be set about worker processes."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge


@frozen(kw_only=True)
class CrewSettings:
    """The processes that `workers` asks for."""

    heartbeat: float = field(default=30.0, validator=ge(1))
    """Seconds without a sign of life after which a worker is killed, and another one takes its place. Workers that hear
    nothing from the owner for so long answer what needs it with 451, [UNAVAILABLE] or [SYS/TEMP] instead of waiting."""
    start: float = field(default=120.0, validator=ge(1))
    """Seconds in which a worker has to be ready for connections, or it is killed and started again."""
