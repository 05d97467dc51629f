"""The owner's store, as a worker has it: the same door, at the other end of the line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import (
    Applied,
    Changes,
    IAccount,
    IBlobWriter,
    IMailStore,
    Listing,
    ListingSince,
    Mailbox,
    Message,
    Operation,
)
from twisted_mail_kit.workers.hatch import ABILITIES, ACCOUNT_ABILITIES
from twisted_mail_kit.workers.line import Line

PIECE = 128 * 1024
"""Octets of a blob that travel in one frame."""


@implementer(IMailStore)
class RemoteStore:
    """Provides, besides IMailStore, those of `ISharedBlobs`, `IAccountList` and `IChangeHints` that `abilities` names.

    Everything is done by the owner. Where it is gone, all is Unavailable.
    """

    log = Logger()

    def __init__(self, line: Line, abilities: Collection[str] = ()) -> None:
        self.line = line
        for one in ABILITIES:
            if one.__name__ in abilities:
                alsoProvides(self, one)
        line.news["changed"] = self._changed
        self._numbers = count(1)
        self._watchers: dict[object, Callable[[str, int], None]] = {}

    # --- IMailStore --------------------------------------------------------------------------------------------------

    async def open_account(self, name: str, create: bool = False) -> RemoteAccount:
        """See IMailStore."""
        return RemoteAccount(self, name, *await self.line.ask("open_account", name, create))

    async def close(self) -> None:
        """Waits for what was begun, ends the watches. The owner's store stays open."""
        await self.line.quiet()
        if self._watchers:
            self._watchers.clear()
            self.line.tell("unwatch")

    # --- ISharedBlobs, IAccountList, IChangeHints --------------------------------------------------------------------

    def new_blob(self, size_hint: int | None = None) -> RemoteBlobWriter:
        """See ISharedBlobs."""
        return RemoteBlobWriter(self, None, size_hint)

    async def account_names(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See IAccountList."""
        names: Sequence[str] = await self.line.ask("account_names", after, limit)
        return names

    async def remove_account(self, name: str) -> None:
        """See IAccountList."""
        await self.line.ask("remove_account", name)

    def watch_changes(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        """See IChangeHints."""
        watch = object()
        if not self._watchers:
            self.line.tell("watch")
        self._watchers[watch] = heard

        def unwatch() -> None:
            if self._watchers.pop(watch, None) is not None and not self._watchers:
                self.line.tell("unwatch")

        return unwatch

    def new_number(self) -> int:
        """For a blob in the making."""
        return next(self._numbers)

    def _changed(self, news: Sequence[tuple[str, int]]) -> None:
        for heard in list(self._watchers.values()):
            for name, modseq in news:
                try:
                    heard(name, modseq)
                except Exception:
                    self.log.failure("a watcher of {account} failed", account=name)


@implementer(IAccount)
class RemoteAccount:
    """A name, and the number under which the owner has the account open for us. Provides IListing where `abilities`
    names it."""

    def __init__(self, store: RemoteStore, name: str, number: int, abilities: Collection[str] = ()) -> None:
        self.name = name
        self.number = number
        self.store = store
        self._line = store.line
        for one in ACCOUNT_ABILITIES:
            if one.__name__ in abilities:
                alsoProvides(self, one)

    def __del__(self) -> None:
        self._line.mention("close_account", self.number)

    async def state(self) -> int:
        """See IAccount."""
        state: int = await self._line.ask("state", self.number)
        return state

    async def mailboxes(self) -> Sequence[Mailbox]:
        """See IAccount."""
        boxes: Sequence[Mailbox] = await self._line.ask("mailboxes", self.number)
        return boxes

    async def messages(
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """See IAccount."""
        rows: Sequence[Message] = await self._line.ask("messages", self.number, mailbox_id, uids, after, limit)
        return rows

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """See IAccount."""
        changes: Changes = await self._line.ask("changes", self.number, since, mailbox_id, limit)
        return changes

    async def listing(self, mailbox_id: str, after: int = 0, limit: int = 10_000) -> Listing:
        """See IListing."""
        listing: Listing = await self._line.ask("listing", self.number, mailbox_id, after, limit)
        return listing

    async def listing_since(self, mailbox_id: str, since: int) -> ListingSince:
        """See IListing."""
        listing: ListingSince = await self._line.ask("listing_since", self.number, mailbox_id, since)
        return listing

    async def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        """See IAccount."""
        applied: Applied = await self._line.ask("apply", self.number, list(ops), if_state, token)
        return applied

    def new_blob(self, size_hint: int | None = None) -> RemoteBlobWriter:
        """See IAccount."""
        return RemoteBlobWriter(self.store, self, size_hint)

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        octets: bytes = await self._line.ask("read_blob", self.number, blob_id, offset, size)
        return octets


@implementer(IBlobWriter)
class RemoteBlobWriter:
    """Sends a small blob in one frame when it is whole, a large one in pieces, of which one is on its way at a time."""

    def __init__(self, store: RemoteStore, account: RemoteAccount | None, size_hint: int | None) -> None:
        self._store = store
        self._account = account  # the owner has to keep it open for as long as we write
        self._size_hint = size_hint
        self._pieces: list[bytes] = []
        self._held = 0
        self._number = 0
        self._on_its_way: Deferred[Any] | None = None
        self._is_over = False

    async def write(self, octets: bytes) -> None:
        """See IBlobWriter."""
        self._see_that_it_goes_on()
        for start in range(0, len(octets), PIECE):
            piece = bytes(octets[start : start + PIECE])
            self._pieces.append(piece)
            self._held += len(piece)
            if self._held >= PIECE:
                await self._send()

    async def commit(self) -> str:
        """See IBlobWriter."""
        self._see_that_it_goes_on()
        line = self._store.line
        if not self._number:
            octets, self._pieces = b"".join(self._pieces), []
            self._is_over = True
            blob_id: str = await line.ask("put_blob", self._in(), self._size_hint, octets)
            return blob_id
        await self._send()
        await self._arrived()
        blob_id = await line.ask("commit_blob", self._number)
        self._is_over = True
        return blob_id

    async def abort(self) -> None:
        """See IBlobWriter."""
        self._give_up()

    def __del__(self) -> None:
        self._give_up()

    def _in(self) -> int | None:
        return None if self._account is None else self._account.number

    def _see_that_it_goes_on(self) -> None:
        if self._is_over:
            raise Unavailable("this blob has ended already")

    def _give_up(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._pieces = []
        sent, self._on_its_way = self._on_its_way, None
        if sent is not None:
            sent.addErrback(lambda _: None)  # nobody waits for it any more
        if self._number:
            self._store.line.mention("abort_blob", self._number)

    async def _send(self) -> None:
        """Returns when the piece before this one has arrived."""
        await self._arrived()
        octets, self._pieces, self._held = b"".join(self._pieces), [], 0
        self._number = self._number or self._store.new_number()
        self._on_its_way = self._store.line.ask("write_blob", self._number, self._in(), self._size_hint, octets)

    async def _arrived(self) -> None:
        sent, self._on_its_way = self._on_its_way, None
        if sent is not None:
            try:
                await sent
            except BaseException:
                self._give_up()
                raise
