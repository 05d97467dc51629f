"""The pipeline: what is put on top, what is checked, where it ends up."""

from __future__ import annotations

from pathlib import Path

import pytest
from delivery_world import JOE, LMTP, PLAIN, House, Outside

from twisted_mail_kit.checks import Check
from twisted_mail_kit.errors import Refused, TryLater, Unavailable
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Recipient
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.operations import CreateMailbox
from twisted_mail_kit.mail.outcome import Delivered, Failed, Status
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import pack


def summary_of(octets: bytes) -> bytes:
    scanner = Scanner()
    scanner.feed(octets)
    return pack(scanner.close())


class Signs(Check):
    name = "signs"
    fields = b"Authentication-Results: mx.ours.example; none\r\n"

    async def message(self, envelope, recipients, message):  # type: ignore[no-untyped-def]
        self.seen = (message.size, message.headers.get(b"subject"), await message.read(0, message.size + 9))
        return self.fields


async def test_a_message_is_kept_as_it_came_below_our_fields() -> None:
    house = House()
    for chop in (0, 1):
        assert await house.send("joe@ours.example", chop=chop) == [Delivered()]
    for row, octets in await house.mail():
        top, received, rest = octets.partition(b"Received: ")
        assert top == b"Return-Path: <ann@theirs.example>\r\nDelivered-To: joe@ours.example\r\n"
        assert (received + rest).endswith(PLAIN)
        assert b"for <joe@ours.example>" in octets
        assert b"from mx.example.net ([192.0.2.7])" in octets
        assert row.size == len(octets)
        assert row.summary == summary_of(octets)
        assert row.internal_date == int(house.clock.seconds())
    assert len(await house.mail()) == 2


async def test_several_recipients_share_a_blob_and_do_not_learn_of_each_other() -> None:
    house = House()
    assert await house.send("joe@ours.example", "ann@ours.example") == [Delivered(), Delivered()]
    [(mine, octets)], [(hers, _)] = await house.mail(), await house.mail("ann@ours.example")
    assert mine.blob_id == hers.blob_id
    for word in (b" for <", b"Delivered-To", b"joe", b"ann@ours"):
        assert word not in octets.partition(b"\r\nFrom:")[0]


async def test_two_addresses_of_one_account_get_one_copy() -> None:
    house = House(aliases={"info": ["joe"]})
    assert len(await house.send("joe@ours.example", "info@ours.example")) == 2
    assert len(await house.mail()) == 1


async def test_a_first_line_that_begins_with_space_stays_out_of_our_header() -> None:
    house = House()
    await house.send("joe@ours.example", octets=b" evil\r\nX: y\r\n\r\nbody\r\n")
    [(row, octets)] = await house.mail()
    assert Headers(octets.partition(b"\r\n\r\n")[0]).fields[-1].name == b"Received"
    assert octets.endswith(b"\r\n\r\n evil\r\nX: y\r\n\r\nbody\r\n")
    assert row.summary == summary_of(octets)


@pytest.mark.parametrize("octets", [b"", b"\r\n", b"no header at all\r\n"])
async def test_odd_messages_are_taken(octets: bytes) -> None:
    house = House()
    assert await house.send("joe@ours.example", octets=octets) == [Delivered()]
    [(row, stored)] = await house.mail()
    assert stored.endswith(octets)
    assert row.summary == summary_of(stored)


async def test_thirty_hops_are_a_loop() -> None:
    house = House()
    assert await house.send("joe@ours.example", octets=b"Received: x\r\n" * 29 + PLAIN)
    with pytest.raises(Refused) as refused:
        await house.send("joe@ours.example", octets=b"Received: x\r\n" * 30 + PLAIN)
    assert refused.value.status.code == "5.4.6"


async def test_what_was_delivered_here_already_is_a_loop() -> None:
    house = House()
    octets = b"Delivered-To: Joe@ours.example\r\n" + PLAIN
    with pytest.raises(Refused):
        await house.send("joe@ours.example", octets=octets)
    outcomes = await house.send("joe@ours.example", "ann@ours.example", octets=octets, envelope=house.envelope(LMTP))
    assert [type(one) for one in outcomes] == [Failed, Delivered]


