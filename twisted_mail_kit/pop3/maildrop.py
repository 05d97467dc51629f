"""The maildrop: what the inbox held at login, numbered, with what is to be deleted at QUIT."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound, MailboxNotFound, MessageNotFound
from twisted_mail_kit.interfaces import (
    IAccount,
    IListing,
    IMaildrop,
    IMaildropMessage,
    Listing,
    Mailbox,
    Remove,
    SetFlags,
)
from twisted_mail_kit.pop3.ahead import Ahead, Room

SEEN = "\\Seen"


@implementer(IMaildrop)
class Maildrop:
    """A snapshot of one mailbox, RFC 1939 4: 1 is the oldest message, and what comes later is not in it.

    It costs 18 octets a message. Deletions are only marks until `update`; losing the object deletes nothing.
    """

    removes_all_or_nothing = True
    ROWS = 100
    """Blob ids are asked for so many messages at once, for a client that takes one after the other."""

    def __init__(self, account: IAccount, mailbox: Mailbox, room: Room | None = None) -> None:
        """`room` is for what is read before it is asked for; without it nothing is."""
        self.account = account
        self.total = 0
        """Octets of all messages that are not marked."""
        self.count = 0
        """Messages that are not marked."""
        self._mailbox = mailbox
        self._uids: array[int] = array("Q")
        self._sizes: array[int] = array("Q")
        self._deleted = bytearray()
        self._unseen = bytearray()
        self._retrieved: set[int] = set()
        self._blobs: dict[int, str] = {}
        self.ahead = Ahead(account, mailbox.id, self._uids, self._sizes, self._deleted, room or Room(0))
        """Its messages as a whole, where the store can read many at once."""

    @classmethod
    async def open(
        cls,
        account: IAccount,
        page: int = 1000,
        pause: Callable[[], Awaitable[object]] | None = None,
        room: Room | None = None,
    ) -> Maildrop:
        """Take the snapshot of the account's inbox; `pause` is awaited between two pages. Raises MailboxNotFound."""
        mailboxes = await account.mailboxes()
        inbox = next((box for box in mailboxes if box.role == "inbox"), None) or next(
            (box for box in mailboxes if box.name == ("INBOX",)), None
        )
        if inbox is None:
            raise MailboxNotFound("INBOX")
        maildrop = cls(account, inbox, room)
        after = 0
        while True:
            uids, sizes, flags = await _listing(account, inbox.id, after, page)
            maildrop._add(uids, sizes, flags)
            if len(uids) < page:
                break
            after = uids[-1]
            if pause is not None:
                await pause()
        return maildrop

    def _add(self, uids: Sequence[int], sizes: Sequence[int], flags: Sequence[frozenset[str]]) -> None:
        self._uids.extend(list(uids))
        self._sizes.extend(list(sizes))
        self._unseen.extend([SEEN not in one for one in flags])
        self._deleted.extend(bytes(len(uids)))
        self.total += sum(sizes)
        self.count += len(uids)

    # --- reading ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The highest number, marked or not."""
        return len(self._uids)

    def has(self, number: int) -> bool:
        """There is such a message, and it is not marked."""
        return 0 < number <= len(self._uids) and not self._deleted[number - 1]

    def numbers(self) -> Iterator[int]:
        """Of all messages that are not marked, ascending."""
        return (number for number, deleted in enumerate(self._deleted, 1) if not deleted)

    def size(self, number: int) -> int:
        """Octets, as they are stored; what dot-stuffing adds is not counted, RFC 1939 11."""
        return self._sizes[number - 1]

    async def know_unique_ids(self, numbers: Iterable[int]) -> None:
        """They are known."""

    def unique_id(self, number: int) -> str:
        """RFC 1939 7: 1-70 printable characters, the same for ever, and never another message's.

        UIDVALIDITY and UID are just that. The email id is not: two copies in one inbox share it, and what would tell
        them apart, their order, changes when one of them is deleted.
        """
        return f"{self._mailbox.uidvalidity}.{self._uids[number - 1]}"

    async def open_message(self, number: int) -> IMaildropMessage:
        """Raises MessageNotFound where somebody else has removed the message."""
        (octets,) = await self.ahead.take((number,))
        if octets is not None:
            return ReadMessage(octets)
        return StoredMessage(self, number, await self.blob_id(number) if self.size(number) else "")

    async def blob_id(self, number: int) -> str:
        """Where the octets are. Raises MessageNotFound where somebody else has removed the message."""
        known = self._blobs.get(number)
        if known is None:
            wanted = self._uids[number - 1 : number - 1 + self.ROWS]
            rows = await self.account.messages(self._mailbox.id, uids=list(wanted), limit=self.ROWS)
            blobs = {row.uid: row.blob_id for row in rows}
            self._blobs = {at: blobs[uid] for at, uid in enumerate(wanted, number) if uid in blobs}
            known = self._blobs.get(number)
            if known is None:
                raise MessageNotFound(f"uid {wanted[0]}")
        return known

    async def read(self, blob_id: str, number: int, offset: int, size: int) -> bytes:
        """At most `size` octets of the message, and never none. Raises BlobNotFound when it ends too early."""
        octets = await self.account.read_blob(blob_id, offset, min(size, self.size(number) - offset))
        if not octets:
            raise BlobNotFound(f"blob {blob_id} ends at {offset} of {self.size(number)} octets")
        return octets

    def was_retrieved(self, number: int) -> None:
        r"""The client has the whole message: it gets \Seen at the end."""
        if self._unseen[number - 1]:
            self._retrieved.add(number)

    # --- marking ---------------------------------------------------------------------------------------------------

    def mark(self, number: int) -> None:
        """Delete it at the end."""
        self._deleted[number - 1] = True
        self.count -= 1
        self.total -= self.size(number)

    def unmark_all(self) -> None:
        """Delete nothing, after all."""
        self._deleted[:] = bytes(len(self._uids))
        self.count = len(self._uids)
        self.total = sum(self._sizes)

    async def update(self) -> int:
        """Remove what is marked: all of it or nothing, durably. Gives how many were marked.

        Messages that somebody else has removed meanwhile are passed over.
        """
        uids = [uid for uid, deleted in zip(self._uids, self._deleted, strict=True) if deleted]
        if uids:
            await self.account.apply([Remove(self._mailbox.id, uids)])
        return len(uids)

    async def mark_seen(self) -> int:
        r"""Give \Seen to what was retrieved and stays. Gives how many."""
        uids = [self._uids[number - 1] for number in sorted(self._retrieved) if not self._deleted[number - 1]]
        if uids:
            await self.account.apply([SetFlags(self._mailbox.id, uids, add=frozenset({SEEN}))])
        return len(uids)

    def close(self) -> None:
        """Let go of what was read ahead."""
        self.ahead.forget()


