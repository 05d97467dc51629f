"""The two directories of a server that hold mail, how they are opened, and what is in them octet by octet."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet import reactor

from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.operations import Add
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient
from twisted_mail_kit.queue.sqlite import SQLiteSpool
from twisted_mail_kit.stores.sqlite import SQLiteStore


class Room(NamedTuple):
    """A kind of directory."""

    name: str
    database: str
    open: Callable[[Path], Any]
    """Opens it; what it answers is closed with ``await answer.close()``."""
    fill: Callable[[Path], Any]
    """Puts three messages into a new one, one of them large."""


async def fill_store(root: Path) -> None:
    store = SQLiteStore(root, reactor)
    account = await store.open_account("joe@example.org", create=True)
    (box,) = await account.mailboxes()
    for octets in (b"one" * 100, b"two" * 100, b"x" * 1_400_000):
        writer = account.new_blob()
        await writer.write(octets)
        await account.apply([Add(box.id, await writer.commit(), 0)])
    await store.close()


async def fill_queue(root: Path) -> None:
    spool = SQLiteSpool(root, reactor)
    for id, octets in (("m1", b"one" * 100), ("m2", b"two" * 100), ("m3", b"x" * 400_000)):
        blob = spool.new_blob(len(octets))
        await blob.write(octets)
        to = Recipient(Address("joe", "example.net"))
        row = QueuedRecipient(message_id=id, number=0, recipient=to, destination="example.net", next_try=9e9)
        sender = Address("ann", "example.org")
        envelope = Envelope(sender, Peer("192.0.2.7"), id)
        await spool.add(QueuedMessage(envelope, await blob.commit(), len(octets)), [row])
    await spool.close()


STORE = Room("store", "index.sqlite", lambda root: SQLiteStore(root, reactor), fill_store)
QUEUE = Room("queue", "queue.sqlite", lambda root: SQLiteSpool(root, reactor), fill_queue)
ROOMS = (STORE, QUEUE)


def octets_of(root: Path) -> dict[str, object]:
    """Everything below a folder: names, kinds, modes, and the octets of files. SQLite's shared memory is no data."""
    found: dict[str, object] = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder) / name
            mode = path.lstat().st_mode
            if name.endswith("-shm"):
                continue
            if name.endswith("-wal") and not path.stat().st_size:
                continue  # left by whoever has read
            content: object = None
            if stat.S_ISREG(mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(mode):
                content = str(path.readlink())
            found[str(path.relative_to(root))] = (oct(mode), content)
    return found
