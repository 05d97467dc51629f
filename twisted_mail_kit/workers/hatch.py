"""The hatch: what the owner does with its store and its way out for one worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import providedBy

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import (
    Applied,
    Changes,
    Envelope,
    IAccount,
    IAccountList,
    IBlobWriter,
    IChangeHints,
    IDelivery,
    IDeliveryTarget,
    IListing,
    IMailStore,
    ISharedBlobs,
    Listing,
    ListingSince,
    Mailbox,
    Message,
    Operation,
    Outcome,
    Recipient,
)
from twisted_mail_kit.net.turn import AtTurnsEnd
from twisted_mail_kit.workers.line import Line, News, Verb

ABILITIES = (ISharedBlobs, IAccountList, IChangeHints)
"""The optional abilities of a store that a worker can use as if they were its own."""


ACCOUNT_ABILITIES = (IListing,)
"""And those of an account."""


def abilities_of(store: IMailStore) -> list[str]:
    """The names of those that this store has."""
    return [one.__name__ for one in ABILITIES if one in providedBy(store)]


class StoreHatch:
    """One worker's use of the store: accounts that it has open, blobs that it is making.

    Both have numbers: accounts the owner's, blobs the worker's, so that it can write before it is answered.
    """

    def __init__(self, store: IMailStore, line: Line) -> None:
        self._store: Any = store
        self._line = line
        self._accounts: dict[int, IAccount] = {}
        self._next = count(1)
        self._blobs: dict[int, IBlobWriter] = {}
        self._unwatch: Callable[[], None] | None = None
        self._news: dict[str, int] = {}
        self._telling = AtTurnsEnd(line.clock, self._tell_news)
        line.when_room = self._telling.now

    def verbs(self) -> dict[str, Verb]:
        """What the worker may ask."""
        asked = (self.open_account, self.state, self.mailboxes, self.messages, self.changes, self.apply)
        blobs = (self.read_blob, self.put_blob, self.write_blob, self.commit_blob)
        lists = (self.account_names, self.remove_account, self.listing, self.listing_since)
        return {verb.__name__: verb for verb in (*asked, *blobs, *lists)}

    def news(self) -> dict[str, News]:
        """What the worker may tell."""
        return {told.__name__: told for told in (self.close_account, self.abort_blob, self.watch, self.unwatch)}

    def close(self) -> None:
        """The worker is gone: what it had not finished never was."""
        self.unwatch()
        self._accounts.clear()
        for number in list(self._blobs):
            self.abort_blob(number)

    # --- accounts ----------------------------------------------------------------------------------------------------

    async def open_account(self, name: str, create: bool) -> tuple[int, list[str]]:
        """The account's number on this line, and the names of its abilities that can be used over it."""
        account = await self._store.open_account(name, create)
        number = next(self._next)
        self._accounts[number] = account
        return number, [one.__name__ for one in ACCOUNT_ABILITIES if one in providedBy(account)]

    def close_account(self, account: int) -> None:
        """Nobody over there has it any more."""
        self._accounts.pop(account, None)

    async def state(self, account: int) -> int:
        """See IAccount."""
        return await self._accounts[account].state()

    async def mailboxes(self, account: int) -> Sequence[Mailbox]:
        """See IAccount."""
        return await self._accounts[account].mailboxes()

    async def messages(
        self, account: int, mailbox_id: str, uids: Sequence[int] | None, after: int, limit: int
    ) -> Sequence[Message]:
        """See IAccount."""
        return await self._accounts[account].messages(mailbox_id, uids, after, limit)

    async def changes(self, account: int, since: int, mailbox_id: str | None, limit: int) -> Changes:
        """See IAccount."""
        return await self._accounts[account].changes(since, mailbox_id, limit)

    async def listing(self, account: int, mailbox_id: str, after: int, limit: int) -> Listing:
        """See IListing."""
        listing: Listing = await self._able(account).listing(mailbox_id, after, limit)
        return listing

    async def listing_since(self, account: int, mailbox_id: str, since: int) -> ListingSince:
        """See IListing."""
        listing: ListingSince = await self._able(account).listing_since(mailbox_id, since)
        return listing

    def _able(self, account: int) -> Any:
        return self._accounts[account]

    async def apply(self, account: int, ops: Sequence[Operation], if_state: int | None, token: str | None) -> Applied:
        """See IAccount."""
        return await self._accounts[account].apply(ops, if_state, token)

    # --- blobs -------------------------------------------------------------------------------------------------------

    async def read_blob(self, account: int, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        return await self._accounts[account].read_blob(blob_id, offset, size)

    async def put_blob(self, account: int | None, size_hint: int | None, octets: bytes) -> str:
        """A small one, whole."""
        writer = self._new_blob(account, size_hint)
        try:
            await writer.write(octets)
            return await writer.commit()
        except BaseException:
            await writer.abort()
            raise

    async def write_blob(self, blob: int, account: int | None, size_hint: int | None, octets: bytes) -> None:
        """A piece of a large one; the first piece begins it."""
        writer = self._blobs.get(blob)
        if writer is None:
            writer = self._blobs[blob] = self._new_blob(account, size_hint)
        await writer.write(octets)

    async def commit_blob(self, blob: int) -> str:
        """All pieces were answered."""
        blob_id = await self._blobs[blob].commit()
        self._blobs.pop(blob, None)
        return blob_id

    def abort_blob(self, blob: int) -> None:
        """Forget it."""
        writer = self._blobs.pop(blob, None)
        if writer is not None:
            in_background(writer.abort())

    def _new_blob(self, account: int | None, size_hint: int | None) -> IBlobWriter:
        writer: IBlobWriter = (self._store if account is None else self._accounts[account]).new_blob(size_hint)
        return writer

    # --- the store's other abilities ---------------------------------------------------------------------------------

    async def account_names(self, after: str, limit: int) -> Sequence[str]:
        """See IAccountList."""
        names: Sequence[str] = await self._store.account_names(after, limit)
        return names

    async def remove_account(self, name: str) -> None:
        """See IAccountList."""
        await self._store.remove_account(name)

    def watch(self) -> None:
        """Tell the worker of changes from now on."""
        if self._unwatch is None:
            self._unwatch = self._store.watch_changes(self._changed)

    def unwatch(self) -> None:
        """No longer."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._news.clear()

    def _changed(self, account_name: str, modseq: int) -> None:
        # A batch of commits is told in one frame; while the worker is slow to read, only the newest modseq is kept.
        self._news[account_name] = modseq
        if not self._line.is_full:
            self._telling.soon()

    def _tell_news(self) -> None:
        if self._news:
            news, self._news = self._news, {}
            self._line.tell("changed", list(news.items()))


class DeliveryHatch:
    """One worker's use of the way out: messages that it hands over."""

    def __init__(self, target: IDeliveryTarget | None) -> None:
        self.target = target
        self._deliveries: dict[int, IDelivery] = {}

    def verbs(self) -> dict[str, Verb]:
        """What the worker may ask."""
        asked = (self.begin, self.add_recipient, self.write, self.commit)
        return {f"{verb.__name__}_delivery": verb for verb in asked}

    def news(self) -> dict[str, News]:
        """What the worker may tell."""
        return {"abort_delivery": self.abort}

    def close(self) -> None:
        """The worker is gone: what it had not finished was never sent."""
        for number in list(self._deliveries):
            self.abort(number)

    async def begin(self, number: int, envelope: Envelope) -> None:
        """See IDeliveryTarget; the worker gives the number."""
        if self.target is None:
            raise Unavailable("there is no way out")
        self._deliveries[number] = await self.target.begin(envelope)

    async def add_recipient(self, number: int, recipient: Recipient) -> None:
        """See IDelivery."""
        await self._deliveries[number].add_recipient(recipient)

    async def write(self, number: int, octets: bytes) -> None:
        """See IDelivery."""
        await self._deliveries[number].write(octets)

    async def commit(self, number: int, octets: bytes) -> Sequence[Outcome]:
        """See IDelivery; `octets` are the message's last, or all of them."""
        delivery = self._deliveries[number]
        if octets:
            await delivery.write(octets)
        # From here on it is the target's: it comes to its end, whatever becomes of the worker.
        del self._deliveries[number]
        try:
            return await delivery.commit()
        except BaseException:
            await delivery.abort()
            raise

    def abort(self, number: int) -> None:
        """See IDelivery."""
        delivery = self._deliveries.pop(number, None)
        if delivery is not None:
            in_background(delivery.abort())


_log = Logger()


def in_background(work: Awaitable[None]) -> None:
    """Nobody waits for it; a failure is logged."""

    async def do() -> None:
        try:
            await work
        except Exception:
            _log.failure("what a worker left behind could not be put away")

    Deferred.fromCoroutine(do())
