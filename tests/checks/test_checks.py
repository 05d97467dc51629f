"""The bundled checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.checks import Check
from twisted_mail_kit.checks.low_disk import LowDisk
from twisted_mail_kit.checks.sender_identity import SenderIdentity
from twisted_mail_kit.checks.settings import SenderIdentitySettings
from twisted_mail_kit.errors import Refused, TryLater
from twisted_mail_kit.interfaces import ICheck
from twisted_mail_kit.mail.address import parse_address
from twisted_mail_kit.mail.envelope import Envelope, Peer, Recipient
from twisted_mail_kit.mail.headers import Headers


def envelope(sender: str | None, login: str = "", host: str = "192.0.2.1") -> Envelope:
    return Envelope(parse_address(sender) if sender else None, Peer(host=host, login=login), "trace")


async def test_a_check_that_asks_nothing_lets_all_pass() -> None:
    check = Check()
    assert verifyObject(ICheck, check)
    assert await check.message(envelope(None), [], None) is None  # type: ignore[arg-type]


async def test_no_mail_is_taken_while_the_disk_is_nearly_full_and_then_it_is_again() -> None:
    clock, disk = Clock(), SimpleNamespace(f_bavail=4, f_blocks=100)
    asked: list[Path] = []

    def statvfs(path: Path) -> Any:
        asked.append(path)
        return disk

    check = LowDisk(Path("/somewhere"), clock, statvfs=statvfs)
    with pytest.raises(TryLater) as later:
        await check.sender(envelope(None))
    assert (later.value.status.reply, later.value.status.code) == (452, "4.3.1")
    disk.f_bavail = 5
    with pytest.raises(TryLater):
        await check.sender(envelope(None))
    clock.advance(5)
    await check.sender(envelope(None))
    assert len(asked) == 2


async def test_a_disk_that_cannot_be_asked_is_not_full() -> None:
    await LowDisk(Path("/nowhere/at/all"), Clock()).sender(envelope(None))


ACCOUNTS = Directory(["ours.example"], {"joe@ours.example", "ann@ours.example"}, {"sales": ["joe", "ann"]})


async def header_ok(fields: bytes, login: str = "joe@ours.example", **settings: bool) -> bool:
    check = SenderIdentity(ACCOUNTS, SenderIdentitySettings(**settings))
    message: Any = SimpleNamespace(headers=Headers(fields))
    recipients: Sequence[Recipient] = ()
    try:
        return await check.message(envelope(None, login), recipients, message) is None
    except Refused as refused:
        assert refused.status.reply == 553
        return False


@pytest.mark.parametrize("sender", ["joe@ours.example", "JOE@ours.example", "joe+x@ours.example", "sales@ours.example"])
async def test_addresses_of_the_login_may_be_used(sender: str) -> None:
    await SenderIdentity(ACCOUNTS).sender(envelope(sender, "joe@ours.example"))
    assert await header_ok(f"From: Joe <{sender}>\r\n".encode())


@pytest.mark.parametrize(
    "sender", ["ann@ours.example", "joe@theirs.example", "nobody@ours.example", '"joe@ours.example"@theirs.example']
)
async def test_others_may_not(sender: str) -> None:
    with pytest.raises(Refused):
        await SenderIdentity(ACCOUNTS).sender(envelope(sender, "joe@ours.example"))
    assert not await header_ok(b"From: <" + sender.encode() + b">\r\n")
    assert not await header_ok(b"From: joe@ours.example, " + sender.encode() + b"\r\n")
    assert not await header_ok(b"From: joe@ours.example\r\nSender: " + sender.encode() + b"\r\n")
    assert not await header_ok(b"From: joe@ours.example\r\nFrom: " + sender.encode() + b"\r\n")


async def test_the_null_path_and_strangers_and_settings() -> None:
    await SenderIdentity(ACCOUNTS).sender(envelope(None, "joe@ours.example"))
    await SenderIdentity(ACCOUNTS).sender(envelope("ann@ours.example", ""))
    assert await header_ok(b"From: ann@ours.example\r\n", login="")
    assert await header_ok(b"From: ann@ours.example\r\n", header=False)
    off = SenderIdentity(ACCOUNTS, SenderIdentitySettings(return_path=False))
    await off.sender(envelope("ann@ours.example", "joe@ours.example"))
