"""The way of octets from one end of a connection to the other: they take time, and keep their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted_mail_kit.testing.transport import _AgreedTLS
from twisted_mail_kit.testing.world.timeline import Timeline

DATA, FIN, RST, HELLO, HELLO_BACK = range(5)


class Segment:
    """Octets on their way, or a sign."""

    __slots__ = ("has_arrived", "heard", "is_tls", "kind", "octets", "sent_at")

    def __init__(self, kind: int, octets: bytes, is_tls: bool, sent_at: float) -> None:
        self.kind = kind
        self.octets = octets
        self.is_tls = is_tls
        self.sent_at = sent_at
        self.has_arrived = False
        self.heard: list[Callable[[], None]] = []
        """Called when the protocol has heard it."""


class Way:
    """One direction. `arrive` is the other end's."""

    arrive: Callable[[Segment], None]

    def __init__(self, timeline: Timeline, latency: float, bandwidth: float | None) -> None:
        self.timeline = timeline
        self.latency = latency
        self.bandwidth = bandwidth
        self.tags: list[Callable[[], None]] = []
        """What the next octets carry as `heard`."""
        self._busy_until = self._last_arrival = 0.0
        self._last: Segment | None = None

    @property
    def most(self) -> int:
        """The most octets that are sent in one piece: a second's worth."""
        return max(1, int(self.bandwidth)) if self.bandwidth else 1 << 30

    def send(self, kind: int, octets: bytes = b"", is_tls: bool = False) -> None:
        """It arrives in a while, after all that was sent before."""
        now = self.timeline.rightNow
        last = self._last
        if (
            kind == DATA
            and not self.bandwidth
            and last is not None
            and not last.has_arrived
            and (last.kind, last.is_tls, last.sent_at) == (DATA, is_tls, now)
        ):
            last.octets += octets  # one event for all that is written at the same time
            last.heard += self.tags
            self.tags = []
            return
        segment = self._last = Segment(kind, octets, is_tls, now)
        if kind == DATA:
            segment.heard, self.tags = self.tags, []
        leaves = now
        if self.bandwidth:
            self._busy_until = leaves = max(now, self._busy_until) + len(octets) / self.bandwidth
        self._last_arrival = arrives = max(leaves + self.latency, self._last_arrival)
        self.timeline.at(arrives, self.arrive, segment)


class Handle(_AgreedTLS):
    """A TLS handshake that is over, and what the other side showed in it."""

    def __init__(self, chain: Sequence[Any]) -> None:
        self._chain = list(chain)

    def get_peer_cert_chain(self, *, as_cryptography: bool = False) -> Any:
        """`OpenSSL.crypto.X509` objects, the leaf first; None: it showed none."""
        return self._chain or None

    def get_peer_certificate(self, *, as_cryptography: bool = False) -> Any:
        """The leaf."""
        return self._chain[0] if self._chain else None


__all__ = ["DATA", "FIN", "HELLO", "HELLO_BACK", "RST", "Handle", "Segment", "Way"]
