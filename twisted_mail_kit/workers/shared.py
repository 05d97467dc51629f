"""What sessions know of each other, over all workers: they tell the owner, and it tells the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.net.shared import Shared
from twisted_mail_kit.net.turn import AtTurnsEnd
from twisted_mail_kit.workers.line import Line, News, Verb

Counted = Sequence[tuple[Hashable, int]]
Told = Sequence[tuple[str, tuple[Any, ...]]]


class WorkersShared(Shared):
    """A worker's end. What happens within one turn of the reactor travels in one frame."""

    def __init__(self, clock: Any, line: Line) -> None:
        super().__init__(clock)
        self._line = line
        self._added: Counter[Hashable] = Counter()
        self._noted: Counter[Hashable] = Counter()
        self._told: list[tuple[str, tuple[Any, ...]]] = []
        self._telling = AtTurnsEnd(line.clock, self._tell)
        line.news["counted"] = self._counted

    def add(self, what: Hashable, count: int = 1) -> None:
        """See Shared."""
        super().add(what, count)
        self._added[what] += count
        self._telling.soon()

    def note(self, what: Hashable, count: int = 1) -> int:
        """See Shared."""
        self._noted[what] += count
        self._telling.soon()
        return super().note(what, count)

    def tell(self, what: str, *facts: Hashable) -> None:
        """See Shared."""
        self._told.append((what, facts))
        self._telling.soon()

    async def hold(self, what: Hashable) -> bool:
        """See Shared."""
        try:
            held: bool = await self._line.ask("hold", what)
        except Unavailable:
            self._line.tell("let_go", what)  # it may have been ours, for all we know
            raise
        return held

    def let_go(self, what: Hashable) -> None:
        """See Shared."""
        self._line.tell("let_go", what)

    def _tell(self) -> None:
        added = [(what, count) for what, count in self._added.items() if count]
        self._line.tell("counted", added, list(self._noted.items()), self._told)
        self._added.clear()
        self._noted.clear()
        self._told = []

    def _counted(self, added: Counted, noted: Counted, told: Told) -> None:
        for what, count in added:
            super().add(what, count)
        for what, count in noted:
            super().note(what, count)
        for topic, facts in told:
            self.heard(topic, *facts)


class CrewsShared:
    """The owner's end: what each worker has counted and holds, passed on to the others, and put away when it dies."""

    def __init__(self) -> None:
        self._members: dict[Line, Counter[Hashable]] = {}
        self._held: dict[Hashable, Line] = {}

    def verbs(self, line: Line) -> dict[str, Verb]:
        """What a worker may ask."""

        async def hold(what: Hashable) -> bool:
            if what in self._held:
                return False
            self._held[what] = line
            return True

        return {"hold": hold}

    def news(self, line: Line) -> dict[str, News]:
        """What a worker may tell."""

        def counted(added: Counted, noted: Counted, told: Told) -> None:
            own = self._members.setdefault(line, Counter())
            for what, count in added:
                own[what] += count
                if not own[what]:
                    del own[what]
            self._pass_on(line, added, noted, told)

        def let_go(what: Hashable) -> None:
            if self._held.get(what) is line:
                del self._held[what]

        return {"counted": counted, "let_go": let_go}

    def join(self, line: Line) -> None:
        """A new worker: it is told what the others have."""
        self._members.setdefault(line, Counter())
        total: Counter[Hashable] = Counter()
        for other, own in self._members.items():
            if other is not line:
                total.update(own)
        line.tell("counted", list(total.items()), [], [])

    def leave(self, line: Line) -> None:
        """It is gone, and with it all that it had."""
        own = self._members.pop(line, Counter())
        self._held = {what: holder for what, holder in self._held.items() if holder is not line}
        self._pass_on(line, [(what, -count) for what, count in own.items()], [], [])

    def _pass_on(self, line: Line, added: Counted, noted: Counted, told: Told) -> None:
        for other in self._members:
            if other is not line:
                other.tell("counted", added, noted, told)
