"""What can be set about the numbers that the server offers."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import matches_re, optional


@frozen(kw_only=True)
class MetricsSettings:
    """``[metrics]``: what the server counts, for Prometheus; docs/metrics.md explains each number."""

    endpoint: str | None = field(default=None, validator=optional(matches_re(r"[a-z0-9]+:.+")))
    """A Twisted endpoints string at which ``GET /metrics`` is answered over HTTP, to whoever asks: best a port on the
    loopback interface, ``tcp:9125:interface=127.0.0.1``. Without it only ``mailkit metrics`` tells the numbers."""
