"""Reading from near: what a store can be asked in any process is asked here, all else is the owner's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from zope.interface import alsoProvides, implementer

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import (
    Changes,
    IAccount,
    IListing,
    IMailStore,
    IReadMany,
    Listing,
    ListingSince,
    Mailbox,
    Message,
)
from twisted_mail_kit.workers.line import Line
from twisted_mail_kit.workers.remote_store import RemoteAccount, RemoteStore


@implementer(IMailStore)
class NearStore(RemoteStore):
    """A RemoteStore, with a store beside it that only reads; see `IReadElsewhere`."""

    def __init__(self, line: Line, abilities: Collection[str], near: Any) -> None:
        super().__init__(line, abilities)
        self.near = near

    async def open_account(self, name: str, create: bool = False) -> RemoteAccount:
        """See IMailStore."""
        number, _ = await self.line.ask("open_account", name, create)
        return NearAccount(self, name, number, await self.near.open_account(name))

    async def close(self) -> None:
        """See IMailStore."""
        await super().close()
        await self.near.close()


@implementer(IAccount)
class NearAccount(RemoteAccount):
    """What the owner has answered is seen here: a commit is visible to all processes before it is acknowledged.

    Provides IListing and IReadMany where what is near does."""

    def __init__(self, store: NearStore, name: str, number: int, near: IAccount) -> None:
        super().__init__(store, name, number)
        self._near = near
        self._many: Any = near
        for ability in (IListing, IReadMany):
            if ability.providedBy(near):
                alsoProvides(self, ability)

    async def state(self) -> int:
        """See IAccount."""
        return await self._near.state()

    async def mailboxes(self) -> Sequence[Mailbox]:
        """See IAccount."""
        return await self._near.mailboxes()

    async def messages(
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """See IAccount."""
        return await self._near.messages(mailbox_id, uids, after, limit)

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """See IAccount."""
        return await self._near.changes(since, mailbox_id, limit)

    async def listing(self, mailbox_id: str, after: int = 0, limit: int = 10_000) -> Listing:
        """See IListing."""
        listing: Listing = await self._many.listing(mailbox_id, after, limit)
        return listing

    async def listing_since(self, mailbox_id: str, since: int) -> ListingSince:
        """See IListing."""
        listing: ListingSince = await self._many.listing_since(mailbox_id, since)
        return listing

    async def summaries(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        """See IReadMany."""
        summaries: Sequence[tuple[int, bytes]] = await self._many.summaries(mailbox_id, uids)
        return summaries

    async def bodies(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        """See IReadMany."""
        bodies: Sequence[tuple[int, bytes]] = await self._many.bodies(mailbox_id, uids)
        return bodies

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        try:
            return await self._near.read_blob(blob_id, offset, size)
        except BlobNotFound:
            # The owner has those that no message refers to yet.
            return await super().read_blob(blob_id, offset, size)
