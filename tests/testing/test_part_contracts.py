"""The contracts of the smaller doors: a part that keeps its promises passes, and one with a single fault is caught."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.testing.contracts.addresses import AccountsContract
from twisted_mail_kit.testing.contracts.authenticator import AuthenticatorContract
from twisted_mail_kit.testing.contracts.check import CheckContract
from twisted_mail_kit.testing.contracts.delivery import DeliveryContract
from twisted_mail_kit.testing.contracts.part import PartBench

sys.path.insert(0, str(Path(__file__).parent))
import memory_parts as parts
from part_defects import DEFECTS

for broken in ("checkers", "accounts", "checks", "targets"):
    importlib.import_module(f"broken_{broken}")


class _Placed(PartBench):
    """Parts of one contract share a place."""

    part: Any = None

    def _make(self) -> Any:
        self.place = getattr(self, "place", None) or parts.Place()
        return self.part(self.place)

    def make_broken(self, tmp_path: Path) -> Any:
        part = self._make()
        self.place.is_lost = True
        return part


class TestChecker(_Placed, AuthenticatorContract):
    part = parts.Checker


class TestAuthenticator(_Placed, AuthenticatorContract):
    part = parts.Authenticator
    users = parts.USERS

    def make_broken(self, tmp_path: Path) -> Any:
        pytest.skip("it stands on nothing")


class TestAddresses(_Placed, AccountsContract):
    part = parts.Addresses
    local = {"joe@example.org": "joe@example.org", "ann@example.org": "ann@example.org"}
    aliases = {
        "info@example.org": ["joe@example.org", "bob@theirs.example"],
        "all@example.org": ["joe@example.org", "all@example.org"],
    }


class TestQuestions(_Placed, CheckContract):
    part = parts.Questions
    accepts = b"Subject: hello\r\n\r\nHello.\r\n"
    refuses = b"Subject: the casino\r\n\r\nHello.\r\n"


class TestTarget(_Placed, DeliveryContract):
    part = parts.Target
    refuses = "nobody@example.net"

    def delivered(self, tmp_path: Path) -> Any:
        return self.place.mail


CONTRACTS: dict[type, type[PartBench]] = {
    parts.Checker: TestChecker,
    parts.Authenticator: TestAuthenticator,
    parts.Addresses: TestAddresses,
    parts.Questions: TestQuestions,
    parts.Target: TestTarget,
}


def contract_of(part: type) -> type[PartBench]:
    """What such a part is held to."""
    return next(contract for good, contract in CONTRACTS.items() if issubclass(part, good))


@pytest.mark.parametrize(("part", "promise"), DEFECTS, ids=lambda value: str(getattr(value, "__name__", value)))
async def test_a_broken_part_is_caught(
    part: type, promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twisted_mail_kit.testing.contracts.part.PATIENCE", 1.5)
    broken = type("Broken", (contract_of(part),), {"part": part})()
    try:
        await getattr(broken, promise)(tmp_path)
    except (Exception, pytest.fail.Exception):
        return
    pytest.fail(f"{part.__name__} was not caught by {promise}")


def test_every_promise_is_broken_by_some_part() -> None:
    promised = {(kind_of(one), name) for one in CONTRACTS.values() for name in dir(one) if name.startswith("test_")}
    proven = {(kind_of(contract_of(part)), promise) for part, promise in DEFECTS}
    assert promised - proven == set() and proven <= promised


def kind_of(contract: type) -> str:
    """The contract that a test class is of."""
    return contract.__mro__[2].__name__
