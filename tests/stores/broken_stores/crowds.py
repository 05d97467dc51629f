"""Stores that are broken where many are at work at once."""

from __future__ import annotations

from typing import Any

from broken_stores import SoundAccount, breaks
from twisted_mail_kit.interfaces import Applied, Changes, Copy, Move, Remove
from twisted_mail_kit.stores.memory_draft import Draft
from twisted_mail_kit.testing.contracts.crowds import pause


@breaks("test_many_applies_at_once_get_uids_and_modseqs_of_their_own")
class TheLastOneWins(SoundAccount):
    """Two that begin at the same time begin with the same numbers."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        if len(ops) == 1:
            return await super().apply(ops, if_state, token)
        draft = Draft(self, self.store.seconds())
        results = tuple(draft.do(op) for op in ops)
        await pause()
        draft.put_in_place()
        return Applied(self.modseq, results)


@breaks("test_nobody_sees_half_of_an_apply")
class MovesInTwoSteps(SoundAccount):
    """What is moved is in both mailboxes for a moment."""

    async def apply(self, ops: Any, *said: Any, **more: Any) -> Applied:
        op = ops[0]
        if not isinstance(op, Move):
            return await super().apply(ops, *said, **more)
        applied = await super().apply([Copy(op.mailbox_id, op.uids, op.to_mailbox_id)])
        await pause()
        await super().apply([Remove(op.mailbox_id, op.uids)])
        return applied


@breaks("test_a_token_said_many_times_at_once_does_its_work_once")
class TokenLookedUpTooSoon(SoundAccount):
    """Whether a token is known is asked before the transaction."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        if token in self.tokens:
            return await super().apply(ops, if_state, token)
        await pause()
        applied = await super().apply(ops, if_state)
        if token is not None:
            self.tokens[token] = (self.store.seconds(), applied)
        return applied


@breaks("test_who_follows_the_changes_misses_nothing")
class AppearsLate(SoundAccount):
    """A commit is told only when the next has been: out of order for who asked in between."""

    async def changes(self, *said: Any, **more: Any) -> Changes:
        page = await super().changes(*said, **more)
        return page._replace(messages=tuple(row for row in page.messages if row.modseq < page.until))
