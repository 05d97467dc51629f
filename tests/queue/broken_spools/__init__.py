"""Deliberately broken spools: a sound one, and the means to break it in one place at a time.

As `tests/stores/broken_stores`: a fault is a class with a sentence, and `breaks` says which promises have to notice it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from twisted_mail_kit.interfaces import Lease
from twisted_mail_kit.mail.queued import Settled
from twisted_mail_kit.queue.memory import MemorySpool
from twisted_mail_kit.testing.contracts.spool import SpoolContract


class SoundSpool(MemorySpool):
    """The memory spool, which shares all that is kept with others in the same place."""

    def __init__(self, beside: SoundSpool | None = None) -> None:
        super().__init__()
        if beside is not None:
            self._kept = beside._kept
            self._begin()

    def reopened(self) -> Any:
        other = super().reopened()
        other.__class__ = type(self)
        other.found_again()  # type: ignore[attr-defined]
        return other

    def found_again(self) -> None:
        """What is broken here, a restart breaks."""

    # --- for faults --------------------------------------------------------------------------------------------------

    def all_rows(self) -> list[Any]:
        """Every recipient that waits."""
        return [row for rows in self._state().rows.values() for row in rows.values()]

    def rows_of(self, settled: Sequence[Settled]) -> list[Any]:
        """Those that are still there."""
        rows = self._state().rows
        found = (rows.get(one.recipient.message_id, {}).get(one.recipient.number) for one in settled)
        return [row for row in found if row is not None]

    async def sound_lease(self, *said: Any, **more: Any) -> Sequence[Lease]:
        """As it has to be."""
        return await MemorySpool.lease(self, *said, **more)


class Bench(SpoolContract):
    """A spool of `kind`."""

    kind: type[SoundSpool] = SoundSpool
    persistent = True

    def __init__(self) -> None:
        self.earlier: dict[Path, SoundSpool] = {}

    def make_spool(self, tmp_path: Path) -> SoundSpool:
        spool = self.earlier[tmp_path] = self.kind(self.earlier.get(tmp_path))
        return spool

    def reopen(self, spool: Any) -> Any:
        return spool.reopened()


class Fault(NamedTuple):
    """One way to be broken, and who has to notice it."""

    broken: type[SoundSpool]
    promises: tuple[str, ...]

    @property
    def bench(self) -> Bench:
        """The contract of a spool that has this fault, and no other."""
        bench = type(f"{self.broken.__name__}Bench", (Bench,), {"kind": self.broken})()
        assert isinstance(bench, Bench)
        return bench


FAULTS: list[Fault] = []
"""The table: every fault, and the promises that catch it."""


def breaks(*promises: str) -> Callable[[type[SoundSpool]], type[SoundSpool]]:
    """The class is a fault that each of these promises has to catch; its docstring says what is wrong with it."""

    def note(broken: type[SoundSpool]) -> type[SoundSpool]:
        FAULTS.append(Fault(broken, promises))
        return broken

    return note
