"""The maildrop: what the inbox held at login, numbered, with what is to be deleted at QUIT."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from zope.interface import implementer

from twisted_mail_kit.errors import BlobNotFound, MailboxNotFound, MessageNotFound
from twisted_mail_kit.interfaces import (
    IAccount,
    IMaildrop,
    IMaildropMessage,
    IReadMany,
    Mailbox,
    Message,
    Remove,
    SetFlags,
)

SEEN = "\\Seen"


@implementer(IMaildrop)
class Maildrop:
    """A snapshot of one mailbox, RFC 1939 4: 1 is the oldest message, and what comes later is not in it.

    It costs 18 octets a message. Deletions are only marks until `update`; losing the object deletes nothing.
    """

    removes_all_or_nothing = True
    ROWS = 100
    """Blob ids are asked for so many messages at once, for a client that takes one after the other."""
    AHEAD = 64 * 1024
    """Octets of messages that are read at once for such a client, where the store can."""

    def __init__(self, account: IAccount, mailbox: Mailbox) -> None:
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
        self._last = 0
        self._ahead: dict[int, bytes] = {}
        """Messages that were read with an earlier one, and that the client has not asked for yet."""

    @classmethod
    async def open(
        cls, account: IAccount, page: int = 1000, pause: Callable[[], Awaitable[object]] | None = None
    ) -> Maildrop:
        """Take the snapshot of the account's inbox; `pause` is awaited between two pages. Raises MailboxNotFound."""
        mailboxes = await account.mailboxes()
        inbox = next((box for box in mailboxes if box.role == "inbox"), None) or next(
            (box for box in mailboxes if box.name == ("INBOX",)), None
        )
        if inbox is None:
            raise MailboxNotFound("INBOX")
        maildrop = cls(account, inbox)
        after = 0
        while True:
            rows = await account.messages(inbox.id, after=after, limit=page)
            maildrop._add(rows)
            if len(rows) < page:
                break
            after = rows[-1].uid
            if pause is not None:
                await pause()
        return maildrop

    def _add(self, rows: Sequence[Message]) -> None:
        for row in rows:
            self._uids.append(row.uid)
            self._sizes.append(row.size)
            self._unseen.append(SEEN not in row.flags)
            self.total += row.size
        self._deleted.extend(bytes(len(rows)))
        self.count += len(rows)

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
        octets = await self._read_ahead(number)
        if octets is not None:
            return ReadMessage(octets)
        return StoredMessage(self, number, await self.blob_id(number) if self.size(number) else "")

    async def _read_ahead(self, number: int) -> bytes | None:
        """Hot path: the message, if it was read with others before it, or can be with those that follow."""
        is_next, self._last = number == self._last + 1, number
        octets = self._ahead.pop(number, None)
        if octets is None and is_next and IReadMany.providedBy(self.account):
            numbers: dict[int, int] = {}
            left = self.AHEAD
            for at in range(number - 1, min(number - 1 + self.ROWS, len(self))):
                left -= self._sizes[at]
                if left < 0:
                    break
                numbers[self._uids[at]] = at + 1
            self._ahead.clear()
            if numbers:
                bodies = await cast(Any, self.account).bodies(self._mailbox.id, list(numbers))
                self._ahead.update((numbers[uid], body) for uid, body in bodies)
                octets = self._ahead.pop(number, None)
        return octets

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
        self._deleted = bytearray(len(self._uids))
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
        """Nothing was opened."""


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
