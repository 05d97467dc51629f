"""What the store asks its index is answered by looking up, however many accounts and messages there are."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from twisted_mail_kit.errors import MailboxNotFound
from twisted_mail_kit.imap.model import OpenMailbox
from twisted_mail_kit.interfaces import IAccount, IListing
from twisted_mail_kit.mail.operations import (
    Add,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    Move,
    Remove,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore, schema
from twisted_mail_kit.stores.sqlite.reading import SHORT

from .conftest import add, blob

SCANS = {
    "SCAN graves": "mailboxes that are being emptied: the first one",
    "SCAN accounts USING INDEX accounts_removals": "accounts that have removed something, of which some are old",
    "SCAN segments": "at start: those that were not closed",
    "SCAN CONSTANT ROW": "no table",
}
"""What may be gone through from one end, and why it is short."""


async def live(store: SQLiteStore) -> None:
    """Everything that can be asked of a store, once at least."""
    unwatch = store.watch_changes(lambda name, modseq: None)
    joe = await store.open_account("joe", create=True)
    await store.open_account("joe")
    inbox = (await joe.mailboxes())[0].id
    trash, gone = [box.id for box in (await joe.apply([CreateMailbox(("Trash",)), CreateMailbox(("Gone",))])).results]
    await joe.apply([UpdateMailbox(trash, name=("Bin",), role="trash")])
    for number in range(30):
        await joe.apply([Add(inbox, await blob(joe, b"x" * number), number, b"s")], token=f"t{number}")
    await joe.apply([Add(inbox, await blob(joe, b"x" * 400_000), 0)], if_state=await joe.state())
    (row,) = await joe.messages(inbox, [3])
    assert await joe.read_blob(row.blob_id, 0, 10) == b"xx"
    await joe.apply([Add(gone, row.blob_id, 0), Add("#0", row.blob_id, 0)][:1])
    await joe.messages(inbox)
    await joe.messages(inbox, range(1, 31))
    await joe.messages(inbox, range(1, 31, 7))
    await joe.listing(inbox)
    await joe.apply([SetFlags(inbox, range(1, 20), add=frozenset({"$Work"}), unchanged_since=10)])
    await joe.apply([Copy(inbox, [1, 2], trash), Move(inbox, [3, 4], trash), Remove(inbox, [5])])
    await joe.apply([DeleteMailbox(gone)])
    state = await joe.state()
    for since in (0, state - 2, state):
        await joe.changes(since, limit=2)
        await joe.changes(since, inbox, limit=2)
    await store.open_account("zoe", create=True)
    await store.account_names()
    await store.remove_account("zoe")
    await store.keep_house()
    await deferLater(reactor, 0.1)
    unwatch()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that a store says to SQLite."""
    said: list[str] = []

    def listening(really: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        def opened(*args: Any) -> sqlite3.Connection:
            connection = really(*args)
            connection.set_trace_callback(said.append)
            return connection

        return opened

    monkeypatch.setattr(schema, "open_reader", listening(schema.open_reader))
    monkeypatch.setattr(schema, "open_writer", listening(schema.open_writer))
    return said


async def test_every_statement_is_served_by_an_index(tmp_path: Path, said: list[str]) -> None:
    settings = SQLiteSettings(blob_grace=-1.0, tombstones=0, tombstone_age=-10.0, watch_interval=0.02)
    store = SQLiteStore(tmp_path, reactor, settings)
    await live(store)
    await store.close()
    statements = {
        re.sub(r"\b\d+\b", "1", text): text for text in said if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)", text)
    }
    assert len(statements) > 40, "the store was not listened to"
    scans = []
    with closing(sqlite3.connect(tmp_path / schema.INDEX)) as connection:
        for statement in statements.values():
            for *_, plan in connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
                is_scan = plan.startswith("SCAN") and not re.match(r"SCAN \d+ CONSTANT ROWS|SCAN \w+-subquery", plan)
                if is_scan and plan not in SCANS and not plan.startswith("SCAN (subquery"):
                    scans.append(f"{plan}: {statement[:200]}")
                if "TEMP B-TREE" in plan and "accounts" in statement:
                    scans.append(f"sorts: {statement[:200]}")
    assert not scans, "\n".join(scans)


async def test_flags_and_counts_do_not_look_at_what_never_changes(tmp_path: Path, said: list[str]) -> None:
    store = SQLiteStore(tmp_path, reactor)
    account = await store.open_account("joe", create=True)
    box = (await account.mailboxes())[0].id
    for number in range(20):
        await add(account, box, b"x" * number)
    del said[:]
    await account.apply([SetFlags(box, range(1, 20), add=frozenset({r"\Seen"}))])
    await account.listing(box)
    await store.close()
    with closing(sqlite3.connect(tmp_path / schema.INDEX)) as connection:
        asked = [text for text in said if "entries" in text or "messages" in text]
        plans = [row[3] for text in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert plans and not [plan for plan in plans if "facts" in plan]


async def test_a_listing_is_what_the_messages_say(store: SQLiteStore) -> None:
    account = await store.open_account("joe", create=True)
    assert IListing.providedBy(account)
    box = (await account.mailboxes())[0].id
    assert [list(column) for column in await account.listing(box)] == [[], [], [], [], []]
    shared = await blob(store, b"x" * 77)
    many = SHORT + 50
    await account.apply([Add(box, shared, number - 5, b"s") for number in range(many)])
    await account.apply([SetFlags(box, range(1, many, 3), add=frozenset({r"\Seen", "$Work"})), Remove(box, [2, 7])])
    rows = await account.messages(box, limit=many)
    expected = [(row.uid, row.flags, row.modseq, row.size, row.internal_date) for row in rows]
    for limit in (many * 2, 7):
        found: list[tuple[Any, ...]] = []
        after = 0
        while (page := list(zip(*await account.listing(box, after, limit), strict=True))) and len(page) <= limit:
            found += page
            after = page[-1][0]
        assert found == expected
    assert list((await account.listing(box, 1 << 32)).uids) == []
    assert list((await account.listing(box, limit=0)).uids) == []
    with pytest.raises(MailboxNotFound):
        await account.listing("m999")


class _Plain:
    """The account without IListing."""

    def __init__(self, account: IAccount) -> None:
        self.name, self.state, self.messages, self.changes = (
            account.name,
            account.state,
            account.messages,
            account.changes,
        )


async def test_an_open_mailbox_is_the_same_with_a_listing_and_without(store: SQLiteStore) -> None:
    account = await store.open_account("joe", create=True)
    shared = await blob(store, b"x" * 77)
    (inbox,) = await account.mailboxes()
    await account.apply([Add(inbox.id, shared, number, b"s") for number in range(2500)])
    await account.apply([SetFlags(inbox.id, range(1, 2500, 7), add=frozenset({r"\Seen", "$Work"}))])
    await account.apply([Remove(inbox.id, range(1, 2500, 11))])
    models = [OpenMailbox(one, inbox, lambda *_: lambda: None) for one in (account, _Plain(account))]
    columns = []
    for model in models:
        await model.refresh()
        flags = [model.flag_sets[number] for number in model.flag_ids]
        columns.append((model.uids, flags, model.modseqs, model.sizes, model.dates, model.modseq))
    assert columns[0] == columns[1]
    assert len(models[0].uids) == (await account.mailboxes())[0].total
    octets = sum(len(column) * column.itemsize for column in (models[0].uids, models[0].flag_ids, models[0].modseqs))
    assert octets <= 14 * len(models[0].uids)
