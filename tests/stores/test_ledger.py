"""The ledger over plain dictionaries: the whole contract, and what its primitives are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_mail_kit.errors import AccountNotFound, BadSyntax, BlobNotFound, MailboxNotFound, StateTooOld
from twisted_mail_kit.interfaces import (
    Add,
    Applied,
    Copied,
    CreateMailbox,
    DeleteMailbox,
    IMailStore,
    Mailbox,
    Message,
    Move,
    Operation,
    Removal,
    Remove,
    Removed,
    SetFlags,
    UpdateMailbox,
)
from twisted_mail_kit.stores.ledger import Fact, Ledger
from twisted_mail_kit.stores.ledger_account import PIECE, LedgerAccount
from twisted_mail_kit.testing.contracts import MailStoreContract
from twisted_mail_kit.testing.contracts.steps import add, inbox, mailbox, messages, put_blob, read, snapshot

T = TypeVar("T")


class Book:
    """All that is kept of one account."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, int], Fact] = {}
        self.answers: dict[str, Applied] = {}
        self.blobs: dict[str, bytes] = {}

    def copied(self) -> Book:
        book = Book()
        book.facts, book.answers, book.blobs = copy(self.facts), copy(self.answers), copy(self.blobs)
        return book


class DictLedger(Ledger):
    """The primitives, and nothing else."""

    def __init__(self, name: str, now: float, book: Book) -> None:
        super().__init__(name, now)
        self.book = book
        self.log: list[Fact] = []
        self.rows_read = 0

    def mailboxes_kept(self) -> Iterable[Mailbox]:
        return [fact for fact in self.book.facts.values() if isinstance(fact, Mailbox)]

    def messages_after(self, mailbox_id: str, uid: int, limit: int) -> Iterable[Message]:
        uids = sorted(there for box_id, there in self.book.facts if box_id == mailbox_id and there > uid)
        return list(self.messages_of(mailbox_id, uids))[:limit]

    def messages_of(self, mailbox_id: str, uids: Sequence[int]) -> Iterator[Message]:
        assert list(uids) == sorted(set(uids)) and 0 not in uids
        for uid in uids:
            fact = self.book.facts.get((mailbox_id, uid))
            if isinstance(fact, Message):
                self.rows_read += 1
                yield fact

    def facts_between(self, since: int, until: int, limit: int, mailbox_id: str | None) -> Iterable[Fact]:
        facts = [fact for (box_id, _), fact in self.book.facts.items() if mailbox_id in (None, box_id)]
        facts = [fact for fact in reversed(facts) if since < fact.modseq <= until]
        return sorted(facts, key=lambda fact: fact.modseq)[:limit]

    def put(self, fact: Fact) -> None:
        key = (fact.id, 0) if isinstance(fact, Mailbox) else (fact.mailbox_id, fact.uid)
        assert isinstance(fact, Mailbox) or (fact.mailbox_id, 0) in self.book.facts, "a mailbox is put first"
        self.book.facts[key] = fact
        self.log.append(fact)

    def drop_messages(self, mailbox_id: str) -> None:
        for box_id, uid in list(self.book.facts):
            if box_id == mailbox_id and uid:
                del self.book.facts[box_id, uid]

    def answer(self, token: str) -> Applied | None:
        return self.book.answers.get(token)

    def keep_answer(self, token: str, applied: Applied) -> None:
        assert token not in self.book.answers
        self.book.answers[token] = applied

    def blob_size(self, blob_id: str) -> int | None:
        return len(self.book.blobs[blob_id]) if blob_id in self.book.blobs else None

    def write_piece(self, blob_id: str, start: int, octets: bytes) -> None:
        assert len(self.book.blobs.setdefault(blob_id, b"")) == start
        self.book.blobs[blob_id] += octets

    def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        if blob_id not in self.book.blobs:
            raise BlobNotFound(blob_id)
        return self.book.blobs[blob_id][offset : offset + size]


@implementer(IMailStore)
class DictStore:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.books: dict[str, Book] = {}
        self.make_ledger: type[DictLedger] = DictLedger

    async def open_account(self, name: str, create: bool = False) -> DictAccount:
        account = DictAccount(self, name)
        await account.open(create)
        return account

    async def close(self) -> None:
        pass


class DictAccount(LedgerAccount[DictLedger]):
    def __init__(self, store: DictStore, name: str) -> None:
        super().__init__(name)
        self.store = store
        self.last: DictLedger

    async def transact(self, work: Callable[[DictLedger], T]) -> T:
        book = self.store.books.get(self.name, Book()).copied()
        self.last = self.store.make_ledger(self.name, self.store.clock.seconds(), book)
        given = work(self.last)
        self.store.books[self.name] = book
        return given


