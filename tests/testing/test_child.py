"""A child process with an author's own store: lines, exit codes, a kill."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor

from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.testing.contracts import mail_store_contract
from twisted_mail_kit.testing.contracts.child import Child, child, found_again
from twisted_mail_kit.testing.contracts.promise import StoreBench

HERE = Path(__file__)
Made = mail_store_contract(lambda path: MemoryStore())


class Bench(StoreBench):
    def make_store(self, tmp_path: Path) -> MemoryStore:
        assert reactor.running
        (tmp_path / "made").touch()
        return MemoryStore()


async def greet(store: MemoryStore, say: Any, *names: str) -> None:
    for name in names:
        say((await store.open_account(name, create=True)).name)


async def for_ever(store: MemoryStore, say: Any) -> None:
    import os

    from twisted.internet.defer import Deferred

    say("ready")
    os.write(1, b"half a li")
    await Deferred()


async def broken(store: MemoryStore, say: Any) -> None:
    raise ZeroDivisionError


async def benched(bench: Bench, say: Any) -> None:
    import os

    say(f"{type(bench).__name__} {os.environ['MAILKIT_GREETING']}")


benched.wants_bench = True


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> str:
    """The child finds the functions of this file by a name of their own."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE.parent)])
    return HERE.stem


def started(kind: type[StoreBench], tmp_path: Path, function: str, *args: str, **more: Any) -> Child:
    bench = kind()
    bench.tmp_path = tmp_path
    return child(bench, function, *args, **more)


@pytest.mark.parametrize("kind", [Bench, Made])
async def test_a_child_has_a_store_and_says_lines(kind: type[StoreBench], here: str, tmp_path: Path) -> None:
    one = started(kind, tmp_path, f"{here}:greet", "alice", "\u00dc")
    assert [line async for line in one] == ["alice", "\u00dc"], one.complaints.decode()
    assert await one.done() == 0
    assert (tmp_path / "made").exists() == (kind is Bench)


async def test_a_child_can_be_killed(here: str, tmp_path: Path) -> None:
    one = started(Bench, tmp_path, f"{here}:for_ever")
    assert await anext(one) == "ready"
    one.kill()
    assert await one.done() == -signal.SIGKILL
    assert [line async for line in one] == [], "a line that was cut off is none"
    one.kill()


async def test_a_child_that_fails_says_why(here: str, tmp_path: Path) -> None:
    one = started(Bench, tmp_path, f"{here}:broken")
    assert await one.done() == 1
    assert b"ZeroDivisionError" in one.complaints


async def test_a_function_may_want_the_bench(here: str, tmp_path: Path) -> None:
    one = started(Bench, tmp_path, f"{here}:benched", env={"MAILKIT_GREETING": "hello"})
    assert [line async for line in one] == ["Bench hello"], one.complaints.decode()


def test_a_class_within_a_function_cannot_be_found_again() -> None:
    class Inner(Bench):
        pass

    with pytest.raises(pytest.skip.Exception, match="top of no module"):
        found_again(Inner)
