"""Blobs in the making, and those that no `apply` refers to yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from zope.interface import implementer

from twisted_mail_kit.errors import MailError, OverQuota, Unavailable
from twisted_mail_kit.interfaces import IBlobWriter
from twisted_mail_kit.stores.sqlite import rows
from twisted_mail_kit.stores.sqlite.files import Files, is_full
from twisted_mail_kit.stores.sqlite.segments import LargeFile, Location, Mistrusted
from twisted_mail_kit.stores.sqlite.settings import SQLiteSettings

CHUNK = 1 << 20
"""A large blob goes to its file in pieces of this many octets."""
COPIED = 16 * 1024
"""Octets a piece up to which pieces are put together."""
LEAST = 16 * 1024
"""Smaller blobs stay in memory even where there is little room."""
PATIENCE = 3600.0
"""Seconds after which a blob that nobody refers to is forgotten."""


class Pending:
    """A committed blob. The writer gives a small one its location; its octets are in memory until then."""

    __slots__ = ("account", "blob_id", "location", "number", "pieces", "size", "time", "trouble")

    def __init__(
        self, number: int, blob_id: str, account: int | None, pieces: Sequence[bytes] | None, size: int, time: float
    ) -> None:
        self.number = number
        self.blob_id = blob_id
        self.account = account
        """Whose it is; None: anyone's who knows its id."""
        self.pieces = pieces
        """Its octets, until they are written."""
        self.size = size
        """Octets that it holds in memory, as it was counted."""
        self.location: Location | None = None
        self.time = time
        self.trouble: Callable[[], MailError] = _not_written

    @property
    def octets(self) -> bytes | None:
        """All of them, while they are in memory."""
        pieces = self.pieces  # the writer may put them away at any time
        return None if pieces is None else b"".join(pieces)


def _not_written() -> MailError:
    return Unavailable("the blob could not be written")


class Workroom:
    """All blobs of one store that are not in the index yet. Only the reactor thread comes here."""

    def __init__(
        self,
        root: Path,
        files: Files,
        settings: SQLiteSettings,
        seconds: Callable[[], float],
        in_thread: Callable[..., Awaitable[Any]],
        next_run: Callable[[], Awaitable[int]],
        mistrust: Callable[[Mistrusted], None],
        secret: bytes,
    ) -> None:
        self.settings = settings
        self.gathered = 0
        """Octets in memory."""
        self.pending: dict[str, Pending] = {}
        """Oldest first."""
        self.in_thread = in_thread
        self.mistrust = mistrust
        self._root = root
        self._files = files
        self._seconds = seconds
        self._next_run = next_run
        self._secret = secret
        self._run = 0
        self._count = 0

    async def new_number(self) -> int:
        """A blob number that was never used: the run's, which is durable before it is used, and a count."""
        if not self._run or self._count >= 0xFFFFFFFF:
            # Two may ask at once: the later run is as good as the first.
            run = await self._next_run()
            if not self._run or self._count >= 0xFFFFFFFF:
                self._run, self._count = run, 0
        self._count += 1
        return self._run << 32 | self._count

    def large_file(self, number: int) -> LargeFile:
        """A file of its own for a large blob."""
        return LargeFile(self._files, self._root, number)

    def keep(
        self,
        number: int,
        account: int | None,
        pieces: Sequence[bytes] | None,
        size: int,
        location: Location | None = None,
    ) -> str:
        """A blob is whole; answers its id. Its octets are in memory, `size` of them; or they have a `location`."""
        self.forget_old()
        blob_id = rows.blob_id(number, self._secret if account is None else None)
        pending = Pending(number, blob_id, account, pieces, size, self._seconds())
        pending.location = location
        self.pending[blob_id] = pending
        return blob_id

    def find(self, blob_id: str, account: int) -> Pending | None:
        """A blob that this account may use."""
        pending = self.pending.get(blob_id)
        if pending is None or pending.account not in (None, account):
            return None
        return pending if pending.time > self._seconds() - PATIENCE else None

    def written(self, pending: Pending) -> None:
        """The index has it now."""
        if self.pending.pop(pending.blob_id, None) is not None:
            self.gathered -= pending.size

    def forget_old(self) -> None:
        """Let go of what nobody has asked for within the hour."""
        # Twice the time: an `apply` that found it in the last moment may still be at work.
        limit = self._seconds() - 2 * PATIENCE
        for pending in list(islice(self.pending.values(), 2)):
            if pending.time > limit:
                break
            self.written(pending)
            if pending.pieces is None and pending.location is not None and pending.location.segment == 0:
                self.large_file(pending.number).remove()


