"""The owner's side of a worker's start: one that is late, one that is of another version, one that never gets there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher

from tests.interop.server import environment
from twisted_mail_kit.errors import ConfigurationError
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.workers import crew as crew_module
from twisted_mail_kit.workers.crew import Crew
from twisted_mail_kit.workers.orders import Orders


@pytest.fixture(autouse=True)
def quick_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def hear(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(hear)
    yield lines
    globalLogPublisher.removeObserver(hear)


def no_orders(number: int) -> Orders:
    raise ConfigurationError([f"there is nothing to do for {number}"])


def crew_of(size: int, **settings: float) -> Crew:
    given: Any = SimpleNamespace(**{"heartbeat": 30.0, "start": 30.0, **settings})
    return Crew(reactor, size, no_orders, [], MemoryStore(), lambda: None, given)


async def test_one_that_is_not_ready_in_time_is_killed_and_tried_again(said: list[str]) -> None:
    crew = crew_of(1, start=0.05)
    with pytest.raises(ConfigurationError, match="worker 1 ended before it took connections: SIGKILL"):
        await crew.start()
    while sum("takes no connections after 0.05 s: it is killed" in line for line in said) < 2:
        await deferLater(reactor, 0.02)
    await crew.stop(0)
    assert [line for line in said if "another one starts in 0.0 s" in line]
    assert not crew.workers


async def test_one_of_another_version_is_not_used(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "VERSION", "0.0.1, Python 2.7")
    crew = crew_of(1)
    with pytest.raises(ConfigurationError, match=r"and the owner of 0\.0\.1, Python 2\.7: restart the server"):
        await crew.start()
    await crew.stop(5)
    assert not [line for line in said if "Traceback" in line]


async def test_why_it_cannot_start_is_told_by_each_worker(said: list[str]) -> None:
    crew = crew_of(2)
    with pytest.raises(ConfigurationError, match="there is nothing to do for"):
        await crew.start()
    while not {f"worker {n} cannot start: there is nothing to do for {n}" for n in (1, 2)} <= set(said):
        await deferLater(reactor, 0.02)
    pids = [worker.pid for worker in crew.workers.values()]
    await crew.stop(5)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
