"""IAccount over a `Ledger`: each call is one transaction, and a message's octets come and go in pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from uuid import uuid4

from zope.interface import implementer

from twisted_mail_kit.interfaces import Applied, Changes, IAccount, IBlobWriter, Mailbox, Message, Operation
from twisted_mail_kit.stores.ledger import Ledger

PIECE = 256 * 1024
"""Octets that a writer gathers before they go to the database."""

L = TypeVar("L", bound=Ledger)
T = TypeVar("T")


@implementer(IAccount)
class LedgerAccount(ABC, Generic[L]):
    """What `open_account` gives. A subclass says how a transaction is made, and that is all."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def transact(self, work: Callable[[L], T]) -> Awaitable[T]:
        """Begin a transaction, call `work` with a new ledger of this account, commit, and give what `work` gave.

        Where it raises, roll back and raise the same. When this is done, what `work` did would survive a power cut.
        With a database that blocks, the whole of it is one call in a thread.
        """

    async def open(self, create: bool = False) -> None:
        """As `IMailStore.open_account`."""
        await self.transact(lambda ledger: ledger.open(create))

    async def state(self) -> int:
        """See IAccount."""
        return await self.transact(lambda ledger: ledger.state())

    async def mailboxes(self) -> Sequence[Mailbox]:
        """See IAccount."""
        return await self.transact(lambda ledger: ledger.mailboxes())

    async def messages(
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """See IAccount."""
        return await self.transact(lambda ledger: ledger.messages(mailbox_id, uids, after, limit))

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """See IAccount."""
        return await self.transact(lambda ledger: ledger.changes(since, mailbox_id, limit))

    async def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        """See IAccount."""
        return await self.transact(lambda ledger: ledger.apply(ops, if_state, token))

    def new_blob(self, size_hint: int | None = None) -> IBlobWriter:
        """See IAccount."""
        return PieceWriter(self)

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        return await self.transact(lambda ledger: ledger.read_blob(blob_id, offset, size))


@implementer(IBlobWriter)
class PieceWriter:
    """Gives octets to the ledger in pieces, each in a transaction: never much in memory, and no long transaction."""

    def __init__(self, account: LedgerAccount[L]) -> None:
        self.account = account
        self.blob_id = uuid4().hex
        self.size = 0
        """Octets that the ledger has."""
        self.gathered = bytearray()

    async def write(self, octets: bytes) -> None:
        """See IBlobWriter."""
        self.gathered += octets
        if len(self.gathered) >= PIECE:
            await self.flush()

    async def commit(self) -> str:
        """See IBlobWriter."""
        if self.gathered or not self.size:
            await self.flush()  # of no octets too: such a blob has one piece, which is empty
        return self.blob_id

    async def abort(self) -> None:
        """See IBlobWriter. What no message has goes by itself."""
        self.gathered.clear()

    async def flush(self) -> None:
        """Write what was gathered, in one piece."""
        piece = bytes(self.gathered)
        self.gathered.clear()
        await self.account.transact(lambda ledger: ledger.write_piece(self.blob_id, self.size, piece))
        self.size += len(piece)
