"""One mailbox of `twisted.mail`, as one POP3 session sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mail_kit.adapters.patience import Patience
from twisted_mail_kit.errors import MessageNotFound, Unavailable
from twisted_mail_kit.interfaces import IMaildrop, IMaildropMessage

_UNIQUE_ID = re.compile(r"[!-~]{1,70}")
_CHUNK = 64 * 1024
_IN_A_ROW = 100  # a getUidl may well read and hash the message


@implementer(IMaildrop)
class MountedMaildrop:
    """Over an IMailboxPOP3, whose indices are 0-based.

    Marks are ours until `update`: only then are messages given to `deleteMessage`, all of them, and `sync` after them.
    So a lost connection deletes nothing, also with mailboxes that move a message away as soon as they are told. What
    cannot be promised is that all or nothing is removed when `deleteMessage` or `sync` fails halfway:
    `undeleteMessages` is called then, and does what it can.
    """

    log = Logger()
    removes_all_or_nothing = False

    def __init__(self, name: str, mailbox: Any, logout: Callable[[], object], patience: Patience) -> None:
        self.name = name
        self.count = 0
        self.total = 0
        self._mailbox = mailbox
        self._logout: Callable[[], object] | None = logout
        self._patience = patience
        self._sizes: list[int] = []
        self._gone = b""
        """1 where there was no message any more at login: its size is 0."""
        self._deleted = bytearray()
        self._unique_ids: dict[int, str] = {}

    async def take_snapshot(self) -> None:
        """Ask how many messages there are, and how large they are said to be."""
        self._sizes = [max(int(size or 0), 0) for size in await self._patience.ask(self._mailbox.listMessages)]
        self._gone = bytes(size == 0 for size in self._sizes)
        self.unmark_all()

    async def count_sizes(self, known: dict[tuple[str, str], int]) -> None:
        """Read each message whose size is not `known` by (account, unique id), and take its size as it is sent."""
        numbers = list(self.numbers())
        await self.know_unique_ids(numbers)
        for number in numbers:
            key = self.name, self._unique_ids[number]
            if key not in known:
                known[key] = await self._count(number)
            self._sizes[number - 1] = known[key]
        self.unmark_all()

    # --- reading ---------------------------------------------------------------------------------------------------

    def has(self, number: int) -> bool:
        """There is such a message, and it is not marked."""
        return 0 < number <= len(self._sizes) and not self._deleted[number - 1]

    def numbers(self) -> Iterator[int]:
        """Of all messages that are not marked, ascending."""
        return (number for number, deleted in enumerate(self._deleted, 1) if not deleted)

    def size(self, number: int) -> int:
        """Octets, as the mailbox said or as they were counted."""
        return self._sizes[number - 1]

    async def know_unique_ids(self, numbers: Iterable[int]) -> None:
        """Ask the mailbox for those that it has not been asked for yet."""
        asked = 0
        for number in numbers:
            if number not in self._unique_ids:
                self._unique_ids[number] = _as_unique_id(await self._ask_for(self._mailbox.getUidl, number))
                asked += 1
                if asked % _IN_A_ROW == 0:
                    await self._patience.breath()

    def unique_id(self, number: int) -> str:
        """The mailbox's own; one that cannot be said (RFC 1939 7) is hashed."""
        return self._unique_ids[number]

    async def open_message(self, number: int) -> IMaildropMessage:
        """Raises MessageNotFound."""
        return MountedMessage(await self._ask_for(self._mailbox.getMessage, number), self._patience)

    def was_retrieved(self, number: int) -> None:
        """A mailbox of this kind has no flags."""

    # --- marking ---------------------------------------------------------------------------------------------------

    def mark(self, number: int) -> None:
        """Delete it at the end."""
        self._deleted[number - 1] = True
        self.count -= 1
        self.total -= self.size(number)

    def unmark_all(self) -> None:
        """Delete nothing, after all."""
        self._deleted = bytearray(self._gone)
        self.count = self._deleted.count(0)
        self.total = sum(self._sizes)

    async def update(self) -> int:
        """Delete what is marked, and let the mailbox make it final. Gives how many were marked.

        Messages that somebody else has removed meanwhile are passed over.
        """
        marked = [at for at, deleted in enumerate(self._deleted) if deleted and not self._gone[at]]
        try:
            for done, at in enumerate(marked, 1):
                try:
                    await self._patience.ask(self._mailbox.deleteMessage, at)
                except (ValueError, IndexError):
                    self.log.info("message {number} of {name} is gone already", number=at + 1, name=self.name)
                if done % _IN_A_ROW == 0:
                    await self._patience.breath()
            await self._patience.ask(self._mailbox.sync)
        except Exception:
            try:
                await self._patience.ask(self._mailbox.undeleteMessages)
            except Exception:
                self.log.failure("messages of {name} could not be undeleted", name=self.name)
            raise
        return len(marked)

    async def mark_seen(self) -> int:
        """A mailbox of this kind has no flags."""
        return 0

    def close(self) -> None:
        """Log out, once."""
        logout, self._logout = self._logout, None
        if logout is not None:
            try:
                logout()
            except Exception:
                self.log.failure("the logout of {name} failed", name=self.name)

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _ask_for(self, method: Callable[[int], Any], number: int) -> Any:
        try:
            return await self._patience.ask(method, number - 1)
        except (ValueError, IndexError) as problem:
            raise MessageNotFound(f"message {number} of {self.name}") from problem

    async def _count(self, number: int) -> int:
        message = await self.open_message(number)
        size = 0
        try:
            while octets := await message.read(_CHUNK):
                size += len(octets)
                await self._patience.breath()
        finally:
            message.close()
        return size


@implementer(IMaildropMessage)
class MountedMessage:
    """A file-like object, read from where it stands; bare LFs become CR LF on the way.

    A file that was opened as text is read by its octets: a message is not of one character set.
    """

    def __init__(self, file: Any, patience: Patience) -> None:
        self._file = file
        self._source = getattr(file, "buffer", file)
        self._patience = patience
        self._held = b""

    async def read(self, size: int) -> bytes:
        """The next octets; b"" at the end."""
        while True:
            octets = await self._patience.ask(self._source.read, size)
            if isinstance(octets, str):
                octets = octets.encode("utf-8", "surrogateescape")
            if not isinstance(octets, bytes):
                raise Unavailable(f"a message gave {type(octets).__name__} where octets were expected")
            if not octets:
                octets, self._held = self._held, b""
                return octets
            octets, self._held = self._held + octets, b""
            if octets.endswith(b"\r"):
                octets, self._held = octets[:-1], b"\r"  # its LF may be the next octet
            if octets:
                return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    def close(self) -> None:
        """Close the file, where it can be closed."""
        close = getattr(self._file, "close", None)
        if close is not None:
            close()


def _as_unique_id(given: Any) -> str:
    text = given.decode("latin-1") if isinstance(given, bytes) else str(given)
    if _UNIQUE_ID.fullmatch(text):
        return text
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
