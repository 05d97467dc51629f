"""Promises about many at once: nobody sees half, nobody misses anything, nothing is given out twice."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults

from twisted_mail_kit.interfaces import (
    Add,
    Added,
    Applied,
    Copied,
    CreateMailbox,
    IAccount,
    IMailStore,
    Message,
    Move,
    Operation,
    Remove,
    SetFlags,
)
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise, running_reactor
from twisted_mail_kit.testing.contracts.steps import add, create, history, inbox, messages, put_blob


class CrowdPromises(StoreBench):
    """Concurrency within one process."""

    @promise
    async def test_many_applies_at_once_get_uids_and_modseqs_of_their_own(self, store: IMailStore) -> None:
        account = await store.open_account("alice", create=True)
        other = await store.open_account("alice")
        box, blob = await inbox(account), await put_blob(account)
        ops: list[Operation] = [Add(box.id, blob, 1), Add(box.id, blob, 2)]
        applied: list[Applied] = await at_once((account, other)[turn % 2].apply(ops) for turn in range(40))
        assert len({one.modseq for one in applied}) == 40
        given = {result.uid: one.modseq for one in applied for result in one.results if isinstance(result, Added)}
        assert {row.uid: row.modseq for row in await messages(account, box.id)} == given
        assert len(given) == 80
        in_order = [given[uid] for uid in sorted(given)]
        assert in_order == sorted(in_order), "UIDs and modseqs become visible in the same order"

    @promise
    async def test_a_token_said_many_times_at_once_does_its_work_once(self, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        applied: list[Applied] = await at_once(
            account.apply([Add(box.id, blob, 1)], token="delivery 1") for _ in range(10)
        )
        assert sum(not one.replayed for one in applied) == 1
        assert len({(one.modseq, one.results) for one in applied}) == 1
        assert (await inbox(account)).total == 1

    @promise
    async def test_of_many_with_the_same_state_one_comes_first(self, account: IAccount) -> None:
        state = await account.state()
        results = await at_once(
            (account.apply([CreateMailbox((f"Box {turn}",))], if_state=state) for turn in range(10)), errors=True
        )
        assert sum(isinstance(result, Applied) for result in results) == 1
        assert len(await account.mailboxes()) == 2

    @promise
    async def test_nobody_sees_half_of_an_apply(self, account: IAccount) -> None:
        here, there = await inbox(account), await create(account, "There")
        await add(account, here.id, times=5)
        wrong: list[object] = []

        async def write() -> None:
            source, target = here, there
            for _ in range(15):
                rows = await messages(account, source.id)
                await account.apply([Move(source.id, [row.uid for row in rows], target.id)])
                source, target = target, source

        async def look() -> None:
            for _ in range(30):
                totals = sorted(box.total for box in await account.mailboxes() if box.id in (here.id, there.id))
                rows = [len(await account.messages(box.id)) for box in (here, there)]
                changes = await account.changes(0)
                each: dict[int, int] = {}
                for row in changes.messages:
                    each[row.modseq] = each.get(row.modseq, 0) + 1
                if totals != [0, 5] or not set(rows) <= {0, 5} or list(each.values()) not in ([], [5]):
                    wrong.append((totals, rows, each))

        await at_once([write(), look(), look()])
        assert not wrong

    @promise
    async def test_who_follows_the_changes_misses_nothing(self, account: IAccount) -> None:
        box = await inbox(account)
        blob = await put_blob(account)
        told: dict[int, Message] = {}
        over: list[bool] = []

        async def write(number: int) -> None:
            for turn in range(10):
                (added,) = (await account.apply([Add(box.id, blob, number)])).results
                assert isinstance(added, Added)
                if turn % 3 == 0:
                    await account.apply([SetFlags(box.id, [added.uid], add=frozenset({"\\Seen"}))])
                elif turn % 3 == 1:
                    await account.apply([Remove(box.id, [added.uid])])
                else:
                    (moved,) = (await account.apply([Move(box.id, [added.uid], box.id)])).results
                    assert isinstance(moved, Copied)

        async def follow() -> None:
            seen = 0
            last = False
            while not last:
                last = bool(over)
                changes = await history(account, seen, limit=7)
                for row in changes.messages:
                    assert seen < row.modseq <= changes.until, "a modseq that was passed already has appeared"
                    told[row.uid] = row
                for gone in changes.removed:
                    assert seen < gone.modseq <= changes.until
                    told.pop(gone.uid, None)
                seen = changes.until
                await pause()

        following = Deferred.fromCoroutine(follow())
        await at_once(write(number) for number in range(5))
        over.append(True)
        await following
        assert sorted(told.values()) == sorted(await messages(account, box.id))

    @promise
    async def test_accounts_do_not_hold_each_other_up_or_mix(self, store: IMailStore) -> None:
        async def live(name: str) -> int:
            account = await store.open_account(name, create=True)
            box = await inbox(account)
            for turn in range(5):
                await add(account, box.id, f"{name} {turn}".encode())
            return (await inbox(account)).total

        assert await at_once(live(f"user {number}") for number in range(10)) == [5] * 10


async def at_once(awaitables: Any, errors: bool = False) -> list[Any]:
    """Begin all before one of them is waited for; with `errors`, what they raise is an answer."""

    async def wait(awaitable: Awaitable[Any]) -> Any:
        try:
            return await awaitable
        except Exception as error:
            if errors:
                return error
            raise

    begun = [Deferred.fromCoroutine(wait(awaitable)) for awaitable in awaitables]
    try:
        return await gatherResults(begun, consumeErrors=True)
    except FirstError as first:
        failure: Any = first.subFailure
        raise failure.value from first


async def pause(seconds: float = 0) -> None:
    """Give the others a turn of the reactor, or some time."""
    turn: Deferred[None] = Deferred()
    running_reactor().callLater(seconds, turn.callback, None)
    await turn
