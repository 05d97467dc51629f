"""Flags of many messages at once: those that are meant, and no others."""

from __future__ import annotations

import random
from collections.abc import Sequence

from twisted.internet import reactor

from twisted_mail_kit.interfaces import Add, CreateMailbox, IAccount, Remove, SetFlags
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteStore

from .conftest import blob

SETS = [frozenset(some.split()) for some in ("", "\\Seen", "\\Seen \\Flagged", "x", "\\Seen x y", "\\Draft", "z")]


async def mailboxes_of(account: IAccount) -> list[str]:
    """Three; the second lies between its neighbours in the table, too."""
    await account.apply([CreateMailbox(("One",)), CreateMailbox(("Two",)), CreateMailbox(("Three",))])
    names = {box.name[0]: box.id for box in await account.mailboxes()}
    return [names[name] for name in ("One", "Two", "Three")]


async def filled(account: IAccount) -> list[str]:
    boxes = await mailboxes_of(account)
    letter = await blob(account, b"Letter")
    for box in boxes:
        sets = [SETS[number * number % len(SETS)] for number in range(40)]
        await account.apply([Add(box, letter, 0, flags=flags) for flags in sets])
        await account.apply([Remove(box, [5, 6, 17, 40])])
    return boxes


async def picture(account: IAccount, boxes: Sequence[str]) -> list[object]:
    messages = [[(row.uid, row.flags) for row in await account.messages(box)] for box in boxes]
    unseen = {box.id: box.unseen for box in await account.mailboxes()}
    return [messages, [unseen[box] for box in boxes]]


async def test_the_embedded_store_sets_flags_as_the_reference_does(store: SQLiteStore) -> None:
    ours = await store.open_account("alice", create=True)
    reference = await MemoryStore(reactor).open_account("alice", create=True)
    here, there = await filled(ours), await filled(reference)
    chance = random.Random(4)
    for _ in range(150):
        low, high = sorted(chance.choices(range(-2, 45), k=2))
        uids: Sequence[int] = range(low, high + 1)
        if chance.random() < 0.4:  # numbers that look like a run at both ends, or nearly
            uids = chance.sample(list(uids), len(uids))
            uids = [*uids, *uids[: chance.randint(0, 2)]]
        add_, remove = chance.choice(SETS), chance.choice(SETS)
        replace = chance.choice([None, None, chance.choice(SETS)])
        box = chance.randrange(3)
        answers = []
        for account, boxes, named in ((ours, here, uids), (reference, there, sorted(set(uids)))):
            op = SetFlags(boxes[box], named, add=add_, remove=remove, replace=replace)
            (answer,) = (await account.apply([op])).results
            answers.append((set(answer.changed), answer.refused))
        assert answers[0] == answers[1], (uids, add_, remove, replace)
        assert await picture(ours, here) == await picture(reference, there)


async def test_a_run_of_messages_costs_a_statement_for_each_set_of_flags(store: SQLiteStore) -> None:
    account = await store.open_account("alice", create=True)
    box = (await account.mailboxes())[0].id
    letter = await blob(account, b"Letter")
    await account.apply([Add(box, letter, 0, flags=SETS[number % 2]) for number in range(20)])
    said: list[str] = []
    store._batch.connection.set_trace_callback(said.append)
    await account.apply([SetFlags(box, range(1, 21), add=frozenset({"\\Flagged"}))])
    assert len([one for one in said if one.startswith("UPDATE entries")]) == 2
    assert not [one for one in said if "SAVEPOINT" in one]
    rows = await account.messages(box)
    assert all(row.flags == SETS[number % 2] | {"\\Flagged"} for number, row in enumerate(rows))
