"""The bundled checks keep every promise of a check."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor

from twisted_mail_kit.accounts.directory import Directory
from twisted_mail_kit.checks import Check
from twisted_mail_kit.checks.low_disk import LowDisk
from twisted_mail_kit.checks.sender_identity import SenderIdentity
from twisted_mail_kit.checks.settings import LowDiskSettings
from twisted_mail_kit.testing.contracts import check_contract

ANYTHING = b"From: whoever\r\n\r\nHello.\r\n"


def low_disk(directory: Path) -> LowDisk:
    return LowDisk(directory, reactor, LowDiskSettings(min_free=0))


def full_disk(directory: Path) -> LowDisk:
    return LowDisk(directory, reactor, LowDiskSettings(min_free=100))


def lost_disk(directory: Path) -> LowDisk:
    return LowDisk(directory / "gone", reactor)


def sender_identity(directory: Path) -> SenderIdentity:
    return SenderIdentity(Directory(["example.org"], ["joe", "ann"]))


TestCheck = check_contract(lambda directory: Check(), ANYTHING)
TestLowDisk = check_contract(low_disk, ANYTHING, make_broken=lost_disk)
TestFullDisk = check_contract(full_disk, refuses=ANYTHING)
TestSenderIdentity = check_contract(sender_identity, ANYTHING)