@pytest.mark.parametrize("octets", [b"X: y\r\n" * 1001 + b"\r\n", b"X: " + b"y" * 300_000 + b"\r\n\r\n"])
async def test_a_header_too_large_is_refused(octets: bytes) -> None:
    with pytest.raises(Refused) as refused:
        await House().send("joe@ours.example", octets=octets)
    assert refused.value.status.reply == 552


async def test_fields_of_checks_come_on_top_and_the_summary_fits() -> None:
    check = Signs()
    house = House(checks=[check])
    await house.send("joe@ours.example")
    [(row, octets)] = await house.mail()
    assert b"Delivered-To: joe@ours.example\r\nAuthentication-Results: mx.ours.example; none\r\nReceived:" in octets
    assert row.summary == summary_of(octets)
    assert check.seen == (len(PLAIN), b"hello", PLAIN)


@pytest.mark.parametrize("fields", [b"X: y", b"X: y\n", b"X: y\r\n\r\n", b"no field\r\n", b"X: a\rb\r\n"])
async def test_a_check_cannot_break_the_header(fields: bytes) -> None:
    check = Signs()
    check.fields = fields
    house = House(checks=[check])
    with pytest.raises(Unavailable):
        await house.send("joe@ours.example")
    assert await house.mail() == []


async def test_each_step_asks_the_checks() -> None:
    asked: list[str] = []

    class Nosy(Check):
        async def connected(self, peer):  # type: ignore[no-untyped-def]
            asked.append("connected")

        async def greeted(self, peer):  # type: ignore[no-untyped-def]
            asked.append("greeted")

        async def sender(self, envelope):  # type: ignore[no-untyped-def]
            asked.append("sender")

        async def recipient(self, envelope, recipient, destination):  # type: ignore[no-untyped-def]
            asked.append(destination.account)
            raise TryLater(Status("4.7.1", "greylisted", 450))

    house = House(checks=[Nosy()])
    await house.pipeline.connected(JOE)
    await house.pipeline.greeted(JOE)
    with pytest.raises(TryLater):
        await house.send("joe@ours.example")
    assert asked == ["connected", "greeted", "sender", "joe@ours.example"]


async def test_what_goes_out_has_no_return_path_and_says_what_it_is() -> None:
    outside = Outside()
    house = House(outbound=outside)
    octets = b"From: joe@ours.example\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    envelope = house.envelope(JOE, "joe@ours.example")
    assert await house.send("bob@theirs.example", octets=octets, envelope=envelope) == [Delivered()]
    [(sent, recipients, out)] = outside.sent
    assert sent.body == "8BITMIME"
    assert recipients == ["bob@theirs.example"]
    assert out.startswith(b"Received: from laptop ")
    assert b"with ESMTPSA" in out
    assert b"Return-Path" not in out


async def test_a_large_message_goes_to_the_spool_and_leaves_nothing_there(tmp_path: Path) -> None:
    from twisted.internet import reactor

    house = House(spool=tmp_path, reactor=reactor, memory=1000, memory_shared=0)
    octets = PLAIN + b"0123456789abcdef" * 100_000
    await house.send("joe@ours.example", octets=octets, chop=65_000)
    [(row, stored)] = await house.mail()
    assert stored.endswith(octets)
    assert row.summary == summary_of(stored)
    assert list(tmp_path.iterdir()) == []


async def test_a_spool_without_room_says_try_later(tmp_path: Path) -> None:
    house = House(spool=tmp_path / "gone", memory=10, memory_shared=0)
    with pytest.raises(Unavailable):
        await house.send("joe@ours.example")


async def test_abort_may_be_said_at_any_time() -> None:
    house = House()
    delivery = await house.pipeline.begin(house.envelope())
    await delivery.abort()
    await delivery.add_recipient(Recipient(parse_address("joe@ours.example")))
    await delivery.write(PLAIN)
    await delivery.abort()
    await delivery.abort()
    assert await house.mail() == []


async def test_mail_for_a_folder_goes_there_where_it_is_set_and_exists() -> None:
    house = House(detail_folders=True)
    account = await house.store.open_account("joe@ours.example", create=True)
    await account.apply([CreateMailbox(("Lists",)), CreateMailbox(("Sent",), "sent")])
    for address in ("joe+lists@ours.example", "joe+other@ours.example", "joe+sent@ours.example"):
        await house.send(address)
    assert len(await house.mail(folder="Lists")) == 1
    assert len(await house.mail()) == 2
    assert await house.mail(folder="Sent") == []
