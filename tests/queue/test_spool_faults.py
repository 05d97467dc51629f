"""The spool's contract is tested itself: each promise catches a spool that breaks it, and lets a sound one be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, FirstError

from twisted_mail_kit.errors import MailError

sys.path.insert(0, str(Path(__file__).parent))
import broken_spools.hands
import broken_spools.kept
import broken_spools.octets
import broken_spools.work  # noqa: F401
from broken_spools import FAULTS, Bench, Fault

CAUGHT = [(fault, promise) for fault in FAULTS for promise in fault.promises]
PROMISES = [name for name in dir(Bench) if name.startswith("test_")]


def kept(bench: Bench, promise: str, tmp_path: Path) -> Deferred[None]:
    result: Deferred[None] = getattr(bench, promise)(tmp_path)
    return result


@pytest.mark.parametrize(
    ("fault", "promise"), CAUGHT, ids=[f"{fault.broken.__name__}-{promise[5:]}" for fault, promise in CAUGHT]
)
def test_a_broken_spool_is_caught(fault: Fault, promise: str, tmp_path: Path) -> Deferred[None]:
    def caught(failure: Any) -> None:
        error = failure.value.subFailure.value if failure.check(FirstError) else failure.value
        is_other = isinstance(error, ValueError) and "to unpack" in str(error)  # more, or fewer
        assert is_other or isinstance(error, (AssertionError, MailError, pytest.fail.Exception)), failure

    def missed(_: None) -> None:
        pytest.fail(f"{fault.broken.__name__} was not caught by {promise}: {fault.broken.__doc__}")

    return kept(fault.bench, promise, tmp_path).addCallbacks(missed, caught)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_sound_spool_is_let_be(promise: str, tmp_path: Path) -> Deferred[None]:
    return kept(Bench(), promise, tmp_path)


def test_every_promise_is_proven_able_to_fail() -> None:
    assert sorted(set(PROMISES) - {promise for _, promise in CAUGHT}) == []
    assert len(PROMISES) > 35


def test_every_fault_is_told_in_a_line() -> None:
    for fault in FAULTS:
        assert fault.broken.__doc__ and fault.broken.__doc__.endswith("."), fault.broken
    assert len({fault.broken.__name__ for fault in FAULTS}) == len(FAULTS)
