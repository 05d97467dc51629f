"""Submission: what is made right, and what is sent back (RFC 6409)."""

from __future__ import annotations

import pytest
from delivery_world import JOE, House

from twisted_mail_kit.errors import Refused
from twisted_mail_kit.mail.headers import Headers
from twisted_mail_kit.mail.structure import Scanner
from twisted_mail_kit.mail.summary import pack

WHOLE = b"From: joe@ours.example\r\nDate: Mon, 23 Nov 2026 07:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"


async def stored(octets: bytes, **settings: object) -> bytes:
    house = House(**settings)  # type: ignore[arg-type]
    await house.send("ann@ours.example", octets=octets, envelope=house.envelope(JOE, "joe@ours.example"))
    [(row, kept)] = await house.mail("ann@ours.example")
    scanner = Scanner()
    scanner.feed(kept)
    assert row.summary == pack(scanner.close())
    return kept


async def test_a_whole_message_is_left_alone() -> None:
    assert (await stored(WHOLE)).endswith(b"+0000\r\n" + WHOLE)


async def test_date_and_message_id_are_added() -> None:
    kept = await stored(b"From: Joe <joe@ours.example>\r\nSubject: x\r\n\r\nhello\r\n")
    headers = Headers(kept.partition(b"\r\n\r\n")[0] + b"\r\n")
    assert headers.get(b"Date") == b"Fri, 15 Jan 2027 08:00:00 +0000"
    assert (headers.get(b"Message-ID") or b"").endswith(b"@mx.ours.example>")
    assert kept.endswith(b"From: Joe <joe@ours.example>\r\nSubject: x\r\n\r\nhello\r\n")


async def test_bcc_is_left_out_and_nothing_else() -> None:
    octets = WHOLE.replace(b"Date:", b"Bcc: a@b,\r\n c@d\r\nDate:").replace(b"\r\n\r\n", b"\r\nBCC: e@f\r\n\r\n")
    assert (await stored(octets)).endswith(b"+0000\r\n" + WHOLE)
    assert (await stored(octets, drop_bcc=False)).endswith(octets)
    body = WHOLE + b"Bcc: in the body\r\n"
    assert (await stored(body)).endswith(body)


async def test_from_can_be_added_by_setting() -> None:
    octets = WHOLE.partition(b"\r\n")[2]
    assert b"\r\nFrom: joe@ours.example\r\n" in await stored(octets, missing_from="add")


@pytest.mark.parametrize(
    ("octets", "settings"),
    [
        (WHOLE.partition(b"\r\n")[2], {}),
        (b"From: nobody\r\n" + WHOLE.partition(b"\r\n")[2], {}),
        (b"From: eve@theirs.example\r\n" + WHOLE, {}),
        (b"Date: x\r\n" + WHOLE, {}),
        (WHOLE + b"x" * 999 + b"\r\n", {}),
        (WHOLE + b"\xc3\xbc\r\n", {"undeclared_8bit": "refuse"}),
        (b"From: joe@ours.example\r\nMessage-ID: <1@x>\r\n\r\n", {"add_date": False}),
        (b"From: joe@ours.example\r\nDate: x\r\n\r\n", {"add_message_id": False}),
    ],
)
async def test_what_cannot_be_sent_is_told(octets: bytes, settings: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        await stored(octets, **settings)
    assert refused.value.status.code.startswith("5.6.")


async def test_a_stranger_s_message_is_not_judged_so() -> None:
    house = House()
    assert await house.send("joe@ours.example", octets=b"Bcc: x@y\r\n\r\n" + b"x" * 2000)
    [(_, kept)] = await house.mail()
    assert kept.endswith(b"Bcc: x@y\r\n\r\n" + b"x" * 2000)
