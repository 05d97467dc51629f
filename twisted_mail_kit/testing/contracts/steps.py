"""Steps that the promises are made of: put a message in, find a mailbox, read all there is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from twisted_mail_kit.interfaces import (
    Add,
    Added,
    Changes,
    CreateMailbox,
    IAccount,
    IBlobWriter,
    Mailbox,
    Message,
    Removal,
)

LETTER = b"From: alice@example.org\r\nSubject: a letter\r\n\r\nDear all,\r\n"
NOBODYS_BLOB = "no-such-blob"
NOBODYS_MAILBOX = "no-such-mailbox"


async def write_blob(writer: IBlobWriter, octets: bytes, piece: int = 65536) -> str:
    """Write octets in pieces; gives the blob's id."""
    for start in range(0, len(octets), piece):
        await writer.write(octets[start : start + piece])
    return await writer.commit()


async def put_blob(account: IAccount, octets: bytes = LETTER) -> str:
    """A committed blob's id."""
    return await write_blob(account.new_blob(len(octets)), octets)


async def add(account: IAccount, mailbox_id: str, octets: bytes = LETTER, times: int = 1, **more: Any) -> list[Added]:
    """Add the same octets some times, in one `apply`."""
    ops = [Add(mailbox_id, await put_blob(account, octets), **{"internal_date": 1, **more}) for _ in range(times)]
    results = (await account.apply(ops)).results
    assert all(isinstance(result, Added) for result in results), results
    return list(results)  # type: ignore[arg-type]


async def inbox(account: IAccount) -> Mailbox:
    """The mailbox with that role."""
    (box,) = [box for box in await account.mailboxes() if box.role == "inbox"]
    return box


async def create(account: IAccount, *name: str, role: str | None = None) -> Mailbox:
    """A new mailbox."""
    (box,) = (await account.apply([CreateMailbox(name, role)])).results
    assert isinstance(box, Mailbox)
    return box


async def mailbox(account: IAccount, mailbox_id: str) -> Mailbox:
    """The mailbox of that id, as it is now."""
    (box,) = [box for box in await account.mailboxes() if box.id == mailbox_id]
    return box


async def messages(account: IAccount, mailbox_id: str, page: int = 1000) -> list[Message]:
    """All messages of a mailbox, page by page."""
    rows: list[Message] = []
    while True:
        more = await account.messages(mailbox_id, after=rows[-1].uid if rows else 0, limit=page)
        assert len(more) <= page
        rows.extend(more)
        if len(more) < page:
            return rows


async def message(account: IAccount, mailbox_id: str, uid: int) -> Message:
    """The message of that UID."""
    (row,) = await account.messages(mailbox_id, [uid])
    return row


async def read(account: IAccount, blob_id: str, piece: int = 100_000) -> bytes:
    """A blob's octets, slice by slice."""
    octets = b""
    while True:
        more = await account.read_blob(blob_id, len(octets), piece)
        assert len(more) <= piece
        if not more:
            return octets
        octets += more


def same_octets(found: bytes, wanted: bytes, what: str = "the octets") -> None:
    """Fails where they are not the same, and says it in a line.

    A bare ``assert found == wanted`` would do, but for what pytest makes of it where all is shown (``CI=true``): the
    difference of two megabytes takes it hours.
    """
    if found == wanted:
        return
    at = next((n for n, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other), None)
    if at is None:
        at = min(len(found), len(wanted))
    told = f"{len(found)} octets, with {found[at : at + 20]!r} at {at}"
    raise AssertionError(f"{what}: {told}; {len(wanted)} were written, with {wanted[at : at + 20]!r} there")


class History(NamedTuple):
    """All pages of `changes` together."""

    until: int
    pages: list[Changes]
    mailboxes: list[Mailbox]
    removed_mailboxes: list[str]
    messages: list[Message]
    removed: list[Removal]


async def history(account: IAccount, since: int, mailbox_id: str | None = None, limit: int = 1000) -> History:
    """Follow `changes` to its end."""
    told = History(since, [], [], [], [], [])
    until, more = since, True
    while more:
        page = await account.changes(until, mailbox_id, limit)
        assert page.since == until
        assert page.until > until or not page.more, "a page with more behind it has to go on"
        assert page.until >= until
        until, more = page.until, page.more
        told.pages.append(page)
        told.mailboxes.extend(page.mailboxes)
        told.removed_mailboxes.extend(page.removed_mailboxes)
        told.messages.extend(page.messages)
        told.removed.extend(page.removed)
    return told._replace(until=until)


class Snapshot(NamedTuple):
    """All that is true of an account."""

    state: int
    mailboxes: dict[str, Mailbox]
    messages: dict[str, list[Message]]


async def snapshot(account: IAccount) -> Snapshot:
    """Look at everything."""
    boxes = sorted(await account.mailboxes())
    return Snapshot(
        await account.state(),
        {box.id: box for box in boxes},
        {box.id: await messages(account, box.id) for box in boxes},
    )


def open_files() -> int:
    """How many files and sockets this process has open (Linux; elsewhere 0)."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (its entries go while they are listed)
    except OSError:
        return 0


def uids_of(rows: Iterable[Message | Removal | Added]) -> list[int]:
    """Their UIDs."""
    return [row.uid for row in rows]
