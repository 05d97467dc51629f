"""Answers that are still good."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted_mail_kit.mail.records import Answer

Question = tuple[str, str]
"""Name in lower case, and kind."""


class Cache:
    """Answers, and failures, by question; those that were not asked for longest go when there are too many octets."""

    def __init__(self, size: int, now: Callable[[], float]) -> None:
        self._size = size
        self._now = now
        self._used = 0
        self._kept: OrderedDict[Question, tuple[float, int, Answer | str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, question: Question) -> Answer | str | None:
        """The answer, with what is left of its time; or the text of the failure; or None."""
        found = self._kept.get(question)
        if found is None:
            return None
        until, _, kept = found
        left = until - self._now()
        if left <= 0:
            self.forget(question)
            return None
        self._kept.move_to_end(question)
        return kept if isinstance(kept, str) else kept._replace(ttl=int(left))

    def put(self, question: Question, kept: Answer | str, seconds: float) -> None:
        """Keep it for so long."""
        self.forget(question)
        cost = _cost(question, kept)
        if seconds <= 0 or cost > self._size:
            return
        self._kept[question] = (self._now() + seconds, cost, kept)
        self._used += cost
        while self._used > self._size:
            self.forget(next(iter(self._kept)))

    def forget(self, question: Question) -> None:
        """It is asked for anew."""
        found = self._kept.pop(question, None)
        if found is not None:
            self._used -= found[1]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._used = 0


def _cost(question: Question, kept: Answer | str) -> int:
    """About what it takes in memory."""
    cost = 300 + len(question[0])
    if isinstance(kept, str):
        return cost + len(kept)
    for record in kept.records:
        fields = record if isinstance(record, tuple) else (record,)
        cost += 100 + sum(len(one) if isinstance(one, (str, bytes)) else 8 for one in fields)
    return cost
