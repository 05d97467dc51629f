"""Promises of a store that other processes may read for themselves: they see what was acknowledged."""

from __future__ import annotations

import base64
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from twisted_mail_kit.errors import AccountNotFound
from twisted_mail_kit.interfaces import IAccount, IMailStore, IReadElsewhere, Remove, SetFlags
from twisted_mail_kit.testing.contracts.abilities import able
from twisted_mail_kit.testing.contracts.child import Child, child
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, promise, running_reactor
from twisted_mail_kit.testing.contracts.steps import add, create, history, inbox, messages, read, snapshot

HERE = "twisted_mail_kit.testing.contracts.elsewhere"


class ElsewherePromises(StoreBench):
    """IReadElsewhere: skipped aloud where it is not provided, or no other process finds the mail."""

    level = "processes"

    @promise
    async def test_what_was_acknowledged_is_read_elsewhere(self, store: IMailStore, account: IAccount) -> None:
        other = self._reader(store)
        try:
            box, there = await inbox(account), await create(account, "There")
            for octets in (b"one", b"", bytes(range(256)) * 2000):
                await add(account, box.id, octets, flags=frozenset({"$x"}), summary=b"s")
                assert await _asked(other, "alice") == repr(await facts(account))
            await account.apply([SetFlags(box.id, [1], add=frozenset({"\\Seen"})), Remove(box.id, [2])])
            await add(account, there.id)
            assert await _asked(other, "alice") == repr(await facts(account))
            late = await store.open_account("bob", create=True)
            await add(late, (await inbox(late)).id)
            assert await _asked(other, "bob") == repr(await facts(late))
        finally:
            other.kill()
            await other.done()

    @promise
    async def test_an_account_does_not_appear_by_being_read_elsewhere(self, store: IMailStore) -> None:
        other = self._reader(store)
        try:
            for _ in range(2):
                assert await _asked(other, "nobody") == "AccountNotFound"
            with pytest.raises(AccountNotFound):
                await store.open_account("nobody")
            await store.open_account("nobody", create=True)
            assert await _asked(other, "nobody") != "AccountNotFound"
            other.tell(json.dumps(None))
            assert await other.done() == 0, other.complaints.decode(errors="replace")
        finally:
            other.kill()
            await other.done()

    def _reader(self, store: IMailStore) -> Child:
        """A process that reads."""
        if not self.persistent:
            pytest.skip("not a persistent store: no other process finds its mail")
        where = base64.b64encode(pickle.dumps(able(store, IReadElsewhere).read_elsewhere())).decode()
        return child(self, f"{HERE}:tell_facts", where)


async def _asked(other: Child, name: str) -> str:
    other.tell(json.dumps(name))
    async for line in other:
        return str(json.loads(line))
    raise AssertionError(f"the reader is gone: {other.complaints.decode(errors='replace')}")


async def facts(account: IAccount) -> tuple[object, ...]:
    """All that there is to read."""
    there = await snapshot(account)
    told = await history(account, 0)
    octets = [
        (box_id, row.uid, await read(account, row.blob_id))
        for box_id in sorted(there.messages)
        for row in await messages(account, box_id)
    ]
    boxes = sorted(there.mailboxes.values())
    rows = [[*row[:8], sorted(row.flags), *row[9:]] for box in boxes for row in there.messages[box.id]]
    return there.state, boxes, rows, told.until, sorted(told.removed), [row.uid for row in told.messages], octets


# --- in the other process --------------------------------------------------------------------------------------------


async def tell_facts(bench: StoreBench, say: Callable[[str], None], where: str) -> None:
    """Say what there is of each account that is asked for; an end when None is."""
    factory, arguments = pickle.loads(base64.b64decode(where))  # from our own parent
    module, _, name = factory.rpartition(".")
    make = getattr(importlib.import_module(module), name)
    reader: Any = await finished(make(running_reactor(), **arguments))
    try:
        while name := json.loads(await deferToThread(sys.stdin.readline)):
            try:
                told = repr(await facts(await finished(reader.open_account(name))))
            except AccountNotFound:
                told = "AccountNotFound"
            say(json.dumps(told))
    finally:
        await finished(reader.close())


tell_facts.wants_bench = True  # type: ignore[attr-defined]
