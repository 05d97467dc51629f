"""A store at the other end of a line: owner and worker in one process, a real socket pair between them."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.python.reflect import namedAny

from twisted_mail_kit.interfaces import IMailStore
from twisted_mail_kit.workers.hatch import StoreHatch, abilities_of
from twisted_mail_kit.workers.line import Line
from twisted_mail_kit.workers.reading import NearStore
from twisted_mail_kit.workers.remote_store import RemoteStore
from twisted_mail_kit.workers.sockets import adopt_line


def pair(ours: Line, theirs: Line) -> None:
    """Put two lines on a socket pair."""
    for line, end in zip((ours, theirs), socket.socketpair(), strict=True):
        end.setblocking(False)
        adopt_line(reactor, end.fileno(), line)
        end.close()


class _Far:
    """Closing it closes the owner's too."""

    def __init__(self, inner: Any, *near: Any) -> None:
        self.inner: IMailStore = inner
        self.owners_line = Line(reactor, {})
        line = Line(reactor, {})
        pair(self.owners_line, line)
        self.hatch = StoreHatch(inner, self.owners_line)
        self.owners_line.verbs.update(self.hatch.verbs())
        self.owners_line.news.update(self.hatch.news())
        self.owners_line.when_lost = self.hatch.close
        super().__init__(line, abilities_of(inner), *near)

    async def close(self) -> None:
        await super().close()
        await self.inner.close()
        self.line.close()
        self.owners_line.close()


class FarStore(_Far, RemoteStore):
    """Everything is done at the other end."""


class HalfFarStore(_Far, NearStore):
    """Reads by itself."""

    def __init__(self, inner: Any) -> None:
        name, arguments = inner.read_elsewhere()
        super().__init__(inner, namedAny(name)(reactor, **arguments))
