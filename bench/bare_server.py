"""Our SMTP session and our store, with the least there can be between them: what the whole server is held against.

No MIME scan, no trace fields, no routing, no accounts, no checks, no delivery token and no log; the same octets into
the same store, as durable.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from zope.interface import implementer

from twisted_mail_kit.interfaces import (
    Add,
    Delivered,
    Envelope,
    IAccount,
    IDelivery,
    IMailStore,
    IReception,
    Outcome,
    Peer,
    Recipient,
)
from twisted_mail_kit.net.factory import ConnectionLimits
from twisted_mail_kit.smtp.factory import make_factory
from twisted_mail_kit.smtp.session import SMTPSession
from twisted_mail_kit.smtp.settings import SMTPSettings
from twisted_mail_kit.stores.sqlite import SQLiteStore

reactor: Any = the_reactor


class Silence:
    """In a Logger's place."""

    def info(self, *_: object, **__: object) -> None:
        """Nothing."""

    warn = error = debug = failure = info


@implementer(IReception)
class BareReception:
    """Every recipient is joe."""

    def __init__(self, store: IMailStore, account: IAccount, inbox: str) -> None:
        self.store = store
        self.account = account
        self.inbox = inbox

    async def connected(self, peer: Peer) -> None:
        pass

    async def greeted(self, peer: Peer) -> None:
        pass

    async def begin(self, envelope: Envelope) -> IDelivery:
        return BareDelivery(self)


@implementer(IDelivery)
class BareDelivery:
    def __init__(self, reception: BareReception) -> None:
        self.reception = reception
        self.octets: list[bytes] = []

    async def add_recipient(self, recipient: Recipient) -> None:
        pass

    async def write(self, octets: bytes) -> None:
        self.octets.append(octets)

    async def commit(self) -> Sequence[Outcome]:
        reception = self.reception
        writer = reception.account.new_blob()
        for octets in self.octets:
            await writer.write(octets)
        blob_id = await writer.commit()
        await reception.account.apply([Add(reception.inbox, blob_id, int(reactor.seconds()), b"")])
        return [Delivered()]

    async def abort(self) -> None:
        pass


async def start(folder: Path) -> None:
    store = SQLiteStore(folder / "store", reactor)
    account = await store.open_account("joe@example.org", create=True)
    (inbox,) = await account.mailboxes()
    limits = ConnectionLimits(per_address=100_000, per_listener=100_000, per_minute=100_000)
    settings = SMTPSettings(messages=1_000_000, connections=limits)
    reception = BareReception(store, account, inbox.id)
    factory = make_factory("smtp", "mx.example.org", reception, None, None, settings, reactor)
    port = reactor.listenTCP(0, factory, backlog=1024, interface="127.0.0.1")
    reactor.addSystemEventTrigger("after", "shutdown", lambda: Deferred.fromCoroutine(store.close()))
    print(port.getHost().port, flush=True)


def main() -> None:
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    SMTPSession.log = Silence()  # type: ignore[assignment]
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start(Path(sys.argv[1]))))
    reactor.run()


if __name__ == "__main__":
    main()
