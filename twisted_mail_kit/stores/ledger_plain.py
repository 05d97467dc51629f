"""An account over a `Ledger` in plain methods, for a store whose class says `blocking = True`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import uuid4

from zope.interface import implementer

from twisted_mail_kit.interfaces import Applied, Changes, IAccount, IBlobWriter, Mailbox, Message, Operation
from twisted_mail_kit.stores.ledger import Ledger
from twisted_mail_kit.stores.ledger_account import PIECE

# Plain methods where the interfaces have coroutines: `net.blocking` gives them to everybody else as such.
plainly: Any = implementer
L = TypeVar("L", bound=Ledger)
T = TypeVar("T")


@plainly(IAccount)
class PlainLedgerAccount(ABC, Generic[L]):
    """What a blocking store's `open_account` gives: each call is one transaction, in whatever thread it is called."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def transact(self, work: Callable[[L], T]) -> T:
        """Begin a transaction, call `work` with a new ledger of this account, commit, and give what `work` gave.

        Where it raises, roll back and raise the same. When this returns, what `work` did would survive a power cut.
        """

    def open(self, create: bool = False) -> None:
        """As `IMailStore.open_account`."""
        self.transact(lambda ledger: ledger.open(create))

    def state(self) -> int:
        """See IAccount."""
        return self.transact(lambda ledger: ledger.state())

    def mailboxes(self) -> Sequence[Mailbox]:
        """See IAccount."""
        return self.transact(lambda ledger: ledger.mailboxes())

    def messages(
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """See IAccount."""
        return self.transact(lambda ledger: ledger.messages(mailbox_id, uids, after, limit))

    def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """See IAccount."""
        return self.transact(lambda ledger: ledger.changes(since, mailbox_id, limit))

    def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        """See IAccount."""
        return self.transact(lambda ledger: ledger.apply(ops, if_state, token))

    def new_blob(self, size_hint: int | None = None) -> Any:
        """See IAccount."""
        return PlainPieceWriter(self)

    def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        return self.transact(lambda ledger: ledger.read_blob(blob_id, offset, size))


@plainly(IBlobWriter)
class PlainPieceWriter:
    """Gives octets to the ledger in pieces, each in a transaction: never much in memory, and no long transaction."""

    def __init__(self, account: PlainLedgerAccount[L]) -> None:
        self.account = account
        self.blob_id = uuid4().hex
        self.size = 0
        """Octets that the ledger has."""
        self.gathered = bytearray()

    def write(self, octets: bytes) -> None:
        """See IBlobWriter."""
        self.gathered += octets
        if len(self.gathered) >= PIECE:
            self.flush()

    def commit(self) -> str:
        """See IBlobWriter."""
        if self.gathered or not self.size:
            self.flush()  # of no octets too: such a blob has one piece, which is empty
        return self.blob_id

    def abort(self) -> None:
        """See IBlobWriter. What no message has goes by itself."""
        self.gathered.clear()

    def flush(self) -> None:
        """Write what was gathered, in one piece."""
        piece = bytes(self.gathered)
        self.gathered.clear()
        self.account.transact(lambda ledger: ledger.write_piece(self.blob_id, self.size, piece))
        self.size += len(piece)
