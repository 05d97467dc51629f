"""The ids of messages that were queued a moment ago: a second message under the same one gets another."""

from __future__ import annotations

from twisted_mail_kit.mail.envelope import Envelope

_MOST = 20_000
_SECONDS = 3600.0


class Remembered:
    """A spool takes a message whose id it has for one that it has got already.

    That is right for a report that is told twice, and wrong for a message that comes here twice for different
    recipients: once for those who are elsewhere, and again for one of ours who could not be served at once.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def unique(self, envelope: Envelope, now: float) -> Envelope:
        """The envelope as received now where it does not say when, and with ``.2``, ``.3`` … behind its trace id where
        that one was queued before."""
        trace_id, number = envelope.trace_id, 1
        if envelope.peer.service != "queue":
            while trace_id in self._since:
                number += 1
                trace_id = f"{envelope.trace_id}.{number}"
        if envelope.received_at and number == 1:
            return envelope
        # Hot path: `replace` would take three times as long.
        return Envelope(
            envelope.sender,
            envelope.peer,
            trace_id,
            envelope.body,
            envelope.smtputf8,
            envelope.size,
            envelope.ret,
            envelope.envid,
            envelope.auth,
            envelope.require_tls,
            envelope.received_at or now,
        )

    def remember(self, trace_id: str, now: float) -> None:
        """It was queued."""
        self._since[trace_id] = now
        while self._since:
            oldest, since = next(iter(self._since.items()))
            if len(self._since) <= _MOST and since > now - _SECONDS:
                break
            del self._since[oldest]