async def _listing(
    account: IAccount, mailbox_id: str, after: int, limit: int
) -> tuple[Sequence[int], Sequence[int], Sequence[frozenset[str]]]:
    """UIDs, sizes and flags of messages, ascending, without the rest of their rows where the store can say them so."""
    if IListing.providedBy(account):
        listing: Listing = await cast(Any, account).listing(mailbox_id, after, limit)
        return listing.uids, listing.sizes, listing.flags
    rows = await account.messages(mailbox_id, after=after, limit=limit)
    return [row.uid for row in rows], [row.size for row in rows], [row.flags for row in rows]


@implementer(IMaildropMessage)
class ReadMessage:
    """One message that is in memory."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._offset = 0

    async def read(self, size: int) -> bytes:
        """At most `size` octets; b"" at the end."""
        octets = self._octets[self._offset : self._offset + size]
        self._offset += len(octets)
        return octets

    def close(self) -> None:
        """Nothing was opened."""


@implementer(IMaildropMessage)
class StoredMessage:
    """One message of a store, read from its blob."""

    def __init__(self, maildrop: Maildrop, number: int, blob_id: str) -> None:
        self._maildrop = maildrop
        self._number = number
        self._blob_id = blob_id
        self._offset = 0

    async def read(self, size: int) -> bytes:
        """At most `size` octets; b"" at the end. Raises BlobNotFound when it ends too early."""
        if self._offset >= self._maildrop.size(self._number):
            return b""
        octets = await self._maildrop.read(self._blob_id, self._number, self._offset, size)
        self._offset += len(octets)
        return octets

    def close(self) -> None:
        """Nothing was opened."""
