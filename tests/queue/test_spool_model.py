"""Whatever is done, in whatever order, the bundled spool does as the reference does; and codec's words come back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor

from twisted_mail_kit.interfaces import ISpool
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.outcome import Delayed, Delivered, Failed, Status
from twisted_mail_kit.mail.queued import Lease, QueuedMessage, QueuedRecipient, Settled
from twisted_mail_kit.queue.codec import (
    Unreadable,
    decode_envelope,
    decode_outcome,
    decode_recipient,
    encode_envelope,
    encode_outcome,
    encode_recipient,
)
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.queue.sqlite import SQLiteSpool
from twisted_mail_kit.testing.contracts.spool_bench import LATER, envelope, put_blob

STEPS = 150


class Both:
    """Two spools to which the same is done, and which have to say the same."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = MemorySpool()
        self.sqlite = SQLiteSpool(root, reactor)

    async def start_again(self) -> None:
        await self.sqlite.close()
        self.memory, self.sqlite = self.memory.reopened(), SQLiteSpool(self.root, reactor)

    async def add(self, message_id: str, recipients: list[QueuedRecipient], owner: str, until: float) -> None:
        for spool in (self.memory, self.sqlite):
            message = QueuedMessage(envelope(message_id), await put_blob(spool), 17)
            await spool.add(message, recipients, owner, until)

    async def lease(self, owner: str, now: float, limit: int, busy: list[str]) -> list[Lease]:
        one = await self.memory.lease(owner, now, now + 5, limit, busy)
        two = await self.sqlite.lease(owner, now, now + 5, limit, busy)
        assert [_told(lease) for lease in one] == [_told(lease) for lease in two]
        return list(one)

    async def same(self, action: str, *values: object) -> None:
        assert await getattr(self.memory, action)(*values) == await getattr(self.sqlite, action)(*values)

    async def check(self) -> None:
        assert await self.memory.next_due() == await self.sqlite.next_due()
        assert await _listed(self.memory) == await _listed(self.sqlite)


def _told(lease: Lease) -> object:
    return lease.message.envelope, lease.recipients, lease.owner, lease.until


async def _listed(spool: ISpool) -> object:
    return [(message.envelope, recipients) for message, recipients in await spool.messages(limit=1000)]


@pytest.mark.parametrize("seed", range(3))
async def test_the_bundled_spool_does_as_the_reference_does(tmp_path: Path, seed: int) -> None:
    choice, both = random.Random(seed), Both(tmp_path / "queue")
    now, count, taken = 0.0, 0, []
    for _ in range(STEPS):
        now += choice.choice([0, 0, 1, 2])
        some = f"m{choice.randint(0, max(count, 1)):03}"
        owner = choice.choice(["one", "two"])
        numbers = choice.choice([None, [0], [0, 1], [2]])
        what = choice.randint(0, 13)
        if what <= 3:
            count += 1
            recipients = [
                QueuedRecipient(
                    f"m{count:03}", number, Recipient(Address(f"r{number}", "x")), choice.choice("abcde"),
                    now + choice.choice([0, 0, 3]), is_held=not choice.randint(0, 9),
                )
                for number in range(choice.randint(1, 4))
            ]  # fmt: skip
            await both.add(f"m{count:03}", recipients, choice.choice(["", "", owner]), now + 4)
        elif what <= 6:
            busy = choice.sample("abcde", choice.choice([0, 0, 1, 3]))
            taken += await both.lease(owner, now, choice.choice([1, 2, 10]), busy)
        elif what <= 9 and taken:
            lease = taken.pop(choice.randrange(len(taken)))
            settled = [
                Settled(recipient, *choice.choice([(Delivered(), None), (LATER, now + 2)]), delay_told=bool(number))
                for number, recipient in enumerate(lease.recipients)
            ]
            await both.same("settle", settled)
        elif what == 10:
            await both.same("renew", owner, now + 3)
        elif what == 11:
            await both.same(
                "change", some, choice.choice([None, now, now + 4]), choice.choice([None, True, False]), numbers
            )
        elif what == 12:
            await both.same("remove", some, numbers)
        elif not choice.randint(0, 3):
            await both.start_again()
        await both.check()
    assert count > 20
    await both.sqlite.close()


# --- the codec -------------------------------------------------------------------------------------------------------

words = st.text(max_size=20)
addresses = st.builds(Address, words, words)
peers = st.builds(
    Peer, words, st.integers(), words, st.integers(), words, words, st.booleans(), words, words, st.booleans()
)
envelopes = st.builds(
    Envelope, st.none() | addresses, peers, words, words, st.booleans(), st.none() | st.integers(), words, words, words,
    st.booleans(), st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
recipients = st.builds(Recipient, addresses, st.none() | st.frozensets(words, max_size=4), words)
statuses = st.builds(Status, words, words, st.integers(0, 999), words)
outcomes = st.none() | st.one_of(*(st.builds(kind, statuses) for kind in (Delivered, Delayed, Failed)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["v", "to", "peer", "host", "sender"]), inner)
    ),
    max_leaves=8,
)


@given(envelopes, recipients, outcomes)
@settings(max_examples=150, deadline=None)
def test_what_is_written_down_is_read_again(one: Envelope, recipient: Recipient, outcome: object) -> None:
    text = encode_envelope(one)
    assert text.isascii() and "\n" not in text
    read = decode_envelope(text, one.trace_id)
    assert read == one and read.received_at == one.received_at
    assert decode_recipient(encode_recipient(recipient)) == recipient
    assert decode_outcome(encode_outcome(outcome)) == outcome  # type: ignore[arg-type]


@given(st.text() | st.binary() | json_values.map(__import__("json").dumps))
@settings(max_examples=200, deadline=None)
def test_nonsense_is_unreadable_and_nothing_worse(text: object) -> None:
    for decode in (lambda octets: decode_envelope(octets, "m1"), decode_recipient, decode_outcome):
        try:
            decode(text)
        except Unreadable:
            pass


def test_what_is_as_usual_takes_no_room() -> None:
    assert encode_envelope(Envelope(None, Peer("::1"), "m1")) == '{"v":1,"sender":null,"peer":{"host":"::1"}}'
    assert encode_recipient(Recipient(Address("a", "b"))) == '{"v":1,"to":["a","b"]}'


def test_what_a_newer_program_wrote_is_refused() -> None:
    for decode in (lambda text: decode_envelope(text, "m1"), decode_recipient):
        with pytest.raises(Unreadable, match="version 2 is newer"):
            decode('{"v":2,"sender":null,"peer":{"host":""},"to":["a","b"]}')
    with pytest.raises(Unreadable, match="version 2 is newer"):
        decode_outcome('[2,"+","","",0,""]')
