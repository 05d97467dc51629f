"""IAccount over one Maildir++ tree: every call takes the account's turn, looks at the files, and answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zope.interface import implementer

from mailkit_maildir.deeds import find
from mailkit_maildir.filename import FileName
from mailkit_maildir.index import Index
from mailkit_maildir.ledger import BLOB_ID
from mailkit_maildir.pen import PenWriter
from twisted_mail_kit.errors import AccountNotFound, BlobNotFound
from twisted_mail_kit.interfaces import (
    Add,
    Applied,
    Changes,
    Copy,
    IAccount,
    Mailbox,
    Message,
    Move,
    Operation,
)

if TYPE_CHECKING:
    from mailkit_maildir.store import MaildirStore


@implementer(IAccount)
class MaildirAccount:
    """One account, for one who has opened it. Its methods block."""

    blocking = True

    def __init__(self, store: MaildirStore, name: str) -> None:
        self.store = store
        self.name = name

    def state(self) -> int:  # type: ignore[override]
        """See IAccount."""
        with self.store.turn(self.name) as (desk, index):
            desk.up_to_date(index)
            return index.state()

    def mailboxes(self) -> Sequence[Mailbox]:  # type: ignore[override]
        """See IAccount."""
        with self.store.turn(self.name) as (desk, index):
            desk.up_to_date(index)
            return desk.ledger(index).mailboxes()

    def messages(  # type: ignore[override]
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """See IAccount."""
        with self.store.turn(self.name) as (desk, index):
            desk.up_to_date(index)
            return desk.ledger(index).messages(mailbox_id, uids, after, limit)

    def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:  # type: ignore[override]
        """See IAccount."""
        with self.store.turn(self.name) as (desk, index):
            desk.up_to_date(index)
            return desk.ledger(index).changes(since, mailbox_id, limit)

    def apply(  # type: ignore[override]
        self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None
    ) -> Applied:
        """See IAccount."""
        targets = [op.mailbox_id for op in ops if isinstance(op, Add)]
        targets += [op.to_mailbox_id for op in ops if isinstance(op, Copy | Move)]
        with self.store.turn(self.name) as (desk, index):
            return desk.commit(index, lambda ledger: ledger.apply(ops, if_state, token), targets)

    def new_blob(self, size_hint: int | None = None) -> PenWriter:
        """See IAccount."""
        desk = self.store.desk(self.name)
        if not (desk.root / "cur").is_dir():
            raise AccountNotFound(self.name)
        return PenWriter(desk.pen, desk.files, self.store.seconds())

    def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:  # type: ignore[override]
        """See IAccount."""
        if not BLOB_ID.fullmatch(blob_id):
            raise BlobNotFound(blob_id)
        with self.store.turn(self.name) as (desk, index):
            row = index.one("SELECT lines FROM blob WHERE id = ?", blob_id)
            for _ in range(3):  # another program may give the file another name just between the two
                path = self._file(index, desk.root, blob_id) or desk.pen.path(blob_id)
                try:
                    return desk.piece(path, blob_id, bool(row and row[0]), offset, size)
                except FileNotFoundError:
                    continue
        raise BlobNotFound(blob_id)

    def _file(self, index: Index, root: Path, blob_id: str) -> Path | None:
        query = (
            "SELECT dir, place, base, info FROM message JOIN box ON box.id = message.box "
            "WHERE blob = ? AND dir NOT NULL"
        )
        for directory, *file in index.all(query, blob_id).fetchall():
            path = root / directory / FileName(*file).path
            found = path if os.path.exists(path) else find(root / directory, FileName(*file))  # noqa: PTH110
            if found is not None:
                return found
        return None
