"""Rows of the database as the queue's values, those that cannot be read included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Status
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient
from twisted_mail_kit.queue.codec import (
    Unreadable,
    decode_envelope,
    decode_outcome,
    decode_recipient,
    encode_outcome,
    encode_recipient,
)
from twisted_mail_kit.stores.sqlite.rows import blob_id

MESSAGE = "id, blob, size, envelope"
RECIPIENT = "message, number, destination, next_try, attempts, delay_told, is_held, recipient, last"

Row = tuple[Any, ...]

UNREADABLE = Recipient(Address("unreadable", "invalid"))
"""Stands for a recipient whose row cannot be read (RFC 2606 2)."""


def message(row: Row) -> QueuedMessage:
    """A message, from a row of MESSAGE. Raises Unreadable."""
    message_id, blob, size, envelope = row
    if type(blob) is not int or type(size) is not int:
        raise Unreadable("its blob is no number")
    try:
        return QueuedMessage(decode_envelope(envelope, message_id), blob_id(blob), size)
    except Unreadable as error:
        raise Unreadable(f"the envelope of {message_id} cannot be read: {error}") from error


def recipient(row: Row) -> QueuedRecipient:
    """A recipient, from a row of RECIPIENT. Raises Unreadable."""
    message_id, number, destination, next_try, attempts, delay_told, is_held, encoded, last = row
    try:
        # RETURNING gives a whole number of a REAL column as an integer.
        if type(number) is not int or type(attempts) is not int or type(next_try) not in (float, int):
            raise Unreadable("its numbers are none")
        return QueuedRecipient(
            message_id,
            number,
            decode_recipient(encoded),
            destination,
            float(next_try),
            attempts,
            decode_outcome(last),
            bool(delay_told),
            bool(is_held),
        )
    except Unreadable as error:
        raise Unreadable(f"recipient {number} of {message_id} cannot be read: {error}") from error


def shown(row: Row, recipients: Sequence[Row]) -> tuple[QueuedMessage, list[QueuedRecipient]]:
    """A message with its recipients for those who look; what cannot be read says so, and is held."""
    try:
        known, reason = message(row), ""
    except Unreadable as error:
        reason = str(error)
        nobody = Peer(host="", service="queue", is_local=True)
        known = QueuedMessage(Envelope(sender=None, peer=nobody, trace_id=row[0]), "", 0)
    return known, [_shown_recipient(one, reason) for one in recipients]


def _shown_recipient(row: Row, reason: str) -> QueuedRecipient:
    try:
        known = recipient(row)
    except Unreadable as error:
        number = row[1] if type(row[1]) is int else 0
        reason, known = str(error), QueuedRecipient(row[0], number, UNREADABLE, str(row[2]), 0.0)
    if not reason:
        return known
    return QueuedRecipient(
        known.message_id,
        known.number,
        known.recipient,
        known.destination,
        known.next_try,
        known.attempts,
        held_aside(reason),
        known.delay_told,
        is_held=True,
    )


def held_aside(reason: str) -> Delayed:
    """The outcome of a recipient that is held because something in the queue cannot be read."""
    return Delayed(Status("4.3.0", "".join(letter if letter.isprintable() else "?" for letter in reason)))


def new_recipient(one: QueuedRecipient, owner: str, run: int, until: float) -> Row:
    """The row of a recipient that comes in."""
    ready: float | None = float(max(one.next_try, until) if owner else one.next_try)
    if one.is_held:
        ready = None
    return (
        one.message_id,
        one.destination,
        one.number,
        float(one.next_try),
        one.attempts,
        one.delay_told,
        one.is_held,
        owner or None,
        run if owner else None,
        float(until) if owner else None,
        ready,
        encode_recipient(one.recipient),
        encode_outcome(one.last),
    )
