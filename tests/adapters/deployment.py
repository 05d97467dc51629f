"""What an application that was built on twisted.mail has: real parts of it, and a delivery like its tutorial's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess
from twisted.internet.defer import Deferred, succeed
from twisted.mail.interfaces import IMailboxPOP3, IMessageDelivery, IMessageDeliveryFactory, IMessageSMTP
from twisted.mail.mail import FileMessage, MailService
from twisted.mail.maildir import MaildirDirdbmDomain, MaildirMailbox, _generateMaildirName, initializeMaildir
from twisted.mail.smtp import SMTPBadRcpt, SMTPBadSender
from zope.interface import implementer


@implementer(IMessageSMTP)
class Printed:
    """The tutorial's ConsoleMessage: keeps its lines."""

    def __init__(self, office: PostOffice, recipient: str) -> None:
        self.office = office
        self.recipient = recipient
        self.lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self.lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        self.office.printed.append(self)
        return self.office.end(self)

    def connectionLost(self) -> None:
        self.office.lost.append(self)


@implementer(IMessageDelivery)
class PrintDelivery:
    """The tutorial's ConsoleMessageDelivery: one user, and no mail from spammers."""

    def __init__(self, office: PostOffice) -> None:
        self.office = office

    def receivedHeader(self, helo: tuple[bytes, bytes], origin: Any, recipients: list[Any]) -> bytes:
        self.office.asked.append(("receivedHeader", helo, str(origin), [str(one) for one in recipients]))
        return b"Received: ConsoleMessageDelivery"

    def validateFrom(self, helo: tuple[bytes, bytes], origin: Any) -> Any:
        self.office.asked.append(("validateFrom", helo, str(origin)))
        if origin.domain == b"spam.example":
            raise SMTPBadSender(origin, 553, "No spam today")
        return origin

    def validateTo(self, user: Any) -> Any:
        self.office.asked.append(
            ("validateTo", str(user.dest), getattr(user.protocol.transport.getPeer(), "host", "unix"))
        )
        if user.dest.local not in self.office.users:
            raise SMTPBadRcpt(user)
        return lambda: Printed(self.office, user.dest.local.decode())


@implementer(IMessageDeliveryFactory)
class PostOffice:
    """Makes a delivery for each message, and keeps what they did."""

    delivery = PrintDelivery

    def __init__(self, *users: str) -> None:
        self.users = {user.encode() for user in users}
        self.asked: list[tuple[Any, ...]] = []
        self.printed: list[Printed] = []
        self.lost: list[Printed] = []
        self.made = 0

    def getMessageDelivery(self) -> PrintDelivery:
        self.made += 1
        return self.delivery(self)

    def end(self, message: Printed) -> Deferred[None]:
        return succeed(None)


class Maildir(MaildirMailbox):
    """A MaildirMailbox whose deletions work: those of Twisted 26.10 join octets and text, and raise TypeError."""

    def deleteMessage(self, i: int) -> None:
        name = self.list[i]
        if not name:
            raise ValueError(i)
        file = Path(os.fsdecode(name))
        self.deleted[name] = file.rename(file.parents[1] / ".Trash" / "cur" / file.name)
        self.list[i] = 0

    def sync(self) -> None:
        for trash in self.deleted.values():
            trash.unlink()
        self.deleted.clear()


class MaildirDomain(MaildirDirdbmDomain):
    """A MaildirDirdbmDomain that can take messages: Twisted 26.10's own joins octets and text, and raises TypeError."""

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
        _, mailbox, logout = super().requestAvatar(avatarId, mind, *interfaces)
        return IMailboxPOP3, Maildir(mailbox.path), logout

    def startMessage(self, user: Any) -> FileMessage:
        folder = Path(os.fsdecode(self.userDirectory(user.dest.local)))
        name = os.fsdecode(_generateMaildirName())
        temporary = folder / "tmp" / name
        return _Kept(temporary.open("wb"), temporary, folder / "new" / name)


@implementer(IMessageSMTP)
class _Kept(FileMessage):
    pass


def mail_service(folder: Path, **users: str) -> MailService:
    """twisted.mail's own service with one maildir domain, example.org; strangers may send to it."""
    service = MailService()
    domain = MaildirDomain(service, os.fsencode(folder))
    for user, password in users.items():
        domain.addUser(user.encode(), password.encode())
    service.addDomain(b"example.org", domain)
    service.smtpPortal.registerChecker(AllowAnonymousAccess())
    return service


def fill_maildir(folder: Path, *messages: bytes) -> bytes:
    """A maildir with these messages, in this order; its path as twisted.mail wants it."""
    path = os.fsencode(folder)
    initializeMaildir(path)
    for at, octets in enumerate(messages):
        (folder / "new" / f"10000000{at:02}.M1P1Q{at}.host").write_bytes(octets)
    return path
