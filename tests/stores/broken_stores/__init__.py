"""Deliberately broken stores: a sound one, and the means to break it in one place at a time.

Each file of this directory breaks one subject. A fault is a class with a sentence, and `breaks` says which promises
of the contract have to notice it. What is broken may be the store, its accounts, what an operation does (a `Draft`),
or a blob's writer; all the rest is the memory store's, in a place where it is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.interfaces import Findings, IListing, IMaintenance, IReadMany, Listing, Message
from twisted_mail_kit.mail.facts import ListingSince
from twisted_mail_kit.stores import memory
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryBlobWriter, MemoryStore
from twisted_mail_kit.stores.memory_draft import Draft
from twisted_mail_kit.testing.contracts import MailStoreContract


@implementer(IListing, IReadMany)
class SoundAccount(MemoryAccount):
    """The memory store's, with its operations and writers named, so that they can be broken; and with abilities."""

    draft: type[Draft] = Draft
    writer: type[MemoryBlobWriter] = MemoryBlobWriter

    async def apply(self, *said: Any, **more: Any) -> Any:
        with patch.object(memory, "Draft", self.draft):
            return await super().apply(*said, **more)

    def new_blob(self, size_hint: int | None = None) -> MemoryBlobWriter:
        with patch.object(memory, "MemoryBlobWriter", self.writer):
            return super().new_blob(size_hint)

    async def listing(self, mailbox_id: str, after: int = 0, limit: int = 10_000) -> Listing:
        return columns(await self.messages(mailbox_id, None, after, limit))

    async def listing_since(self, mailbox_id: str, since: int) -> ListingSince:
        page = await self.changes(since, mailbox_id, 10**9)
        changed = columns(sorted(page.messages, key=lambda row: row.uid))
        gone = sorted(tomb.uid for tomb in page.removed)
        return ListingSince(page.until, self.mailboxes_by_id[mailbox_id], changed, gone)

    async def summaries(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        return [(row.uid, row.summary) for row in await self.messages(mailbox_id, uids, limit=len(uids))]

    async def bodies(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        rows = await self.messages(mailbox_id, uids, limit=len(uids))
        return [(row.uid, await self.read_blob(row.blob_id, 0, row.size)) for row in rows]

    def twin(self, store: SoundStore) -> SoundAccount:
        """The same facts, for another store: what happens here does not happen there."""
        twin = type(self)(store, self.name)
        for name, value in vars(self).items():
            if name != "store":
                setattr(twin, name, value.copy() if hasattr(value, "copy") else value)
        return twin


def columns(rows: Sequence[Message]) -> Listing:
    """What a listing says of them."""
    return Listing(
        [row.uid for row in rows],
        [row.flags for row in rows],
        [row.modseq for row in rows],
        [row.size for row in rows],
        [row.internal_date for row in rows],
    )


@implementer(IMaintenance)
class SoundStore(MemoryStore):
    """The memory store, which finds again what an earlier one in the same place has kept."""

    account: type[SoundAccount] = SoundAccount

    def __init__(self, clock: Clock, backups: dict[Path, SoundStore], earlier: SoundStore | None = None) -> None:
        super().__init__(clock)
        self.clock, self.backups = clock, backups
        if earlier is not None:
            for name in ("accounts", "shared_blobs", "_birth", "_ids", "_uidvalidities"):
                setattr(self, name, getattr(earlier, name))
            for account in self.accounts.values():
                account.store = self
            self.found_again()

    def found_again(self) -> None:
        """What is broken here, a restart breaks."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        account = await super().open_account(name, create)
        account.__class__ = self.account
        return account

    async def compact(self) -> Findings:
        return Findings({"octets freed": 0})

    async def check(self) -> Findings:
        return Findings({})

    async def backup(self, directory: Path) -> Findings:
        if directory.exists():
            raise ConfigurationError([f"{directory}: there is something else"])
        self.backups[directory] = copy = type(self)(self.clock, self.backups)
        copy.accounts = {name: account.twin(copy) for name, account in self.accounts.items()}  # type: ignore[attr-defined]
        return Findings({"accounts": len(copy.accounts)})


class Bench(MailStoreContract):
    """A store of `kind`, with a clock that is turned by hand."""

    levels = ("core", "abilities", "model")
    persistent = True
    steps = 20
    kind: type[SoundStore] = SoundStore

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.backups: dict[Path, SoundStore] = {}
        self.earlier: dict[Path, SoundStore] = {}

    def make_store(self, tmp_path: Path) -> SoundStore:
        store = self.earlier[tmp_path] = self.kind(self.clock, self.backups, self.earlier.get(tmp_path))
        return store

    def pass_time(self, store: SoundStore, seconds: float) -> None:
        self.clock.advance(seconds)

    def restore(self, directory: Path) -> SoundStore:
        return self.backups[directory]


class Fault(NamedTuple):
    """One way to be broken, and who has to notice it."""

    broken: type
    promises: tuple[str, ...]

    @property
    def bench(self) -> Bench:
        """The contract of a store that has this fault, and no other."""
        kind, name = self.broken, self.broken.__name__
        if issubclass(kind, Draft | MemoryBlobWriter):
            kind = type(name, (SoundAccount,), {"draft" if issubclass(kind, Draft) else "writer": kind})
        if issubclass(kind, MemoryAccount):
            kind = type(name, (SoundStore,), {"account": kind})
        bench = type(f"{name}Bench", (Bench,), {"kind": kind})()
        assert isinstance(bench, Bench)
        return bench


FAULTS: list[Fault] = []
"""The table: every fault, and the promises that catch it."""


def breaks(*promises: str) -> Callable[[type], type]:
    """The class is a fault that each of these promises has to catch; its docstring says what is wrong with it."""

    def note(broken: type) -> type:
        FAULTS.append(Fault(broken, promises))
        return broken

    return note
