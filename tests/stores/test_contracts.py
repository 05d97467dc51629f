"""The contract suite is tested itself: each promise catches a store that breaks it, and lets a sound one be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface.exceptions import Invalid

from twisted_mail_kit.errors import MailError
from twisted_mail_kit.testing.contracts import MailStoreContract
from twisted_mail_kit.testing.contracts.mail_store import promises

sys.path.insert(0, str(Path(__file__).parent))
import broken_stores.abilities
import broken_stores.accounts
import broken_stores.blobs
import broken_stores.commits
import broken_stores.crowds
import broken_stores.history
import broken_stores.kept
import broken_stores.mailboxes
import broken_stores.messages
import broken_stores.models  # noqa: F401
from broken_stores import FAULTS, Bench, Fault

CAUGHT = [(fault, promise) for fault in FAULTS for promise in fault.promises]
PROVEN = sorted({promise for _, promise in CAUGHT})


def kept(bench: Bench, promise: str, tmp_path: Path) -> Deferred[None]:
    (place := tmp_path / "store").mkdir()
    result: Deferred[None] = getattr(bench, promise)(place)
    return result


@pytest.mark.parametrize(
    ("fault", "promise"), CAUGHT, ids=[f"{fault.broken.__name__}-{promise[5:]}" for fault, promise in CAUGHT]
)
def test_a_broken_store_is_caught(fault: Fault, promise: str, tmp_path: Path) -> Deferred[None]:
    def caught(failure: Any) -> None:
        is_other = failure.type is ValueError and "to unpack" in failure.getErrorMessage()  # more, or fewer
        assert is_other or issubclass(failure.type, (AssertionError, MailError, Invalid, pytest.fail.Exception)), (
            failure
        )

    def missed(_: None) -> None:
        pytest.fail(f"{fault.broken.__name__} was not caught by {promise}: {fault.broken.__doc__}")

    return kept(fault.bench, promise, tmp_path).addCallbacks(missed, caught)


@pytest.mark.parametrize("promise", PROVEN)
def test_a_sound_store_is_let_be(promise: str, tmp_path: Path) -> Deferred[None]:
    return kept(Bench(), promise, tmp_path)


def test_nothing_in_the_suite_is_left_out() -> None:
    """Each file of promises is in the contract, and each of its tests has a name of its own."""
    names: dict[str, type] = {}
    for one in MailStoreContract.__mro__[1:-2]:
        for name in vars(one):
            if name.startswith("test_"):
                assert name not in names, f"{name} is in {one} and in {names[name]}"
                names[name] = one
    assert len(names) > 90
    assert set(PROVEN) <= names.keys()


@pytest.mark.parametrize("level", Bench.levels)
def test_every_promise_is_proven_able_to_fail(level: str) -> None:
    """Those of the other levels are broken in tests/testing, by stores that are worth a process."""
    unproven = {name for name, test in promises() if test.level == level} - set(PROVEN)
    assert not unproven, f"no broken store shows that these can fail: {sorted(unproven)}"


def test_every_fault_is_told_in_a_line() -> None:
    for fault in FAULTS:
        assert fault.broken.__doc__ and fault.broken.__doc__.endswith("."), fault.broken
    assert len({fault.broken.__name__ for fault in FAULTS}) == len(FAULTS)
