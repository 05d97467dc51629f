"""Reading from near: what a store can be asked in any process is asked here, all else is the owner's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import Changes, IAccount, IMailStore, Mailbox, Message
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
        number: int = await self.line.ask("open_account", name, create)
        return NearAccount(self, name, number, await self.near.open_account(name))

    async def close(self) -> None:
        """See IMailStore."""
        await super().close()
        await self.near.close()


@implementer(IAccount)
class NearAccount(RemoteAccount):
    """What the owner has answered is seen here: a commit is visible to all processes before it is acknowledged."""

    def __init__(self, store: NearStore, name: str, number: int, near: IAccount) -> None:
        super().__init__(store, name, number)
        self._near = near

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

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        try:
            return await self._near.read_blob(blob_id, offset, size)
        except BlobNotFound:
            # The owner has those that no message refers to yet.
            return await super().read_blob(blob_id, offset, size)
