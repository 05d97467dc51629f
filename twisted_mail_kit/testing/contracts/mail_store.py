"""The whole contract of an IMailStore: all the promises in one class, and which levels of them are held."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted_mail_kit.testing.contracts.abilities import AbilityPromises
from twisted_mail_kit.testing.contracts.accounts import AccountPromises
from twisted_mail_kit.testing.contracts.blobs import BlobPromises
from twisted_mail_kit.testing.contracts.commits import CommitPromises
from twisted_mail_kit.testing.contracts.crash import CrashPromises
from twisted_mail_kit.testing.contracts.crowds import CrowdPromises
from twisted_mail_kit.testing.contracts.elsewhere import ElsewherePromises
from twisted_mail_kit.testing.contracts.faults import FaultPromises
from twisted_mail_kit.testing.contracts.history import HistoryPromises
from twisted_mail_kit.testing.contracts.kept import KeptPromises
from twisted_mail_kit.testing.contracts.mailboxes import MailboxPromises
from twisted_mail_kit.testing.contracts.messages import MessagePromises
from twisted_mail_kit.testing.contracts.model import ModelPromises
from twisted_mail_kit.testing.contracts.processes import ProcessPromises
from twisted_mail_kit.testing.contracts.promise import LEVELS as LEVELS_EXPLAINED
from twisted_mail_kit.testing.contracts.promise import StoreBench
from twisted_mail_kit.testing.contracts.streaming import StreamingPromises
from twisted_mail_kit.testing.contracts.upkeep import UpkeepPromises

LEVELS = tuple(LEVELS_EXPLAINED)


class _LeftOut:
    """Stands where a promise of another level would be; pytest takes only what can be called for a test."""


_LEFT_OUT = _LeftOut()


class MailStoreContract(
    AccountPromises,
    MailboxPromises,
    MessagePromises,
    CommitPromises,
    CrowdPromises,
    HistoryPromises,
    BlobPromises,
    KeptPromises,
    AbilityPromises,
    UpkeepPromises,
    ModelPromises,
    StreamingPromises,
    ProcessPromises,
    ElsewherePromises,
    FaultPromises,
    CrashPromises,
):
    """Subclass me as ``Test…`` and write `make_store`."""

    levels: Iterable[str] = LEVELS
    """The store is held to these; promises of other levels do not appear."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        chosen = set(cls.levels)
        if unknown := chosen - set(LEVELS):
            raise ValueError(f"no such level: {', '.join(sorted(unknown))}; there are {', '.join(LEVELS)}")
        for name, test in promises():
            held = getattr(cls, name)
            if held is test and test.level not in chosen:
                setattr(cls, name, _LEFT_OUT)
            elif held is _LEFT_OUT and test.level in chosen:
                setattr(cls, name, test)


def promises() -> list[tuple[str, Any]]:
    """Every promise by its name; `level` is an attribute of each."""
    classes = [one for one in MailStoreContract.__mro__ if issubclass(one, StoreBench)]
    return [(name, test) for one in classes for name, test in vars(one).items() if hasattr(test, "level")]


def mail_store_contract(
    make: Callable[[Path], Any], persistent: bool = False, levels: Iterable[str] = LEVELS
) -> type[MailStoreContract]:
    """Give the contract for stores that are made by ``make(directory)``.

    `persistent`: made again with the same directory, after it was closed, it finds the same mail. `levels`: which of
    the contract's levels the store is held to; a promise that cannot be looked at skips aloud.
    """
    chosen, keeps = tuple(levels), persistent

    class TestMailStore(MailStoreContract):
        levels = chosen
        persistent = keeps

        def make_store(self, tmp_path: Path) -> Any:
            return make(tmp_path)

    return TestMailStore
