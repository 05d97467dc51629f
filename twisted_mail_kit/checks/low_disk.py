"""Takes no mail while the disk is nearly full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_mail_kit.checks import Check
from twisted_mail_kit.checks.settings import LowDiskSettings
from twisted_mail_kit.errors import TryLater
from twisted_mail_kit.mail.envelope import Envelope
from twisted_mail_kit.mail.outcome import Status
from twisted_mail_kit.metrics import limits

NO_SPACE = Status("4.3.1", "Insufficient system storage", 452)


class LowDisk(Check):
    """Asks at MAIL, before a message could take room. What is stored already stays readable, and when there is room
    again mail is taken again, without a restart."""

    log = Logger()
    name = "low-disk"

    def __init__(
        self,
        path: Path,
        clock: IReactorTime,
        settings: LowDiskSettings | None = None,
        statvfs: Callable[[Path], Any] = os.statvfs,
    ) -> None:
        self.path = path
        self.settings = settings or LowDiskSettings()
        self._clock = clock
        self._statvfs = statvfs
        self._asked: float | None = None
        self._is_low = False

    async def sender(self, envelope: Envelope) -> None:
        """Raises TryLater: 452 4.3.1."""
        if self.is_low():
            raise TryLater(NO_SPACE)

    def is_low(self) -> bool:
        """Less than `min_free` percent of the disk is free."""
        now = self._clock.seconds()
        if self._asked is None or now - self._asked >= self.settings.every:
            self._asked = now
            self._look()
        return self._is_low

    def _look(self) -> None:
        try:
            disk = self._statvfs(self.path)
        except OSError as problem:
            self.log.error("cannot ask how full the disk of {path} is: {problem}", path=self.path, problem=problem)
            return
        free = 100.0 * disk.f_bavail / disk.f_blocks if disk.f_blocks else 100.0
        is_low = free < self.settings.min_free
        if is_low != self._is_low:
            self._is_low = is_low
            word = "no mail is taken" if is_low else "mail is taken again"
            self.log.warn("{free:.1f} % of the disk of {path} free: {word}", free=free, path=self.path, word=word)
            limits.LOW_DISK.value += is_low
