"""One account of the embedded store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound, Unavailable
from twisted_mail_kit.interfaces import IAccount, IListing, IReadMany
from twisted_mail_kit.mail.facts import Applied, Changes, Listing, ListingSince, Mailbox, Message
from twisted_mail_kit.mail.operations import Add, Operation
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.blobs import BlobWriter, Pending
from twisted_mail_kit.stores.sqlite.reading import SHORT
from twisted_mail_kit.stores.sqlite.writer import NO_BLOBS, Request

if TYPE_CHECKING:
    from twisted_mail_kit.stores.sqlite.store import SQLiteStore


@implementer(IAccount, IListing, IReadMany)
class SQLiteAccount:
    """A name and a number; all else is in the index."""

    def __init__(self, store: SQLiteStore, number: int, name: str) -> None:
        self.name = name
        self._store = store
        self._number = number

    async def state(self) -> int:
        """See IAccount."""
        with self._store.asking() as reader:
            return reader.state(self._number)

    async def mailboxes(self) -> Sequence[Mailbox]:
        """See IAccount."""
        with self._store.asking() as reader:
            return reader.mailboxes(self._number)

    async def messages(
        self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Message]:
        """See IAccount."""
        with self._store.asking() as reader:
            mailbox, total = reader.total(self._number, mailbox_id)
            after = max(after, 0)
            if limit <= 0 or not total or after >= rows.UID_LIMIT:
                return []
            if uids is not None:
                if after:
                    uids = [uid for uid in uids if uid > after]
                if len(uids) > limit:
                    # Those that are not there do not fill the page.
                    return (await self._many(mailbox, uids, 0, limit))[:limit]
                if len(uids) <= SHORT:
                    return reader.messages(mailbox, uids, 0, limit)
            elif min(limit, total) <= SHORT:
                return reader.messages(mailbox, None, after, limit)
        return await self._many(mailbox, uids, after, limit)

    async def listing(self, mailbox_id: str, after: int = 0, limit: int = 10_000) -> Listing:
        """See IListing."""
        with self._store.asking() as reader:
            mailbox, total = reader.total(self._number, mailbox_id)
            after = min(max(after, 0), rows.UID_LIMIT)
            if min(limit, total) <= SHORT:
                return reader.listing(mailbox, after, max(limit, 0))
        return await self._store.ask_elsewhere(lambda reader: reader.listing(mailbox, after, limit))

    async def listing_since(self, mailbox_id: str, since: int) -> ListingSince:
        """See IListing."""
        number = self._number
        with self._store.asking() as reader:
            if reader.is_short(number, since):
                return reader.listing_since(number, mailbox_id, since)
        return await self._store.ask_elsewhere(lambda reader: reader.listing_since(number, mailbox_id, since))

    async def summaries(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        """See IReadMany."""
        if len(uids) <= SHORT:
            with self._store.asking() as reader:
                return reader.summaries(self._number, mailbox_id, uids)
        return await self._store.ask_elsewhere(lambda reader: reader.summaries(self._number, mailbox_id, uids))

    async def bodies(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        """See IReadMany."""
        store, account = self._store, self._number
        if len(uids) == 1:
            with store.asking() as reader:
                place = reader.place(account, mailbox_id, uids[0])
            octets = None if place is None else store.read_whole_now(place)
            if octets is not None:
                return [(uids[0], octets)]
        if len(uids) <= SHORT:
            with store.asking() as reader:
                there, numbers = reader.blobs(account, mailbox_id, uids)
            together = store.read_neighbours(account, numbers)
            if together is not None:
                return list(zip(there, together, strict=True))
            with store.asking() as reader:
                places = reader.places(account, numbers)
        else:
            there, numbers = await store.ask_elsewhere(lambda reader: reader.blobs(account, mailbox_id, uids))
            places = await store.ask_elsewhere(lambda reader: reader.places(account, numbers))
        known = [(uid, place) for uid, place in zip(there, places, strict=True) if place is not None]
        bodies = await store.read_many([place for _, place in known])
        return [(uid, octets) for (uid, _), octets in zip(known, bodies, strict=True) if octets is not None]

    async def _many(self, mailbox: int, uids: Sequence[int] | None, after: int, limit: int) -> list[Message]:
        if uids is None:
            return await self._store.ask_elsewhere(lambda reader: reader.messages(mailbox, None, after, limit))
        found: list[Message] = []
        # A page at a time: `uids` may name a million, of which `limit` are wanted.
        for start in range(0, len(uids), max(limit, SHORT)):
            some = uids[start : start + max(limit, SHORT)]
            found += await self._store.ask_elsewhere(
                lambda reader, some=some: reader.messages(mailbox, some, 0, limit)  # type: ignore[misc]
            )
            if len(found) >= limit:
                break
        return found

    async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
        """See IAccount."""
        with self._store.asking() as reader:
            if reader.is_short(self._number, since):
                return reader.changes(self._number, since, mailbox_id, limit)
        return await self._store.ask_elsewhere(lambda reader: reader.changes(self._number, since, mailbox_id, limit))

    async def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        """See IAccount."""
        room = self._store.workroom
        blobs: dict[str, Pending] = NO_BLOBS
        for op in ops:
            if type(op) is Add:
                pending = room.find(op.blob_id, self._number)
                if pending is not None:
                    blobs = blobs or {}
                    blobs[op.blob_id] = pending
        applied: Applied = await self._store.writer.submit(Request(self._number, ops, if_state, token, blobs))
        for pending in blobs.values():
            if applied.replayed:
                break  # nothing was done: it is not referred to
            room.written(pending)
        return applied

    def new_blob(self, size_hint: int | None = None) -> BlobWriter:
        """See IAccount."""
        return BlobWriter(self._store.workroom, self._number, size_hint)

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        """See IAccount."""
        location = self._store.locate(self._number, blob_id)
        if location is None:
            pending = self._store.workroom.find(blob_id, self._number)
            if pending is None:
                raise BlobNotFound(blob_id)
            if offset < 0:
                raise Unavailable("an offset below zero")
            octets = pending.octets
            if octets is not None:
                return octets[offset : offset + max(size, 0)]
            location = pending.location
            if location is None:
                raise BlobNotFound(blob_id)
        if offset < 0:
            raise Unavailable("an offset below zero")
        if offset >= location.size or size <= 0:
            return b""
        return await self._store.read_octets(location, offset, size)
