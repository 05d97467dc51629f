"""The writer's thread: answers for thousands do not hold the reactor, and all come before it is closed."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from twisted_mail_kit.stores.sqlite.groupcommit import AT_ONCE, GroupCommit, Waiting


class Counting(GroupCommit[Waiting]):
    """Answers each with its number."""

    what = "counter"

    def __init__(self) -> None:
        super().__init__(reactor, 3600.0)
        self.done = 0
        self.told: list[Any] = []

    def do(self, requests: list[Waiting]) -> int:
        for request in requests:
            request.answer = self.done
            self.done += 1
        return len(requests)

    def end(self) -> None:
        pass

    def heard(self, news: Any) -> None:
        self.told.append(news)


async def test_answers_come_in_order_and_others_get_their_turn() -> None:
    counter = Counting()
    waiting = [counter.ask(Waiting()) for _ in range(5 * AT_ONCE)]
    most = 0
    answered: list[int] = []
    for one in waiting:
        one.addCallback(answered.append)
    counter.start()
    before = 0
    while len(answered) < len(waiting):
        await deferLater(reactor, 0)
        most, before = max(most, len(answered) - before), len(answered)
    assert answered == list(range(5 * AT_ONCE))
    assert most <= 2 * AT_ONCE
    await counter.close()
    assert sum(counter.told) == 5 * AT_ONCE


async def test_it_is_closed_when_all_have_their_answers() -> None:
    counter = Counting()
    waiting = [counter.ask(Waiting()) for _ in range(5 * AT_ONCE)]
    closed = counter.close()
    counter.start()
    await closed
    assert all(one.called for one in waiting)
    await gatherResults(waiting)
    late: Deferred[Any] = counter.ask(Waiting())
    late.addErrback(lambda failure: str(failure.value))
    assert await late == "the counter is closed"
