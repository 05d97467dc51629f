"""A small store with known octets, and what reading all of it gives."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.internet import reactor

from twisted_mail_kit.errors import MailError
from twisted_mail_kit.mail.operations import Add, Copy, CreateMailbox, Move, Remove, SetFlags
from twisted_mail_kit.stores.sqlite import SQLiteSettings, SQLiteStore

from .conftest import blob

SETTINGS = SQLiteSettings(segment_size=8000, small_message=4000)
Kept = dict[tuple[str, tuple[str, ...], int], bytes]


async def fill(root: Path, messages: int = 24) -> Kept:
    """Two accounts; several segments, two large files, copies, removals."""
    chance = random.Random(5)
    store = SQLiteStore(root, reactor, SETTINGS)
    for name in ("alice", "bob"):
        account = await store.open_account(name, create=True)
        box = (await account.mailboxes())[0].id
        sent = (await account.apply([CreateMailbox(("Sent",))])).results[0].id
        for number in range(messages):
            octets = chance.randbytes(6000 if number == 7 else 700)
            blob_id = await blob(account, octets)
            await account.apply([Add(box, blob_id, 1_700_000_000 + number, b"summary")], token=f"{number}")
        await account.apply([Copy(box, [1, 2, 3], sent), Remove(box, [4, 5]), Move(box, [6], sent)])
        await account.apply([SetFlags(box, [1, 9], add=frozenset({r"\Seen", "$Kept"}))])
    kept, errors = await read_all(store)
    assert not errors
    await store.close()
    return kept


async def read_all(store: SQLiteStore) -> tuple[Kept, list[MailError]]:
    """Octets of every message by account, mailbox and UID; and what was refused. Other exceptions rise."""
    kept: Kept = {}
    errors: list[MailError] = []
    for name in ("alice", "bob"):
        try:
            account = await store.open_account(name)
            boxes = await account.mailboxes()
        except MailError as error:
            errors.append(error)
            continue
        for box in boxes:
            try:
                messages = await account.messages(box.id)
            except MailError as error:
                errors.append(error)
                continue
            for message in messages:
                try:
                    octets = await account.read_blob(message.blob_id, 0, message.size)
                    kept[name, box.name, message.uid] = octets
                except MailError as error:
                    errors.append(error)
    return kept, errors
