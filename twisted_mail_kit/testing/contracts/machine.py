"""A hypothesis state machine: two accounts of a store, and the same in memory, live through the same random days."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from twisted_mail_kit.interfaces import Added, IMailStore
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts.crowds import at_once
from twisted_mail_kit.testing.contracts.lasting import how_many
from twisted_mail_kit.testing.contracts.pairs import Pair
from twisted_mail_kit.testing.contracts.promise import running_reactor

seeds = st.integers(0, 2**8)
accounts = st.integers(0, 1)
limits = st.sampled_from([1000, 1, 3])
words = {kind: st.just(kind) for kind in ("create", "update", "delete", "copy", "move", "replace", "flag", "remove")}
kinds = st.one_of(st.just("add"), *words.values())
In = Callable[[Coroutine[Any, Any, Any]], Any]


def live(
    store: IMailStore,
    reopen: Callable[[], Coroutine[Any, Any, IMailStore]] | None,
    is_over: list[bool],
    steps: int,
    lives_asked: int,
) -> None:
    """Let it live through all its lives, in a thread; raises what went wrong, with the shortest story that shows it."""
    current, lives = [store], [0]

    def in_reactor(coroutine: Coroutine[Any, Any, Any]) -> Any:
        if is_over:
            coroutine.close()
            raise TimeoutError("the promise has taken too long")
        return blockingCallFromThread(running_reactor(), Deferred.fromCoroutine, coroutine)

    class Life(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            lives[0] += 1
            self.pairs: list[Pair] = in_reactor(_born(current[0], lives[0]))
            self.touched: set[int] = set()

        @rule(
            number=accounts,
            handle=accounts,
            kinds=st.lists(kinds, min_size=1, max_size=3),
            seed=seeds,
            guard=st.booleans(),
            token=st.one_of(st.none(), st.integers(0, 2)),
        )
        def apply(self, number: int, handle: int, kinds: list[str], seed: int, guard: bool, token: int | None) -> None:
            """Several operations, or none of them."""
            self.touched.add(number)
            pair = self.pairs[number].seeded(seed, handle)
            story: list[str] = []
            try:
                in_reactor(pair.step(kinds, guard, None if token is None else f"token {token}", story.append))
            finally:
                for line in story:
                    note(f"# {line}")

        @rule(number=accounts, times=st.integers(2, 4), seed=seeds)
        def add_at_once(self, number: int, times: int, seed: int) -> None:
            """Several applies, none of which waits for another."""
            self.touched.add(number)
            in_reactor(_add_at_once(self.pairs[number].seeded(seed, 0), times))

        @rule(number=accounts, limit=limits, seed=seeds)
        def follow(self, number: int, limit: int, seed: int) -> None:
            """Changes since any state, in pages."""
            in_reactor(self.pairs[number].seeded(seed, 0).compare_changes(limit))

        @rule(number=accounts, limit=limits, seed=seeds)
        def look_up(self, number: int, limit: int, seed: int) -> None:
            """Some messages by their UIDs, in a page."""
            in_reactor(self.pairs[number].seeded(seed, 1).compare_some(limit))

        @precondition(lambda self: reopen is not None)
        @rule(really=st.integers(0, 2))
        def close_and_open_again(self, really: int) -> None:
            """All that was is as it was. Not as often as other things: it takes longer."""
            assert reopen is not None
            if really:
                return
            current[0] = in_reactor(reopen())
            for pair in self.pairs:
                in_reactor(pair.open_again(current[0]))
            self.touched = {0, 1}

        @invariant()
        def is_the_same(self) -> None:
            for number in self.touched:
                in_reactor(self.pairs[number].compare_rows())
            self.touched.clear()

        def teardown(self) -> None:
            """And nothing has happened to an account by what was done to the other."""
            if not is_over:
                for pair in self.pairs:
                    in_reactor(pair.compare_rows())

    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=how_many(lives_asked, "MAILKIT_MODEL"),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            derandomize="MAILKIT_MODEL" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )


async def _born(store: IMailStore, number: int) -> list[Pair]:
    model, born = MemoryStore(), []
    for name in ("a", "b"):
        real = f"{name} {number}"
        handles = [await store.open_account(real, create=True), await store.open_account(real)]
        pair = Pair(await model.open_account(name, create=True), handles[0], random.Random(0))
        pair.handles = handles
        await pair.compare_rows()
        born.append(pair)
    return born


async def _add_at_once(pair: Pair, times: int) -> None:
    """The order is the store's to choose; its modseqs say which it was, and the model follows."""
    asked = [await pair.add_somewhere() for _ in range(times)]
    handles = pair.handles
    applied = await at_once(handles[turn % 2].apply([real]) for turn, (_, real) in enumerate(asked))
    assert len({one.modseq for one in applied}) == times, "each apply has a modseq of its own"
    for theirs, (op, _) in sorted(zip(applied, asked, strict=True), key=lambda both: both[0].modseq):
        ours = await pair.model.apply([op])
        assert isinstance(theirs.results[0], Added)
        pair.same_applied(ours, theirs)
