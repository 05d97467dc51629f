"""From a client's MAIL to a message in a store, through the real pipeline."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mail_kit.delivery.local import LocalDelivery
from twisted_mail_kit.delivery.pipeline import Pipeline
from twisted_mail_kit.delivery.routing import Router
from twisted_mail_kit.interfaces import Destination, IAccounts
from twisted_mail_kit.mail.address import Address
from twisted_mail_kit.mail.destination import Local
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.fakes import MemoryTransport


@implementer(IAccounts)
class OnlyJoe:
    async def lookup(self, address: Address) -> Destination | None:
        return Local("joe") if address.local == "joe" else None

    async def may_send_as(self, account: str, sender: Address) -> bool:
        return True


async def test_what_was_sent_is_in_the_inbox_when_250_is_said() -> None:
    store = MemoryStore()
    account = await store.open_account("joe", create=True)
    pipeline = Pipeline(
        hostname="mx.example.org",
        router=Router(["example.org"], OnlyJoe()),
        local=LocalDelivery(store, reactor, accounts=OnlyJoe()),
        reactor=reactor,
    )
    factory = make_factory("smtp", "mx.example.org", pipeline, None, None, SMTPSettings(), reactor)
    transport = MemoryTransport("192.0.2.7")
    session = factory.buildProtocol(transport.peer)
    transport.connect(session)

    async def says(octets: bytes) -> list[bytes]:
        transport.send(octets)
        heard = b""
        for _ in range(200):
            heard += transport.take()
            if heard.endswith(b"\r\n") and session.inbox._waiting is not None:
                break
            await deferLater(reactor, 0.01, lambda: None)
        return [line[:9] for line in heard.splitlines()]

    await says(b"EHLO client.example.net\r\n")
    body = b"From: ann@example.net\r\nSubject: dots\r\n\r\n.\r\n" + b"0123456789" * 20_000 + b"\r\n"
    told = await says(
        b"MAIL FROM:<ann@example.net>\r\nRCPT TO:<joe@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
        b"RCPT TO:<stranger@example.com>\r\nRCPT TO:<stranger%example.com@example.org>\r\nDATA\r\n"
    )
    assert [line[:4] for line in told] == [b"250 ", b"250 ", b"550 ", b"550 ", b"550 ", b"354 "]
    assert await says(body.replace(b"\r\n.", b"\r\n..") + b".\r\n") == [b"250 2.0.0"]
    (inbox,) = [mailbox for mailbox in await account.mailboxes() if mailbox.role == "inbox"]
    (message,) = await account.messages(inbox.id)
    octets = await account.read_blob(message.blob_id, 0, message.size)
    assert octets.endswith(body)
    assert octets.startswith(b"Return-Path: <ann@example.net>\r\n")
    assert octets.count(b"Received: from client.example.net") == 1
    transport.drop()
    transport.turn()
