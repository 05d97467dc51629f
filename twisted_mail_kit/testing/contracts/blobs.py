"""Promises about blobs: octets out are octets in, for the account whose they are and for nobody else."""

from __future__ import annotations

import gc
import random

import pytest

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import Add, Added, Copy, DeleteMailbox, IAccount, IMailStore, Move, Remove
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, promise
from twisted_mail_kit.testing.contracts.steps import (
    LETTER,
    NOBODYS_BLOB,
    add,
    create,
    inbox,
    message,
    messages,
    open_files,
    put_blob,
    read,
    same_octets,
    write_blob,
)

MEGABYTE = random.Random(1).randbytes(1 << 20)
SAMPLES = {
    "nothing": b"",
    "one octet": b"\0",
    "every octet": bytes(range(256)) * 3,
    "line ends": b"a\r\nb\nc\rd\r\n\r\n.\r\n..\r\n",
    "no text": b"\xff\xfe\x00\xc3\x28" * 100,
    "a megabyte and a bit": MEGABYTE + b"bit",
}


class BlobPromises(StoreBench):
    """IAccount.new_blob, IAccount.read_blob and IBlobWriter."""

    @promise
    async def test_octets_out_are_octets_in(self, account: IAccount) -> None:
        box = await inbox(account)
        for what, octets in SAMPLES.items():
            (added,) = await add(account, box.id, octets)
            row = await message(account, box.id, added.uid)
            assert row.size == len(octets), what
            same_octets(await read(account, row.blob_id), octets, what)
        assert (await inbox(account)).size == sum(map(len, SAMPLES.values()))

    @promise
    async def test_it_does_not_matter_in_what_pieces_they_were_written(self, account: IAccount) -> None:
        box, octets = await inbox(account), bytes(range(256)) * 8
        for piece in (1, 7, 1000, len(octets), len(octets) * 2):
            blob = await write_blob(account.new_blob(), octets, piece)
            (added,) = (await account.apply([Add(box.id, blob, 1)])).results
            assert isinstance(added, Added)
            row = await message(account, box.id, added.uid)
            assert row.size == len(octets)
            same_octets(await read(account, row.blob_id), octets)
        writer = account.new_blob()
        for nothing in (b"", b"a", b"", b"b", b""):
            await writer.write(nothing)
        await account.apply([Add(box.id, await writer.commit(), 1)])
        assert await read(account, (await messages(account, box.id))[-1].blob_id) == b"ab"

    @promise
    async def test_the_size_hint_is_a_guess(self, account: IAccount) -> None:
        box = await inbox(account)
        for hint in (None, 0, 1, len(LETTER), 50 << 20):
            blob = await write_blob(account.new_blob(hint), LETTER)
            await account.apply([Add(box.id, blob, 1)])
        for row in await messages(account, box.id):
            assert (row.size, await read(account, row.blob_id)) == (len(LETTER), LETTER)

    @promise
    async def test_slices_are_of_the_right_place_and_end_at_the_end(self, account: IAccount) -> None:
        (added,) = await add(account, (await inbox(account)).id, MEGABYTE)
        blob = (await message(account, added.mailbox_id, added.uid)).blob_id
        end = len(MEGABYTE)
        for offset, size in ((0, 1), (1, 10), (65535, 2), (65536, 65536), (end - 1, 1), (end - 1, 10), (12345, end)):
            octets = b""
            while len(octets) < min(size, end - offset):
                more = await account.read_blob(blob, offset + len(octets), size - len(octets))
                assert 0 < len(more) <= size - len(octets), "never nothing before the end, never more than asked for"
                octets += more
            same_octets(octets, MEGABYTE[offset : offset + size], f"{size} octets from {offset} on")
        for offset in (end, end + 1, end * 10, 2**40):
            assert await account.read_blob(blob, offset, 100) == b""

    @promise
    async def test_a_blob_that_nobody_wrote_is_not_found(self, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        await account.apply([Add(box.id, blob, 1)])
        strange = (NOBODYS_BLOB, "", "0", "-1", "999999999999", "../../etc/passwd", "x" * 500, "\u65e5\u672c", "a'b")
        for blob_id in (*strange, blob + "x", " " + blob):
            with pytest.raises(BlobNotFound):
                await account.read_blob(blob_id, 0, 10)
            with pytest.raises(BlobNotFound):
                await account.apply([Add(box.id, blob_id, 1)])

    @promise
    async def test_a_blob_of_another_account_is_not_found(self, store: IMailStore, account: IAccount) -> None:
        other = await store.open_account("bob", create=True)
        (added,) = await add(account, (await inbox(account)).id, b"a secret of alice")
        used = (await message(account, added.mailbox_id, added.uid)).blob_id
        for blob in (used, await put_blob(account, b"a secret without a message")):
            with pytest.raises(BlobNotFound):
                await other.read_blob(blob, 0, 100)
            with pytest.raises(BlobNotFound):
                await other.apply([Add((await inbox(other)).id, blob, 1)])
        assert (await inbox(other)).total == 0

    @promise
    async def test_equal_octets_in_two_accounts_stay_apart(self, store: IMailStore, account: IAccount) -> None:
        other = await store.open_account("bob", create=True)
        for one in (account, other):
            await add(one, (await inbox(one)).id, LETTER)
        (row,) = await messages(account, (await inbox(account)).id)
        await account.apply([Remove(row.mailbox_id, [row.uid])])
        (row,) = await messages(other, (await inbox(other)).id)
        assert await read(other, row.blob_id) == LETTER

    @promise
    async def test_abort_may_be_said_at_any_time(self, account: IAccount) -> None:
        box = await inbox(account)
        for octets in (b"", b"x" * 100_000):
            writer = account.new_blob()
            await writer.write(octets)
            await writer.abort()
            await writer.abort()
        await account.new_blob().abort()
        writer = account.new_blob()
        blob = await write_blob(writer, LETTER)
        await writer.abort()
        await account.apply([Add(box.id, blob, 1)])
        await writer.abort()
        (row,) = await messages(account, box.id)
        assert await read(account, row.blob_id) == LETTER

    @promise
    async def test_a_writer_that_is_lost_is_an_aborted_one(self, account: IAccount) -> None:
        await add(account, (await inbox(account)).id)
        gc.collect()
        files = open_files()
        for size in (0, 100, 400_000):
            for _ in range(10):
                writer = account.new_blob(size)
                await writer.write(b"x" * size)
        del writer
        gc.collect()
        assert open_files() <= files + 5, "writers that are lost keep their files open"
        await add(account, (await inbox(account)).id)
        assert [row.size for row in await messages(account, (await inbox(account)).id)] == [len(LETTER)] * 2

    @promise
    async def test_blobs_that_are_written_at_the_same_time_do_not_mix(self, account: IAccount) -> None:
        box = await inbox(account)
        writers = [account.new_blob() for _ in range(6)]
        for turn in range(20):
            for number, writer in enumerate(writers):
                await writer.write(bytes([number]) * (turn + 1) * 100)
        await writers[0].abort()
        ops = [Add(box.id, await writer.commit(), 1) for writer in writers[1:]]
        await account.apply(ops)
        for number, row in enumerate(await messages(account, box.id), 1):
            same_octets(await read(account, row.blob_id), bytes([number]) * 100 * 210)

    @promise
    async def test_a_blob_can_be_read_when_its_last_message_has_gone(
        self, store: IMailStore, account: IAccount
    ) -> None:
        box, doomed = await inbox(account), await create(account, "Doomed")
        one, two = await add(account, box.id, MEGABYTE, times=2)
        (three,) = await add(account, doomed.id)
        blobs = [(await message(account, added.mailbox_id, added.uid)).blob_id for added in (one, two, three)]
        await account.apply([Remove(box.id, [one.uid])])
        await account.apply([Move(box.id, [two.uid], doomed.id)])
        await account.apply([DeleteMailbox(doomed.id)])
        await add(account, box.id)
        for blob, octets in zip(blobs, (MEGABYTE, MEGABYTE, LETTER), strict=True):
            same_octets(await read(account, blob), octets)

    @promise
    async def test_that_it_can_for_ten_minutes(self, store: IMailStore, account: IAccount) -> None:
        box = await inbox(account)
        (added,) = await add(account, box.id, MEGABYTE)
        blob = (await message(account, box.id, added.uid)).blob_id
        await finished(self.pass_time(store, 24 * 3600))
        await account.apply([Remove(box.id, [added.uid])])
        await finished(self.pass_time(store, 590))
        await add(account, box.id)
        same_octets(await read(account, blob), MEGABYTE)

    @promise
    async def test_a_blob_stays_as_long_as_a_message_has_it(self, store: IMailStore, account: IAccount) -> None:
        box, there = await inbox(account), await create(account, "There")
        (added,) = await add(account, box.id, b"long kept")
        await account.apply([Copy(box.id, [added.uid], there.id)])
        await account.apply([Remove(box.id, [added.uid])])
        await account.apply([Move(there.id, range(1, 10), there.id)])
        await finished(self.pass_time(store, 30 * 24 * 3600))
        for _ in range(3):
            await add(account, box.id)
            await finished(self.pass_time(store, 2 * 3600))
        (row,) = await messages(account, there.id)
        assert await read(account, row.blob_id) == b"long kept"

    @promise
    async def test_a_blob_waits_an_hour_for_its_message(self, store: IMailStore, account: IAccount) -> None:
        box, blob = await inbox(account), await put_blob(account)
        await finished(self.pass_time(store, 3500))
        await add(account, box.id)
        await account.apply([Add(box.id, blob, 1)])
        assert await read(account, (await messages(account, box.id))[-1].blob_id) == LETTER
