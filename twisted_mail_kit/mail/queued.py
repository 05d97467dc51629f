"""What the queue keeps: a message, its recipients one by one, and what has been tried for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from twisted_mail_kit.mail.envelope import Envelope, Recipient
from twisted_mail_kit.mail.outcome import Outcome


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """One message that waits for at least one recipient. Its id is the envelope's trace id."""

    envelope: Envelope
    """`envelope.received_at` is when the queue took it; its age counts from then."""
    blob_id: str
    """Give it to `ISpool.read_blob`."""
    size: int
    """Octets."""

    @property
    def id(self) -> str:
        """The trace id."""
        return self.envelope.trace_id


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """One recipient of a queued message: recipients wait, succeed and fail independently."""

    message_id: str
    number: int
    """Its place among the recipients of the message, from 0."""
    recipient: Recipient
    destination: str
    """Where it is to go: what attempts are grouped, and limited, by. The domain as a rule."""
    next_try: float
    """Seconds since 1970 UTC: not before then."""
    attempts: int = 0
    last: Outcome | None = None
    """What the last attempt brought."""
    delay_told: bool = False
    """The sender has had a delay notice."""
    is_held: bool = False
    """Not tried until it is released."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Work that a process has taken: recipients of one message for one destination. Nobody else tries them until the
    lease ends: by `ISpool.settle`, or by time, when its process is thought dead."""

    message: QueuedMessage
    recipients: tuple[QueuedRecipient, ...]
    owner: str
    until: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one leased recipient. `next_try` None: it is done with, delivered or failed, and leaves the queue;
    else it is tried again then."""

    recipient: QueuedRecipient
    outcome: Outcome
    next_try: float | None
    delay_told: bool = False


class SpoolCounts(NamedTuple):
    """What is queued, in numbers."""

    messages: int
    octets: int
    """Of all of them."""
    oldest: float | None
    """When the oldest was received, seconds since 1970 UTC; None: there is none."""
    due: int
    """Recipients that may be tried now, or are being tried."""
    waiting: int
    """Recipients whose next try is yet to come."""
    held: int
    """Recipients that are not tried until they are released."""


class TraceEvent(NamedTuple):
    """One line in the timeline of a message."""

    trace_id: str
    time: float
    """Seconds since 1970 UTC."""
    event: str
    """queued, delivered, delayed, failed, delay-notice, bounced, held, released, removed, changed."""
    recipient: str
    """The address; empty where the line is about the whole message."""
    remote: str
    """The host that was spoken to, as name and address; empty where there was none."""
    text: str
    """The other side's own words, or ours."""
