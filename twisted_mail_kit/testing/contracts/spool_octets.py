"""Promises of a spool about octets and words: what comes out is what went in."""

from __future__ import annotations

import pytest

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Failed, Status
from twisted_mail_kit.mail.queued import QueuedMessage, QueuedRecipient
from twisted_mail_kit.testing.contracts.blobs import SAMPLES
from twisted_mail_kit.testing.contracts.spool_bench import (
    NOW,
    SpoolBench,
    lease,
    put,
    put_blob,
    settle,
    spool_promise,
)
from twisted_mail_kit.testing.contracts.steps import same_octets

FULL = Envelope(
    sender=Address("ann \u00fc", "xn--x.example"),
    peer=Peer("2001:db8::1", 25, "2001:db8::2", 587, "submission", "[x]", True, "TLSv1.3 X", "ann", True),
    trace_id="m\u00fc",
    body="8BITMIME",
    smtputf8=True,
    size=12345,
    ret="HDRS",
    envid="QQ\u00fc314159",
    auth="ann@example.org",
    require_tls=True,
    received_at=NOW + 0.25,
)


class OctetPromises(SpoolBench):
    """Messages and envelopes."""

    @spool_promise
    async def test_octets_out_are_octets_in_however_many(self, spool: ISpool) -> None:
        for number, octets in enumerate([*SAMPLES.values(), bytes(range(256)) * 1000]):
            message = await put(spool, f"m{number}", "a.example", octets=octets)
            same_octets(await spool.read_blob(message.blob_id, 0, len(octets) + 1), octets)
            assert await spool.read_blob(message.blob_id, 1, 5) == octets[1:6]
            assert await spool.read_blob(message.blob_id, len(octets), 5) == b""
            assert await spool.read_blob(message.blob_id, max(0, len(octets) - 3), 99) == octets[-3:]

    @spool_promise
    async def test_octets_can_be_written_in_pieces(self, spool: ISpool) -> None:
        writer = spool.new_blob()
        for number in range(300):
            await writer.write(bytes([number % 256]) * 1000)
        blob_id = await writer.commit()
        await spool.add(
            QueuedMessage(Envelope(None, Peer(""), "m1"), blob_id, 300_000),
            [QueuedRecipient("m1", 0, Recipient(Address("a", "b")), "b", NOW)],
        )
        octets = b""
        while piece := await spool.read_blob(blob_id, len(octets), 70_001):
            octets += piece
        same_octets(octets, b"".join(bytes([number % 256]) * 1000 for number in range(300)))

    @spool_promise
    async def test_octets_go_with_the_last_recipient(self, spool: ISpool) -> None:
        for size in (10, 200_000):
            message = await put(spool, "m1", "a.example", octets=b"x" * size)
            await settle(spool, await lease(spool))
            with pytest.raises(BlobNotFound):
                await spool.read_blob(message.blob_id, 0, 10)

    @spool_promise
    async def test_two_messages_may_have_the_same_octets(self, spool: ISpool) -> None:
        message = await put(spool, "m1", "a.example", octets=b"shared")
        other = QueuedMessage(Envelope(None, Peer(""), "m2"), message.blob_id, 6)
        await spool.add(other, [QueuedRecipient("m2", 0, Recipient(Address("a", "b")), "b", NOW)])
        await spool.remove("m1")
        assert await spool.read_blob(message.blob_id, 0, 10) == b"shared"

    @spool_promise
    async def test_octets_that_are_not_there_are_not_found(self, spool: ISpool) -> None:
        for blob_id in ("", "x", "b1", "B99", "../x"):
            with pytest.raises(BlobNotFound):
                await spool.read_blob(blob_id, 0, 10)
            with pytest.raises(BlobNotFound):
                await spool.add(
                    QueuedMessage(Envelope(None, Peer(""), "m1"), blob_id, 6),
                    [QueuedRecipient("m1", 0, Recipient(Address("a", "b")), "b", NOW)],
                )
        assert not await spool.messages()

    @spool_promise
    async def test_what_is_aborted_is_forgotten(self, spool: ISpool) -> None:
        for size in (10, 200_000):
            writer = spool.new_blob(size)
            await writer.write(b"x" * size)
            await writer.abort()
            await writer.abort()
        assert not await spool.messages()

    @spool_promise
    async def test_an_envelope_comes_back_as_it_was(self, spool: ISpool) -> None:
        plain = Envelope(None, Peer(""), "m0")
        for envelope in (FULL, plain):
            message = QueuedMessage(envelope, await put_blob(spool), 99)
            recipient = QueuedRecipient(
                envelope.trace_id,
                3,
                Recipient(Address("a b", "b"), frozenset({"DELAY", "FAILURE"}), "rfc822;x"),
                "b",
                NOW,
            )
            await spool.add(message, [recipient])
            (found,) = await lease(spool)
            assert found.message == message and found.recipients == (recipient,)
            assert found.message.envelope.received_at == envelope.received_at
            assert dict(await spool.messages())[message] == [recipient]

    @spool_promise
    async def test_a_recipient_that_comes_with_a_history_keeps_it(self, spool: ISpool) -> None:
        message = QueuedMessage(Envelope(None, Peer(""), "m1"), await put_blob(spool), 99)
        status = Status("4.2.1", "Greylisted \u00fc", 450, "mx [192.0.2.1]")
        recipients = [
            QueuedRecipient("m1", 0, Recipient(Address("a", "b"), frozenset()), "b", NOW, 3, Delayed(status), True),
            QueuedRecipient("m1", 1, Recipient(Address("c", "b")), "b", NOW, 1, Failed(status), False, True),
        ]
        await spool.add(message, recipients)
        assert list(await spool.messages()) == [(message, recipients)]

    @spool_promise
    async def test_a_message_has_recipients(self, spool: ISpool) -> None:
        message = QueuedMessage(Envelope(None, Peer(""), "m1"), await put_blob(spool), 99)
        one = QueuedRecipient("m1", 0, Recipient(Address("a", "b")), "b", NOW)
        for wrong in ([], [one, one], [QueuedRecipient("m2", 0, one.recipient, "b", NOW)]):
            with pytest.raises(ValueError, match="recipients"):
                await spool.add(message, wrong)
        assert not await spool.messages()
