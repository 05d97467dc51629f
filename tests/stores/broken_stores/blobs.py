"""Stores that are broken in their blobs: the octets, whose they are, and how long they stay."""

from __future__ import annotations

from typing import Any

from broken_stores import SoundAccount, breaks
from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import Message
from twisted_mail_kit.stores.memory import MemoryBlobWriter
from twisted_mail_kit.stores.memory_draft import Draft


@breaks("test_octets_out_are_octets_in")
class LineEndsMended(SoundAccount):
    """Bare line feeds become line ends."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        return (await super().read_blob(blob_id, offset, size)).replace(b"\nb", b"\r\nb")[:size]


@breaks("test_octets_out_are_octets_in", "test_slices_are_of_the_right_place_and_end_at_the_end")
class EndsAt64K(SoundAccount):
    """What is longer is cut."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        return await super().read_blob(blob_id, offset, min(size, max(0, 65536 - offset)))


@breaks("test_slices_are_of_the_right_place_and_end_at_the_end")
class MoreThanAskedFor(SoundAccount):
    """A slice has an octet too many."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        return await super().read_blob(blob_id, offset, size + 1)


@breaks("test_it_does_not_matter_in_what_pieces_they_were_written")
class EqualPiecesKeptOnce(MemoryBlobWriter):
    """A piece that was written before is not written again."""

    async def write(self, octets: bytes) -> None:
        if octets not in self._pieces:
            await super().write(octets)


@breaks("test_the_size_hint_is_a_guess")
class HintIsTheSize(SoundAccount):
    """What is longer than it was guessed to be is cut."""

    def new_blob(self, size_hint: int | None = None) -> MemoryBlobWriter:
        writer = super().new_blob(size_hint)
        keep = writer._keep
        writer._keep = lambda octets: keep(octets[:size_hint])
        return writer


@breaks("test_a_writer_that_is_lost_is_an_aborted_one")
class OpenUntilTheEnd(MemoryBlobWriter):
    """A file that was begun is closed by commit and abort, and by nothing else."""

    files: list[Any] = []

    async def write(self, octets: bytes) -> None:
        self.files.append(open("/dev/null"))  # noqa: PTH123, SIM115
        await super().write(octets)

    async def commit(self) -> str:
        self.files.clear()
        return await super().commit()


@breaks("test_blobs_that_are_written_at_the_same_time_do_not_mix")
class OneBufferForAll(MemoryBlobWriter):
    """Whoever writes writes into the same buffer."""

    buffer: list[bytes] = []

    def __init__(self, keep: Any) -> None:
        super().__init__(keep)
        self._pieces = self.buffer

    async def commit(self) -> str:
        blob_id = await super().commit()
        self.buffer.clear()
        return blob_id


@breaks("test_abort_may_be_said_at_any_time")
class AbortedTwice(MemoryBlobWriter):
    """What was aborted cannot be aborted."""

    async def abort(self) -> None:
        if self._pieces is None:
            raise BlobNotFound("aborted already")
        self._pieces = None  # type: ignore[assignment]


@breaks("test_a_blob_that_nobody_wrote_is_not_found")
class NoBlobIsEmpty(SoundAccount):
    """A blob that is not there has no octets."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        return self.blobs.get(blob_id, b"")[offset : offset + size]


@breaks("test_a_blob_of_another_account_is_not_found")
class ForeignBlobReadable(SoundAccount):
    """Who knows a blob's id can read it."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        for account in self.store.accounts.values():
            if blob_id in account.blobs:
                return account.blobs[blob_id][offset : offset + size]
        raise BlobNotFound(blob_id)


# --- how long they stay ----------------------------------------------------------------------------------------------


@breaks("test_a_blob_can_be_read_when_its_last_message_has_gone")
class GoneAtOnce(SoundAccount):
    """A blob goes with its last message."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        if blob_id in self.loose:
            raise BlobNotFound(blob_id)
        return await super().read_blob(blob_id, offset, size)


@breaks("test_that_it_can_for_ten_minutes")
class GraceFromTheBeginning(Draft):
    """The grace time is counted from when the blob was written."""

    def put_in_place(self) -> None:
        super().put_in_place()
        for blob_id in self.references.keys() & self.account.loose.keys():
            self.account.loose[blob_id] = 0.0


@breaks("test_a_blob_stays_as_long_as_a_message_has_it")
class GoesWithTheFirst(Draft):
    """A blob is taken for unused when the first of its messages goes."""

    def _drop(self, row: Message) -> None:
        super()._drop(row)
        self.references[row.blob_id] = -self.account.references[row.blob_id]


@breaks("test_a_blob_waits_an_hour_for_its_message")
class WaitsHalfAnHour(SoundAccount):
    """A blob that no message refers to is forgotten too soon."""

    def _forget(self, now: float) -> None:
        super()._forget(now + 1800)
