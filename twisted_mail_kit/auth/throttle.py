"""How long a failed login has to wait for its answer."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

from twisted_mail_kit.auth.settings import LoginSettings
from twisted_mail_kit.net.shared import Shared


class Throttle:
    """Counts failures by source and by account, in tables of bounded size that forget.

    Both kinds of count are kept for names that nobody has too, so the delay tells nothing of who exists. A login that
    is right never waits: whoever guesses at an account from elsewhere does not lock its owner out.
    """

    def __init__(self, clock: IReactorTime, settings: LoginSettings, shared: Shared | None = None) -> None:
        self._clock = clock
        self._shared = shared or Shared(clock)
        self._shared.hear("failed login", self._count)
        self._settings = settings
        self._failures: tuple[_Table, _Table] = (
            OrderedDict(),
            OrderedDict(),
        )

    def is_busy(self, source: str) -> bool:
        """So many failures from there wait for their answers that no more are heard."""
        return bool(source) and self._shared.now(("failing", source)) >= self._settings.failing_at_once

    def failed(self, source: str, account: str) -> float:
        """Note a failure; the seconds that its answer has to wait."""
        self._shared.tell("failed login", source, account)
        count = self._count(source, account)
        return min(self._settings.longest_delay, self._settings.first_delay * 2.0 ** min(count - 1, 30))

    def begin_wait(self, source: str) -> None:
        """A failure of this source waits now."""
        self._shared.add(("failing", source))

    def end_wait(self, source: str) -> None:
        """It got its answer."""
        self._shared.add(("failing", source), -1)

    def _count(self, source: str, account: str) -> int:
        by_source, by_account = self._failures
        count = self._note(by_account, account)
        return max(count, self._note(by_source, source)) if source else count

    def _note(self, table: _Table, key: str) -> int:
        now = self._clock.seconds()
        count, when = table.pop(key, (0, now))
        if now - when >= self._settings.forget:
            count = 0
        table[key] = count + 1, now
        if len(table) > self._settings.remembered:
            table.popitem(last=False)
        return count + 1


_Table = OrderedDict[str, tuple[int, float]]