@implementer(IBlobWriter)
class BlobWriter:
    """Gathers a small blob in memory, sends a large one to a file, a piece at a time."""

    _is_over = True

    def __init__(self, room: Workroom, account: int | None, size_hint: int | None) -> None:
        self._room = room
        self._account = account
        self._pieces: list[bytes] = []
        self._held = 0
        self._is_large = size_hint is not None and size_hint > room.settings.small_message
        self._file: LargeFile | None = None
        self._number = 0
        self._is_over = False

    async def write(self, octets: bytes) -> None:
        """See IBlobWriter."""
        if self._is_over:
            raise Unavailable("this blob has ended already")
        room = self._room
        self._pieces.append(bytes(octets))
        self._held += len(octets)
        room.gathered += len(octets)
        if not self._is_large:
            self._is_large = self._held > room.settings.small_message or (
                self._held > LEAST and room.gathered > room.settings.gathered
            )
        if self._is_large and (self._held >= CHUNK or room.gathered > room.settings.gathered):
            await self._spill()

    async def commit(self) -> str:
        """See IBlobWriter."""
        if self._is_over:
            raise Unavailable("this blob has ended already")
        if not self._is_large:
            number = await self._room.new_number()
            self._is_over = True
            # Many small pieces cost more than their octets; few large ones need not be copied.
            pieces = self._pieces if self._held > COPIED * len(self._pieces) else [b"".join(self._pieces)]
            size = self._held
            # What was held in the making is held on: `Workroom.written` counts it off.
            self._pieces, self._held = [], 0
            return self._room.keep(number, self._account, pieces, size)
        await self._spill()
        file = self._file
        assert file is not None

        def finish() -> Location:
            location = file.finish()
            file.sync()
            return location

        location = await self._attempt(finish)
        if self._is_over:
            raise Unavailable("this blob was aborted")
        self._is_over, self._file = True, None
        return self._room.keep(self._number, self._account, None, 0, location)

    async def abort(self) -> None:
        """See IBlobWriter."""
        if not self._is_over:
            self._give_up()

    def __del__(self) -> None:
        if not self._is_over:
            self._give_up()

    def _give_up(self) -> None:
        self._is_over = True
        self._let_go()
        if self._file is not None:
            file, self._file = self._file, None
            file.remove()

    def _let_go(self) -> None:
        self._room.gathered -= self._held
        self._pieces, self._held = [], 0

    async def _spill(self) -> None:
        """Send what was gathered to the file, and return when it is there."""
        if self._file is None:
            self._number = self._number or await self._room.new_number()
            if self._is_over:
                raise Unavailable("this blob was aborted")
            self._file = self._room.large_file(self._number)
        file, octets = self._file, b"".join(self._pieces)
        try:
            await self._attempt(lambda: file.write(octets))
        finally:
            if not self._is_over:
                self._let_go()

    async def _attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return await self._room.in_thread(action)
        except OSError as error:
            self._give_up()
            if is_full(error):
                raise OverQuota("the disk is full") from error
            raise Unavailable(f"a blob's file: {error}") from error
        except Mistrusted as error:
            self._give_up()
            self._room.mistrust(error)
            raise Unavailable(str(error)) from error
