"""Stores that are broken in `apply`: half done, more than once, too late, or by the wrong number."""

from __future__ import annotations

from typing import Any

from broken_stores import SoundAccount, breaks
from twisted_mail_kit.errors import MailError
from twisted_mail_kit.interfaces import Applied

DAY = 24 * 3600


@breaks("test_the_state_grows_with_each_commit_and_is_its_modseq")
class StateLagsBehind(SoundAccount):
    """The state is that before the last commit."""

    async def state(self) -> int:
        return await super().state() - 1


@breaks("test_one_apply_is_one_modseq")
class OneAtATime(SoundAccount):
    """Each operation is a commit."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        applied = [await super(OneAtATime, self).apply([op], if_state) for op in ops]
        return Applied(self.modseq, tuple(result for one in applied for result in one.results))


@breaks("test_a_big_apply_is_one_apply_too")
class AThousandAtATime(SoundAccount):
    """A large `apply` is several."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        applied = await super().apply(ops[:1000], if_state, token)
        if len(ops) > 1000:
            more = await super().apply(ops[1000:])
            applied = Applied(more.modseq, applied.results + more.results)
        return applied


@breaks("test_no_operations_are_no_change")
class NothingIsAChange(SoundAccount):
    """Every `apply` takes a modseq."""

    async def apply(self, ops: Any, *said: Any, **more: Any) -> Applied:
        applied = await super().apply(ops, *said, **more)
        if not ops:
            self.modseq += 1
        return applied


@breaks("test_an_apply_that_fails_leaves_nothing_behind")
class HalfDone(SoundAccount):
    """What went before the operation that fails stays done."""

    async def apply(self, ops: Any, *said: Any, **more: Any) -> Applied:
        try:
            return await super().apply(ops, *said, **more)
        except MailError:
            if len(ops) > 1:
                await super().apply(ops[:-1])
            raise


@breaks("test_one_that_comes_too_late_for_its_state_does_nothing", "test_of_many_with_the_same_state_one_comes_first")
class StateIgnored(SoundAccount):
    """`if_state` is not looked at."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        return await super().apply(ops, None, token)


# --- tokens ----------------------------------------------------------------------------------------------------------


@breaks("test_a_token_does_its_work_once_and_answers_the_same_again")
class TokenForgotten(SoundAccount):
    """Tokens are not looked at."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        return await super().apply(ops, if_state)


@breaks("test_a_token_does_its_work_once_and_answers_the_same_again")
class StateGoesBeforeToken(SoundAccount):
    """A delivery that is repeated after its state has passed is refused, though it was done."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        if if_state is not None:
            await super().apply([], if_state)
        return await super().apply(ops, if_state, token)


@breaks("test_other_tokens_are_other_work")
class TokensInLowerCase(SoundAccount):
    """Tokens that look alike are one."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        return await super().apply(ops, if_state, token and token.strip().lower())


@breaks("test_a_token_of_an_apply_that_failed_is_not_used_up")
class TokenUsedUp(SoundAccount):
    """A token whose work has failed counts as done."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        try:
            return await super().apply(ops, if_state, token)
        except MailError:
            if token is not None:
                self.tokens[token] = (self.store.seconds(), Applied(self.modseq, ()))
            raise


@breaks("test_a_token_of_an_apply_that_changed_nothing_is_known_too")
class TokenOfNothingForgotten(SoundAccount):
    """A token is only kept with a commit."""

    async def apply(self, ops: Any, if_state: int | None = None, token: str | None = None) -> Applied:
        before = self.modseq
        applied = await super().apply(ops, if_state, token)
        if self.modseq == before and not applied.replayed:
            self.tokens.pop(token, None)
        return applied


@breaks("test_a_token_is_known_for_seven_days")
class TokensForFiveDays(SoundAccount):
    """Tokens are forgotten too soon."""

    def _forget(self, now: float) -> None:
        super()._forget(now)
        self.tokens = {token: said for token, said in self.tokens.items() if said[0] > now - 5 * DAY}
