"""Spools that are broken in what they keep of a message: octets, envelope, recipients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import attrs

from broken_spools import SoundSpool, breaks
from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import IBlobWriter, QueuedMessage


def broken_writer(writer: Any, **methods: Any) -> IBlobWriter:
    """The writer, with other methods."""
    for name, method in methods.items():
        setattr(writer, name, method)
    return writer  # type: ignore[no-any-return]


@breaks("test_octets_out_are_octets_in_however_many")
class EndsAt64K(SoundSpool):
    """What is longer is cut."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        return (await super().read_blob(blob_id, 0, 65536))[offset : offset + size]


@breaks("test_octets_can_be_written_in_pieces")
class EqualPiecesKeptOnce(SoundSpool):
    """A piece that was written before is not written again."""

    def new_blob(self, size_hint: int | None = None) -> IBlobWriter:
        writer: Any = super().new_blob(size_hint)
        write = writer.write

        async def once(octets: bytes) -> None:
            if octets not in writer._pieces:
                await write(octets)

        return broken_writer(writer, write=once)


@breaks("test_octets_go_with_the_last_recipient")
class OctetsStay(SoundSpool):
    """The octets of a message are never forgotten."""

    async def settle(self, *said: Any, **more: Any) -> None:
        blobs = dict(self._state().blobs)
        await super().settle(*said, **more)
        self._state().blobs |= blobs


@breaks("test_two_messages_may_have_the_same_octets")
class TheFirstTakesThemAlong(SoundSpool):
    """Octets go with the first of their messages."""

    async def remove(self, message_id: str, numbers: Any = None) -> int:
        blob_id = self._state().messages[message_id].blob_id
        removed = await super().remove(message_id, numbers)
        self._state().blobs.pop(blob_id, None)
        return removed


@breaks("test_octets_that_are_not_there_are_not_found")
class NoOctetsAreEmpty(SoundSpool):
    """What is not there has no octets."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        return self._state().blobs.get(blob_id, b"")[offset : offset + size]


@breaks("test_what_is_aborted_is_forgotten")
class AbortedTwice(SoundSpool):
    """What was aborted cannot be aborted."""

    def new_blob(self, size_hint: int | None = None) -> IBlobWriter:
        writer: Any = super().new_blob(size_hint)

        async def abort() -> None:
            if writer._pieces is None:
                raise BlobNotFound("aborted already")
            writer._pieces = None

        return broken_writer(writer, abort=abort)


@breaks("test_an_envelope_comes_back_as_it_was")
class EnvelopesOfRFC5321(SoundSpool):
    """What extensions say is not kept."""

    async def add(self, message: QueuedMessage, *said: Any, **more: Any) -> None:
        plain = attrs.evolve if attrs.has(type(message.envelope)) else replace
        await super().add(replace(message, envelope=plain(message.envelope, require_tls=False)), *said, **more)


@breaks("test_a_recipient_that_comes_with_a_history_keeps_it")
class BeginsAnew(SoundSpool):
    """What is added was never tried."""

    async def add(self, message: Any, recipients: Any, *said: Any, **more: Any) -> None:
        await super().add(message, [replace(one, attempts=0) for one in recipients], *said, **more)


@breaks("test_a_message_has_recipients")
class ForNobody(SoundSpool):
    """A message for nobody is no error."""

    async def add(self, message: Any, recipients: Any, *said: Any, **more: Any) -> None:
        if recipients:
            await super().add(message, recipients, *said, **more)


@breaks("test_octets_go_with_the_last_recipient", "test_recipients_are_removed_and_with_the_last_the_message")
class NothingLeaves(SoundSpool):
    """Nothing is ever removed."""

    async def remove(self, message_id: str, numbers: Any = None) -> int:
        return len(self._chosen(message_id, numbers))

    async def settle(self, *said: Any, **more: Any) -> None:
        pass
