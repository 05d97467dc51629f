"""Octets coming in: kept as content, scanned as they pass."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from twisted_mail_kit.delivery.aside import aside
from twisted_mail_kit.delivery.settings import DeliverySettings
from twisted_mail_kit.errors import TryLater, Unavailable
from twisted_mail_kit.mail.content import Assembled, Content, Room
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.mail.part import Outline
from twisted_mail_kit.mail.scan import outline_of, scan_whole
from twisted_mail_kit.mail.structure import ScanLimits, Scanner, Structure

AT_ONCE = 1 << 20
"""Octets of a message that is scanned when it is whole, where it lies in memory: the reactor is held for two ms. What
is larger is scanned as it passes, in one and a half times as long."""

NO_SPACE = Status("4.3.1", "Insufficient system storage", 452)


class Intake:
    """A message on its way in, below the fields that we put on top of it.

    Those are known before the first octet arrives, so they are scanned first and the message after them: the offsets
    of the structure are those of what will be stored, in one pass.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, top: bytes, spool: Path | None, settings: DeliverySettings, room: Room | None = None
    ) -> None:
        self.top = top
        self.content = Content(spool, settings.memory, room=room)
        self._reactor = reactor
        self._limits = settings.scan_limits()
        self._scanner: Scanner | None = None
        """For what is large: it is scanned as it passes, everything else when it is whole."""

    async def write(self, octets: bytes) -> None:
        """The next octets. Raises TryLater where the disk is full, Unavailable where it fails."""
        content = self.content
        if not content.size and octets[:1] in (b" ", b"\t"):
            # Else the first line would be taken for the rest of our own last field.
            self.top += b"\r\n"
        content.write(octets)
        if self._scanner is not None:
            self._scanner.feed(octets)
        elif content.size > AT_ONCE or content.is_large:
            self._scanner = Scanner(self._limits)
            self._scanner.feed(self.top)
            self._scanner.feed(content.read(0, content.size))
        if content.is_due:
            try:
                await aside(self._reactor, content.flush)
            except OSError as problem:
                self.log.error("the spool directory takes no more: {problem}", problem=problem)
                if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise TryLater(NO_SPACE) from problem
                raise Unavailable("the spool directory fails") from problem

    def close(self) -> Structure:
        """The structure of `top` and the content together."""
        if self._scanner is not None:
            return self._scanner.close()
        return scan_whole(self.top + self.content.read(0, self.content.size), self._limits)

    def outline(self) -> Outline | Structure:
        """Of `top` and the content together, where the message is only sent on."""
        if self._scanner is None:
            outline = outline_of(self.top + self.content.read(0, self.content.size), self._limits)
            if outline is not None:
                return outline
        return self.close()


async def scan(reactor: Any, message: Assembled, limits: ScanLimits) -> Structure:
    """Scan a message anew; aside, when it is large."""

    def work() -> Structure:
        scanner = Scanner(limits)
        for octets in message.chunks():
            scanner.feed(octets)
        return scanner.close()

    return await aside(reactor, work) if message.content.is_large else work()
