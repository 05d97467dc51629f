"""A peer as a program: twisted.mail's ESMTP, keeping each message in a maildir, synced before the 250."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import ServerFactory
from twisted.internet.threads import deferToThread
from twisted.mail.smtp import ESMTP, IMessage, IMessageDelivery
from zope.interface import implementer

from bench.maildir import THREADS, DurableMaildir

reactor: Any = the_reactor


@implementer(IMessage)
class Message:
    def __init__(self, folder: DurableMaildir) -> None:
        self.folder = folder
        self.lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self.lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        self.lines.append(b"")
        if THREADS:  # the file system shares syncs among those who wait
            return deferToThread(self.folder.keep, b"\r\n".join(self.lines))
        return maybeDeferred(self.folder.keep, b"\r\n".join(self.lines))

    def connectionLost(self) -> None:
        self.lines.clear()


@implementer(IMessageDelivery)
class Delivery:
    def __init__(self, folder: DurableMaildir) -> None:
        self.folder = folder

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b"Received: from %b by peer" % helo[0]

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        return origin

    def validateTo(self, user: Any) -> Any:
        return lambda: Message(self.folder)


def main() -> None:
    folder = DurableMaildir(Path(sys.argv[1]))
    factory = ServerFactory()

    def build(addr: object) -> ESMTP:
        protocol = ESMTP()
        protocol.factory, protocol.noisy, protocol.host = factory, False, b"peer"
        protocol.delivery = Delivery(folder)
        return protocol

    factory.buildProtocol = build  # type: ignore[method-assign]
    reactor.suggestThreadPoolSize(20)
    port = reactor.listenTCP(0, factory, backlog=1024, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
