"""The reference store: every promise of a store but durability, in plain dictionaries.

Read it after `interfaces.py`, when you write a store of your own. An account is a handful of dictionaries of immutable
rows. What each operation does to them is in `memory_draft.py`: `apply` works on copies there and puts them in place at
the end, without waiting anywhere in between. So nobody sees half of it, and an error in the third operation leaves
nothing of the first two behind.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count, takewhile

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.errors import AccountNotFound, BlobNotFound, MailboxNotFound, StateMismatch, StateTooOld
from twisted_mail_kit.interfaces import (
    Applied,
    Changes,
    CreateMailbox,
    IAccount,
    IAccountList,
    IBlobWriter,
    IChangeHints,
    IMailStore,
    ISharedBlobs,
    Mailbox,
    Message,
    Operation,
    Removal,
)
from twisted_mail_kit.stores.memory_draft import Draft

WEEK = 7 * 24 * 3600.0
HOUR = 3600.0
TOMBSTONES = 1000


@implementer(IMailStore, ISharedBlobs, IAccountList, IChangeHints)
class MemoryStore:
    """Accounts in memory; gone with the process."""

    log = Logger()

    def __init__(self, clock: IReactorTime | None = None) -> None:
        self.seconds: Callable[[], float] = time.time if clock is None else clock.seconds
        self.accounts: dict[str, MemoryAccount] = {}
        self.shared_blobs: dict[str, tuple[float, bytes]] = {}
        self._watchers: dict[object, Callable[[str, int], None]] = {}
        # Both go on from the time of day, so that a client which remembers the process before this one is not misled.
        self._birth = int(self.seconds())
        self._ids = count(1)
        self._uidvalidities = count(max(1, self._birth))

    async def open_account(self, name: str, create: bool = False) -> MemoryAccount:
        """See IMailStore."""
        if name not in self.accounts:
            if not create:
                raise AccountNotFound(name)
            self.accounts[name] = MemoryAccount(self, name)
            await self.accounts[name].apply([CreateMailbox(("INBOX",), "inbox")])
        return self.accounts[name]

    async def close(self) -> None:
        """See IMailStore."""
        self._watchers.clear()

    def new_blob(self, size_hint: int | None = None) -> MemoryBlobWriter:
        """See ISharedBlobs."""

        def keep(octets: bytes) -> str:
            times = ((blob_id, when) for blob_id, (when, _) in self.shared_blobs.items())
            for blob_id in _older(times, self.seconds() - HOUR):
                del self.shared_blobs[blob_id]
            self.shared_blobs[blob_id := self.new_id("B")] = (self.seconds(), octets)
            return blob_id

        return MemoryBlobWriter(keep)

    async def account_names(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See IAccountList."""
        names = sorted(self.accounts)
        return names[bisect_right(names, after) :][:limit]

    async def remove_account(self, name: str) -> None:
        """See IAccountList."""
        if name not in self.accounts:
            raise AccountNotFound(name)
        del self.accounts[name]

    def watch_changes(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        """See IChangeHints."""

        watch = object()
        self._watchers[watch] = heard

        def unwatch() -> None:
            self._watchers.pop(watch, None)

        return unwatch

    def tell(self, account_name: str, modseq: int) -> None:
        """Say that an account has changed."""
        for heard in list(self._watchers.values()):
            try:
                heard(account_name, modseq)
            except Exception:  # the commit was made, whatever they think of it
                self.log.failure("a watcher of {account} failed", account=account_name)

    def new_id(self, letter: str) -> str:
        """An id that was never used before."""
        return f"{letter}{self._birth:x}-{next(self._ids)}"

    def new_uidvalidity(self) -> int:
        """One that was never used before."""
        return next(self._uidvalidities)


@implementer(IAccount)
class MemoryAccount:
    """One account's facts, as they are at `modseq`."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.store = store
        self.name = name
        self.modseq = 0
        self.mailboxes_by_id: dict[str, Mailbox] = {}
        self.rows: dict[str, dict[int, Message]] = {}
        """Mailbox id -> UID -> Message, ascending by UID: a new one is the last, a changed one keeps its place."""
        self.blobs: dict[str, bytes] = {}
        self.references: Counter[str] = Counter()
        """Blob id -> how many messages have it."""
        self.loose: dict[str, float] = {}
        """Blobs that no message has (any more, or yet), oldest first, and since when."""
        self.tombstones: deque[tuple[float, int, Removal | str]] = deque()
        """(when, modseq, a message or a mailbox id), oldest first."""
        self.forgotten = 0
        """Tombstones up to this modseq may be missing."""
        self.tokens: dict[str, tuple[float, Applied]] = {}
        """Oldest first."""

    async def state(self) -> int:
        """See IAccount."""
        return self.modseq

    async def mailboxes(self) -> Sequence[Mailbox]:
        """See IAccount."""
        return list(self.mailboxes_by_id.values())

    async def messages(
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """See IAccount."""
        if mailbox_id not in self.mailboxes_by_id:
            raise MailboxNotFound(mailbox_id)
        rows = self.rows[mailbox_id]
        there = list(rows) if uids is None else [uid for uid in uids if uid in rows]
        return [rows[uid] for uid in there[bisect_right(there, after) :][:limit]]

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """See IAccount."""
        if mailbox_id is not None and mailbox_id not in self.mailboxes_by_id:
            raise MailboxNotFound(mailbox_id)
        if not self.forgotten <= since <= self.modseq:
            raise StateTooOld(f"{since} is not within {self.forgotten}-{self.modseq}")
        # A mailbox's modseq is that of the last change in it: older ones have nothing to tell.
        mailboxes = [
            box for box in self.mailboxes_by_id.values() if box.modseq > since and mailbox_id in (None, box.id)
        ]
        messages = [row for box in mailboxes for row in self.rows[box.id].values() if row.modseq > since]
        tombs = [(modseq, tomb) for _, modseq, tomb in self.tombstones if modseq > since]
        removed = [tomb for _, tomb in tombs if isinstance(tomb, Removal) and mailbox_id in (None, tomb.mailbox_id)]
        gone = [(modseq, tomb) for modseq, tomb in tombs if isinstance(tomb, str) and mailbox_id is None]

        modseqs = [*(box.modseq for box in mailboxes), *(row.modseq for row in messages)]
        modseqs = sorted([*modseqs, *(tomb.modseq for tomb in removed), *(modseq for modseq, _ in gone)])
        until = self.modseq
        if len(modseqs) > max(limit, 1):
            # The page ends with the modseq of the row that fills it, and has all the rows of that one.
            until = modseqs[max(limit, 1) - 1]
        more = bool(modseqs) and until < modseqs[-1]
        return Changes(
            since=since,
            until=until if more else self.modseq,
            more=more,
            mailboxes=tuple(box for box in mailboxes if box.modseq <= until),
            removed_mailboxes=tuple(name for modseq, name in gone if modseq <= until),
            messages=tuple(sorted((row for row in messages if row.modseq <= until), key=_in_order)),
            removed=tuple(sorted((row for row in removed if row.modseq <= until), key=_in_order)),
        )

    async def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        """See IAccount."""
        now = self.store.seconds()
        self._forget(now)
        if self.store.accounts.get(self.name) is not self:
            raise AccountNotFound(self.name)
        if token is not None and token in self.tokens:
            return self.tokens[token][1]._replace(replayed=True)
        if if_state is not None and if_state != self.modseq:
            raise StateMismatch(f"{if_state} was asked for, {self.modseq} it is")

        draft = Draft(self, now)
        results = tuple([draft.do(op) for op in ops])
        if draft.is_changed:
            draft.put_in_place()
        applied = Applied(self.modseq, results)
        if token is not None:
            self.tokens[token] = (now, applied)
        if draft.is_changed:
            self.store.tell(self.name, self.modseq)
        return applied

    def new_blob(self, size_hint: int | None = None) -> MemoryBlobWriter:
        """See IAccount."""

        def keep(octets: bytes) -> str:
            self.blobs[blob_id := self.store.new_id("B")] = octets
            self.loose[blob_id] = self.store.seconds()
            return blob_id

        return MemoryBlobWriter(keep)

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        if blob_id not in self.blobs:
            raise BlobNotFound(blob_id)
        return self.blobs[blob_id][offset : offset + size]

    def _forget(self, now: float) -> None:
        for blob_id in _older(self.loose.items(), now - HOUR):
            del self.blobs[blob_id], self.loose[blob_id]
        for token in _older(((token, when) for token, (when, _) in self.tokens.items()), now - WEEK):
            del self.tokens[token]
        while len(self.tombstones) > TOMBSTONES and self.tombstones[0][0] < now - WEEK:
            _, self.forgotten, _ = self.tombstones.popleft()


@implementer(IBlobWriter)
class MemoryBlobWriter:
    """Collects octets, and gives them to `keep` at commit."""

    def __init__(self, keep: Callable[[bytes], str]) -> None:
        self._keep = keep
        self._pieces: list[bytes] = []

    async def write(self, octets: bytes) -> None:
        """See IBlobWriter."""
        self._pieces.append(bytes(octets))

    async def commit(self) -> str:
        """See IBlobWriter."""
        return self._keep(b"".join(self._pieces))

    async def abort(self) -> None:
        """See IBlobWriter."""
        self._pieces.clear()


def _in_order(row: Message | Removal) -> tuple[int, str, int]:
    return row.modseq, row.mailbox_id, row.uid


def _older(times: Iterable[tuple[str, float]], than: float) -> list[str]:
    return [key for key, _ in takewhile(lambda item: item[1] < than, times)]
