"""Promises about several processes on one store: each sees what the others do, in the order in which it was done."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from twisted.internet.threads import deferToThread

from twisted_mail_kit.errors import StateMismatch
from twisted_mail_kit.interfaces import Add, Added, IAccount, IChangeHints, IMailStore, Message, Remove, SetFlags
from twisted_mail_kit.testing.contracts.child import Child, child
from twisted_mail_kit.testing.contracts.crowds import at_once, pause
from twisted_mail_kit.testing.contracts.promise import StoreBench, promise
from twisted_mail_kit.testing.contracts.steps import add, history, inbox, message, messages, put_blob, read, write_blob

HERE = "twisted_mail_kit.testing.contracts.processes"
Say = Callable[[str], None]


class ProcessPromises(StoreBench):
    """All of it skips aloud where the store is not persistent: ``make_store`` is called in other processes too."""

    level = "processes"
    seen_within = 5.0
    """Seconds in which a hint of another process' commit has to arrive."""

    @promise
    async def test_what_two_processes_do_at_once_is_all_done(self, store: IMailStore) -> None:
        await self._deliver_at_once(store, 2)

    @promise
    async def test_what_four_processes_do_at_once_is_all_done(self, store: IMailStore) -> None:
        await self._deliver_at_once(store, 4)

    async def _deliver_at_once(self, store: IMailStore, processes: int) -> None:
        """This process is one of them."""
        async with self._children("deliver", processes - 1) as children:
            said: list[str] = []
            await at_once([deliver(store, said.append, "0"), *(_all_said(one, said) for one in children)])
        told = [json.loads(line) for line in said if line.startswith("[")]
        shared = await store.open_account("shared")
        rows = await messages(shared, (await inbox(shared)).id)
        assert len(told) == processes * TURNS
        assert {row.uid: row.modseq for row in rows} == {uid: modseq for uid, modseq, _ in told}
        assert len({row.modseq for row in rows}) == len(rows) == len(told), "UIDs and modseqs are of one apply each"
        assert [row.modseq for row in rows] == sorted(row.modseq for row in rows)
        assert (await inbox(shared)).total == len(rows)
        texts = {uid: text for uid, _, text in told}
        for row in rows:
            assert await read(shared, row.blob_id) == texts[row.uid].encode()
        for number in range(processes):
            own = await store.open_account(f"own {number}")
            assert (await inbox(own)).total == TURNS

    @promise
    async def test_commits_become_visible_in_their_order_in_every_process(self, store: IMailStore) -> None:
        await store.open_account("shared", create=True)
        async with self._children("follow", 1) as followers, self._children("deliver", 2) as writers:
            said: list[str] = []
            told = await at_once([follow(store, said.append, "0"), *(_all_said(one, said) for one in followers)])
            assert told is not None
            for one in writers:
                await _all_said(one, said)
        account = await store.open_account("shared")
        there = {str(row.uid): row.modseq for row in await messages(account, (await inbox(account)).id)}
        seen = [json.loads(line) for line in said if line.startswith("{")]
        assert len(seen) == 2 and all(one == there for one in seen), "who followed has missed something"

    @promise
    async def test_what_a_process_was_answered_is_seen_by_all(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        async with self._children("answer", 1) as [other]:
            async for line in other:
                uid, modseq = json.loads(line)
                assert await account.state() >= modseq, "not yet seen"
                row = await message(account, box.id, uid)
                assert await read(account, row.blob_id) == b"an answer"
                told = await account.changes(modseq - 1)
                assert uid in [one.uid for one in told.messages]
                await account.apply([SetFlags(box.id, [uid], add=frozenset({"heard"}))])
                other.tell("go on")

    @promise
    async def test_a_token_does_its_work_once_over_all_processes(self, store: IMailStore, account: IAccount) -> None:
        said: list[str] = []
        async with self._children("say_tokens", 2) as children:
            await at_once([say_tokens(store, said.append, "0"), *(_all_said(one, said) for one in children)])
        answers: dict[str, list[tuple[int, bool]]] = {}
        for token, uid, replayed in map(json.loads, said):
            answers.setdefault(token, []).append((uid, replayed))
        assert len(answers) == TURNS
        for token, given in answers.items():
            assert len({uid for uid, _ in given}) == 1, f"{token} was answered in two ways"
            assert sum(not replayed for _, replayed in given) == 1, f"{token} did its work more than once"
        assert (await inbox(account)).total == TURNS

    @promise
    async def test_no_update_is_lost_between_processes(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        (added,) = await add(account, box.id, flags=frozenset({"n0"}))
        async with self._children("count", 2) as children:
            said: list[str] = []
            await at_once([count(store, said.append, "0"), *(_all_said(one, said) for one in children)])
        assert (await message(account, box.id, added.uid)).flags == {f"n{3 * TURNS}"}

    @promise
    async def test_an_account_that_several_processes_make_is_made_once(self, store: IMailStore) -> None:
        said: list[str] = []
        async with self._children("make", 2) as children:
            await at_once([make(store, said.append, "0"), *(_all_said(one, said) for one in children)])
        for name in {json.loads(line)[0] for line in said}:
            boxes = {tuple(json.loads(line)) for line in said if json.loads(line)[0] == name}
            assert len(boxes) == 1, f"{name} was made twice"

    @promise
    async def test_a_process_that_is_killed_does_not_hinder_the_others(
        self, store: IMailStore, account: IAccount
    ) -> None:
        box = await inbox(account)
        acknowledged: dict[int, str] = {}
        async with self._children("write_on", 2) as children:
            for number, one in enumerate(children):
                async for line in one:
                    uid, text = json.loads(line)
                    acknowledged[uid] = text
                    if len(acknowledged) >= 10 * (number + 1):
                        one.kill()
                await one.done()
                (added,) = await add(account, box.id, b"life goes on")
                assert added.uid not in acknowledged
        rows = {row.uid: row for row in await messages(account, box.id)}
        for uid, text in acknowledged.items():
            assert uid in rows, f"UID {uid} was acknowledged, and is not there"
            assert await read(account, rows[uid].blob_id) == text.encode()

    @promise
    async def test_hints_tell_of_the_commits_of_other_processes(self, store: IMailStore, account: IAccount) -> None:
        if not IChangeHints.providedBy(store):
            pytest.skip("the store does not provide IChangeHints: the framework polls")
        heard: list[int] = []
        box = await inbox(account)
        unwatch = IChangeHints(store).watch_changes(
            lambda name, modseq: heard.extend([modseq] if name == "alice" else [])
        )
        async with self._children("answer", 1) as [other]:
            async for line in other:
                uid, modseq = json.loads(line)
                for _ in range(int(self.seen_within / 0.01)):
                    if heard and heard[-1] >= modseq:
                        break
                    await pause(0.01)
                assert heard and heard[-1] >= modseq, "no hint came"
                assert (await message(account, box.id, uid)).uid == uid
                other.tell("go on")
        unwatch()
        assert heard == sorted(heard)

    @asynccontextmanager
    async def _children(self, function: str, how_many: int) -> AsyncIterator[list[Child]]:
        """So many processes; none is left behind, and one that fails fails the promise."""
        if not self.persistent:
            pytest.skip("not a persistent store: no other process finds its mail")
        children = [child(self, f"{HERE}:{function}", str(number)) for number in range(1, how_many + 1)]
        try:
            yield children
            for one in children:
                code = await one.done()
                assert code <= 0, one.complaints.decode(errors="replace")
        finally:
            for one in children:
                one.kill()
                await one.done()


TURNS = 15


async def _all_said(one: Child, said: list[str]) -> None:
    async for line in one:
        said.append(line)


# --- what the processes do -------------------------------------------------------------------------------------------


async def deliver(store: IMailStore, say: Say, number: str) -> None:
    """Messages into the account of all and into one of our own, a few at a time."""
    shared = await store.open_account("shared", create=True)
    own = await store.open_account(f"own {number}", create=True)
    shared_box, own_box = (await inbox(shared)).id, (await inbox(own)).id

    async def one(turn: int) -> None:
        text = f"message {turn} of process {number}"
        await own.apply([Add(own_box, await put_blob(own, text.encode()), 1)])
        applied = await shared.apply([Add(shared_box, await put_blob(shared, text.encode()), 1)])
        (added,) = applied.results
        assert isinstance(added, Added)
        say(json.dumps([added.uid, applied.modseq, text]))

    for turn in range(0, TURNS, 5):
        await at_once(one(each) for each in range(turn, turn + 5))


async def follow(store: IMailStore, say: Say, number: str) -> None:
    """Follow the changes until all is there, and say what was seen."""
    account = await store.open_account("shared", create=True)
    box = await inbox(account)
    seen, told, last = 0, dict[str, int](), False
    while not last:
        last = (await inbox(account)).total == 2 * TURNS
        changes = await history(account, seen, limit=7)
        for row in changes.messages:
            assert row.modseq > seen, f"modseq {row.modseq} appeared when {seen} had been seen"
            assert row.uid > max(map(int, told), default=0), f"UID {row.uid} appeared behind a greater one"
            told[str(row.uid)] = row.modseq
        seen = changes.until
        rows: list[Message] = await messages(account, box.id)
        assert len(rows) >= len(told), "what was seen is not there"
        await pause(0.002)
    say(json.dumps(told))


async def answer(store: IMailStore, say: Say, number: str) -> None:
    """Say each commit, and wait until it was looked at."""
    account = await store.open_account("alice")
    box = await inbox(account)
    for turn in range(5):
        applied = await account.apply([Add(box.id, await put_blob(account, b"an answer"), turn)])
        (added,) = applied.results
        assert isinstance(added, Added)
        say(json.dumps([added.uid, applied.modseq]))
        await deferToThread(sys.stdin.readline)


async def say_tokens(store: IMailStore, say: Say, number: str) -> None:
    """The same tokens in every process, in another order each."""
    account = await store.open_account("alice")
    box, blob = await inbox(account), await put_blob(account)
    order = [(turn * (2 + int(number) * 2) + int(number)) % TURNS for turn in range(TURNS)]
    for turn in [*order, *range(TURNS)]:
        applied = await account.apply([Add(box.id, blob, 1)], token=f"delivery {turn}")
        (added,) = applied.results
        assert isinstance(added, Added)
        say(json.dumps([f"delivery {turn}", added.uid, applied.replayed]))


async def count(store: IMailStore, say: Say, number: str) -> None:
    """Add one to the number that a message has for a keyword, as often as there are turns."""
    account = await store.open_account("alice")
    box = await inbox(account)
    done = 0
    while done < TURNS:
        state = await account.state()
        (row,) = await account.messages(box.id)
        (flag,) = row.flags
        more = SetFlags(box.id, [row.uid], replace=frozenset({f"n{int(flag[1:]) + 1}"}))
        try:
            await account.apply([more], if_state=state)
            done += 1
        except StateMismatch:
            await pause(0.001 * int(number))


async def make(store: IMailStore, say: Say, number: str) -> None:
    """Make accounts that everybody makes."""
    for turn in range(10):
        account = await store.open_account(f"new {turn}", create=True)
        (box,) = await account.mailboxes()
        say(json.dumps([f"new {turn}", box.id, box.uidvalidity]))


async def write_on(store: IMailStore, say: Say, number: str) -> None:
    """Write until killed."""
    account = await store.open_account("alice")
    box = await inbox(account)
    for turn in range(1_000_000):
        text = f"{number} {turn} " + "x" * (300_000 if turn % 5 == 1 else 10)
        blob = await write_blob(account.new_blob(), text.encode())
        (added, _) = (await account.apply([Add(box.id, blob, 1), Remove(box.id, [1])])).results
        assert isinstance(added, Added)
        if turn:  # the first may be the one that the last operation has removed
            say(json.dumps([added.uid, text]))