class TestLedger(MailStoreContract):
    def make_store(self, tmp_path: Path) -> DictStore:
        self.clock = Clock()
        return DictStore(self.clock)

    def pass_time(self, store: DictStore, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def store() -> DictStore:
    return DictStore(Clock())


async def opened(store: DictStore) -> DictAccount:
    return await store.open_account("alice", create=True)


def test_an_author_is_told_which_primitives_are_missing() -> None:
    with pytest.raises(TypeError, match="mailboxes_kept"):
        Ledger("alice", 0)  # type: ignore[abstract]
    given = "answer blob_size drop_messages facts_between keep_answer mailboxes_kept messages_after messages_of put"
    assert sorted(Ledger.__abstractmethods__) == given.split()


async def test_a_mailbox_is_counted_once_an_apply_and_not_once_a_message(store: DictStore) -> None:
    account = await opened(store)
    box, blob = await inbox(account), await put_blob(account)
    await account.apply([Add(box.id, blob, number) for number in range(100)])
    assert len(account.last.log) == 101 and isinstance(account.last.log[-1], Mailbox)
    await account.apply([Remove(box.id, range(1, 101))])
    assert len(account.last.log) == 101


async def test_where_nothing_changes_nothing_is_put(store: DictStore) -> None:
    account = await opened(store)
    box = await inbox(account)
    (added,) = await add(account, box.id)
    state = await account.state()
    await account.apply(
        [UpdateMailbox(box.id), Remove(box.id, [7]), SetFlags(box.id, [added.uid]), Move(box.id, [9], box.id)]
    )
    assert not account.last.log and await account.state() == state


async def test_counts_outlive_a_rename_in_the_same_apply(store: DictStore) -> None:
    account = await opened(store)
    blob = await put_blob(account)
    ops: list[Operation] = [
        CreateMailbox(("Old",)),
        Add("#0", blob, 1),
        UpdateMailbox("#0", ("New",)),
        Add("#0", blob, 1),
    ]
    applied = await account.apply(ops)
    made, _, renamed, _ = applied.results
    assert isinstance(made, Mailbox) and isinstance(renamed, Mailbox)
    assert (renamed.name, renamed.total, renamed.uidnext) == (("New",), 1, 2)
    now = await mailbox(account, made.id)
    assert (now.name, now.total, now.unseen, now.uidnext) == (("New",), 2, 2, 3)


async def test_a_mailbox_that_was_counted_and_deleted_stays_deleted(store: DictStore) -> None:
    account = await opened(store)
    blob, since = await put_blob(account), await account.state()
    applied = await account.apply([CreateMailbox(("New",)), Add("#0", blob, 1), DeleteMailbox("#0")])
    made = applied.results[0]
    assert isinstance(made, Mailbox)
    assert len(await account.mailboxes()) == 1
    told = await account.changes(since)
    assert told.removed_mailboxes == (made.id,) and not told.mailboxes and not told.messages
    with pytest.raises(MailboxNotFound):
        await account.apply([Add(made.id, blob, 1)])


async def test_a_mailbox_without_a_name_is_refused(store: DictStore) -> None:
    account = await opened(store)
    box = await inbox(account)
    before = await snapshot(account)
    for op in (CreateMailbox(()), UpdateMailbox(box.id, name=())):
        with pytest.raises(BadSyntax):
            await account.apply([op])
    assert await snapshot(account) == before


async def test_uids_that_are_said_twice_or_out_of_order_are_taken_once(store: DictStore) -> None:
    account = await opened(store)
    box = await inbox(account)
    await add(account, box.id, times=4)
    (flagged,) = (await account.apply([SetFlags(box.id, [3, 1, 3], add=frozenset({"x"}))])).results
    assert flagged == ((1, 3), ())
    (moved,) = (await account.apply([Move(box.id, [2, 2, 1], box.id)])).results
    assert isinstance(moved, Copied) and moved.pairs == ((1, 5), (2, 6))
    (removed,) = (await account.apply([Remove(box.id, [6, 3, 3, -1, 0])])).results
    assert removed == Removed((3, 6))
    assert [row.uid for row in await messages(account, box.id)] == [4, 5]
    assert (await inbox(account)).total == 2


async def test_no_more_rows_are_read_than_were_asked_for(store: DictStore) -> None:
    account = await opened(store)
    box = await inbox(account)
    await add(account, box.id, times=50)
    assert len(await account.messages(box.id, range(1, 1000), after=10, limit=5)) == 5
    assert account.last.rows_read == 5


async def test_a_state_of_the_future_is_no_state(store: DictStore) -> None:
    account = await opened(store)
    with pytest.raises(StateTooOld):
        await account.changes(await account.state() + 1)


async def test_the_last_page_goes_up_to_now_also_where_it_is_just_full(store: DictStore) -> None:
    account = await opened(store)
    box, since = await inbox(account), await account.state()
    (added,) = await add(account, box.id)
    await account.apply([CreateMailbox(("Elsewhere",))])
    told = await account.changes(since, box.id, limit=2)  # the message and the mailbox
    assert [row.uid for row in told.messages] == [added.uid] and told.mailboxes
    assert (told.until, told.more) == (await account.state(), False)


async def test_a_store_that_forgets_removals_says_so(store: DictStore) -> None:
    class Forgetful(DictLedger):
        def forgotten(self) -> int:
            return 2

    account = await opened(store)
    await add(account, (await inbox(account)).id)
    await add(account, (await inbox(account)).id)
    store.make_ledger = Forgetful
    for since in (0, 1):
        with pytest.raises(StateTooOld):
            await account.changes(since)
    assert len((await account.changes(2)).messages) == 1


async def test_an_account_that_was_removed_takes_nothing_and_does_not_come_back(store: DictStore) -> None:
    account = await opened(store)
    old = await inbox(account)
    (added,) = await add(account, old.id)
    del store.books["alice"]
    with pytest.raises(AccountNotFound):
        await account.apply([CreateMailbox(("New",))])
    with pytest.raises(AccountNotFound):
        await store.open_account("alice")
    store.clock.advance(10)
    new = await inbox(await opened(store))
    (other,) = await add(account, new.id)
    assert new.id != old.id and new.uidvalidity > old.uidvalidity and other.email_id != added.email_id


async def test_uidvalidities_ascend_whatever_the_clock_says(store: DictStore) -> None:
    account = await opened(store)
    assert (await inbox(account)).uidvalidity == 1, "the clock stands at 0, which is none"
    store.clock.advance(1_000_000_000)
    validities = []
    for turn in range(4):
        applied = await account.apply([CreateMailbox((f"{turn}",)), DeleteMailbox("#0"), CreateMailbox((f"{turn}",))])
        validities += [box.uidvalidity for box in applied.results if isinstance(box, Mailbox)]
        store.clock.rightNow -= 1000
    assert validities == list(range(1_000_000_000, 1_000_000_008))


async def test_a_move_puts_the_message_before_it_puts_the_removal(store: DictStore) -> None:
    # So a store that counts what has a blob never counts down to nothing in between.
    account = await opened(store)
    box = await inbox(account)
    await add(account, box.id)
    await account.apply([Move(box.id, [1], box.id)])
    assert [type(fact) for fact in account.last.log] == [Message, Removal, Mailbox]


# --- octets -----------------------------------------------------------------------------------------------------------


async def test_octets_are_gathered_into_pieces(store: DictStore) -> None:
    pieces: list[tuple[int, int]] = []

    class Listening(DictLedger):
        def write_piece(self, blob_id: str, start: int, octets: bytes) -> None:
            pieces.append((start, len(octets)))
            super().write_piece(blob_id, start, octets)

    account = await opened(store)
    store.make_ledger = Listening
    writer = account.new_blob()
    for _ in range(9):
        await writer.write(b"x" * (PIECE // 4))
    blob = await writer.commit()
    assert pieces == [(0, PIECE), (PIECE, PIECE), (2 * PIECE, PIECE // 4)]
    assert await read(account, blob) == b"x" * (PIECE * 9 // 4)
    pieces.clear()
    assert await put_blob(account, b"y" * PIECE)
    assert pieces == [(0, PIECE)], "commit has nothing to add"
    pieces.clear()
    assert await read(account, await put_blob(account, b"")) == b""
    assert pieces == [(0, 0)]


async def test_what_is_aborted_before_a_piece_is_full_was_never_there(store: DictStore) -> None:
    account = await opened(store)
    writer = account.new_blob()
    await writer.write(b"x")
    await writer.abort()
    assert not store.books["alice"].blobs


async def test_octets_may_be_kept_elsewhere(store: DictStore) -> None:
    elsewhere: dict[str, bytes] = {}

    class Shelf:
        async def write(self, octets: bytes) -> None:
            elsewhere["blob"] = octets

        async def commit(self) -> str:
            return "blob"

    class Sender(DictLedger):
        write_piece = Ledger.write_piece
        read_blob = Ledger.read_blob

        def blob_size(self, blob_id: str) -> int | None:
            return len(elsewhere[blob_id]) if blob_id in elsewhere else None

    class ShelfAccount(DictAccount):
        def new_blob(self, size_hint: int | None = None) -> Shelf:  # type: ignore[override]
            return Shelf()

        async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
            return elsewhere[blob_id][offset : offset + size]

    await opened(store)
    store.make_ledger = Sender
    account = ShelfAccount(store, "alice")
    await add(account, (await inbox(account)).id, b"on the shelf")
    (row,) = await messages(account, (await inbox(account)).id)
    assert (row.size, await read(account, row.blob_id)) == (12, b"on the shelf")
    with pytest.raises(BlobNotFound):
        await account.apply([Add(row.mailbox_id, "other", 1)])
    with pytest.raises(NotImplementedError):
        await put_blob(DictAccount(store, "alice"))
