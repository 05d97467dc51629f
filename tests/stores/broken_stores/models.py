"""Stores that are broken where nobody has thought of a promise: only a life beside the model shows it."""

from __future__ import annotations

from typing import Any

from broken_stores import SoundAccount, breaks
from twisted_mail_kit.interfaces import Copied, Copy, Mailbox, Move, Removal, Remove, Removed
from twisted_mail_kit.stores.memory_draft import Draft


@breaks("test_a_store_does_as_the_reference_does")
class TombstonesOfMovesLost(Draft):
    """What was moved is not told as gone."""

    def copy(self, op: Copy | Move) -> Copied:
        before = len(self.tombstones)
        copied = super().copy(op)
        del self.tombstones[before:]
        return copied


@breaks("test_a_store_does_as_the_reference_does")
class SubscribesAgain(Draft):
    """Whatever is changed in a mailbox subscribes it."""

    def update_mailbox(self, op: Any) -> Mailbox:
        box = super().update_mailbox(op)
        self.mailboxes[box.id] = box._replace(subscribed=True)
        return self.mailboxes[box.id]


@breaks("test_a_store_does_as_the_reference_does")
class AnswersLess(Draft):
    """Of two that were removed, one is answered."""

    def remove(self, op: Remove) -> Removed:
        removed = super().remove(op)
        if len(removed.uids) == 2 and isinstance(self.tombstones[-1], Removal):
            return removed._replace(uids=removed.uids[:1])
        return removed


@breaks("test_a_store_does_as_the_reference_does_in_every_life")
class LosesAKeyword(SoundAccount):
    """One keyword hides another."""

    async def messages(self, *said: Any, **more: Any) -> Any:
        rows = await super().messages(*said, **more)
        return [row._replace(flags=row.flags - {"y"}) if len(row.flags) > 1 else row for row in rows]
