"""The levels "crash" and "faults" catch stores that are broken in the worst moment, one defect at a time."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import Forbidden, OverQuota
from twisted_mail_kit.interfaces import Applied, Operation
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryStore
from twisted_mail_kit.testing.contracts.crash import CrashPromises
from twisted_mail_kit.testing.contracts.faults import FaultPromises

sys.path.insert(0, str(Path(__file__).parent))  # the children, too, have to find what this file stands on
from pickle_store import PickleAccount, PickleStore

KILLED = "test_what_was_acknowledged_survives_being_killed"
POWER_CUT = "test_what_was_acknowledged_survives_a_power_cut"
DISK = "test_a_disk_that_fails_is_a_temporary_error_and_changes_nothing"
FAILED_SYNC = "test_after_a_failed_sync_a_power_cut_takes_nothing_that_was_acknowledged"
LOCK = "test_a_lock_that_another_process_holds_is_a_temporary_error"
BROKEN: list[tuple[str, type[PickleStore], str, str]] = []


def breaks(promise: str, words: str = "after power cut") -> Callable[[type], type]:
    """The store, or a store of such accounts, has to be caught by this one, with these words."""

    def note(broken: type) -> type:
        store = broken
        if issubclass(broken, MemoryAccount):
            store = type(f"With{broken.__name__}", (PickleStore,), {"account": broken})
        BROKEN.append((broken.__name__, store, promise, words))
        return broken

    return note


class Levels(CrashPromises, FaultPromises):
    persistent = True
    crashes = 20
    power_cuts = 24
    faults = 32
    store: type[PickleStore] = PickleStore

    def make_store(self, tmp_path: Path) -> PickleStore:
        return self.store(tmp_path)


# --- the defects -----------------------------------------------------------------------------------------------------


@breaks(KILLED, "UIDs in|mailboxes|modseq|is gone")
@breaks(POWER_CUT)
class AcknowledgesBeforeItCommits(PickleStore):
    calls = 0

    def save(self) -> None:
        self.calls += 1
        if self.calls % 3 == 0:  # the others are written with the third
            super().save()


@breaks(KILLED, "account's modseq: found")
class HalfDone(PickleAccount):
    async def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        if token is not None and token not in self.tokens and len(ops) > 1 and ".3" in token:
            await super().apply(ops[:1])
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().apply(ops, if_state, token)


@breaks(KILLED, "token|modseq")
class TokenForgottenInACrash(PickleStore):
    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        for account in self.accounts.values():
            account.tokens.clear()


@breaks(KILLED, "UIDNEXT of|was used before")
class UidUsedAgainAfterACrash(PickleStore):
    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        for account in self.accounts.values():
            for box_id, box in account.mailboxes_by_id.items():
                uidnext = max(account.rows[box_id], default=0) + 1
                account.mailboxes_by_id[box_id] = box._replace(uidnext=uidnext)


@breaks(KILLED, "changes")
class TombstonesForgottenInACrash(PickleStore):
    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        for account in self.accounts.values():
            account.tombstones.clear()


@breaks(POWER_CUT)
class NeverSyncs(PickleStore):
    def sync(self, fd: int) -> None:
        pass


@breaks(POWER_CUT)
class RenamesAndDoesNotSyncTheDirectory(PickleStore):
    def sync_directory(self) -> None:
        pass


@breaks(POWER_CUT, "octets of UID|other octets")
class SyncsTheIndexAndNotTheBodies(PickleStore):
    def write_file(self, path: Path, octets: bytes) -> None:
        if path.suffix == ".blob":
            path.write_bytes(octets)
        else:
            super().write_file(path, octets)


@breaks(POWER_CUT)
class WritesOverWhatItHas(PickleStore):
    """And is synced: but a cut in the middle leaves neither the old nor the new."""

    def write_file(self, path: Path, octets: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, octets)
        os.fsync(fd)
        os.close(fd)
        self.sync_directory()


@breaks(FAILED_SYNC)
class TriesTheSyncAgain(PickleStore):
    """And takes its success for that of the first."""

    def sync(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError:
            os.fsync(fd)


@breaks(DISK, "lacking|modseq|found|opened again")
class SwallowsAFullDisk(PickleStore):
    def save(self) -> None:
        try:
            super().save()
        except OSError:
            pass


@breaks(DISK, "none of errors.py")
class RaisesOSError(PickleStore):
    def told(self, error: OSError) -> Exception:
        return error


@breaks(DISK, "which is no temporary error")
class SaysForbidden(PickleStore):
    def told(self, error: OSError) -> Exception:
        return Forbidden(str(error))


@breaks(DISK, "after it had failed")
class KeepsInMemoryWhatHasFailed(PickleAccount):
    def put_back(self, kept: bytes) -> None:
        if not self.modseq:
            super().put_back(kept)


@breaks(DISK, "the disk is well")
class NeverWellAgain(PickleStore):
    ill = False

    def save(self) -> None:
        try:
            if self.ill:
                raise OSError("ill")
            super().save()
        except OSError:
            self.ill = True
            raise


@breaks(DISK, "it hangs: no answer in 0.3 seconds")
class HangsWhereItFails(PickleAccount):
    async def apply(self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None) -> Applied:
        try:
            return await super().apply(ops, if_state, token)
        except OverQuota:
            await Deferred()
            raise


@breaks(DISK, "short write")
class TakesAShortWriteForAWhole(PickleStore):
    def write_file(self, path: Path, octets: bytes) -> None:
        new = path.with_name(f"{path.name}.new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, octets)
            self.sync(fd)
        finally:
            os.close(fd)
        new.replace(path)
        self.sync_directory()


LONGER = {"crashes": 100, "power_cuts": 120, "faults": 150}
"""At the first that is caught it is over."""
# Each has a contract class of its own at the top of this module: there the children find it.
for _name, _store, _, _ in BROKEN:
    LONGER["fault_patience"] = 0.3 if _name == "HangsWhereItFails" else 60
    globals()[f"{_name}Levels"] = type(f"{_name}Levels", (Levels,), {"store": _store, "__module__": __name__, **LONGER})


# --- the tests -------------------------------------------------------------------------------------------------------


def run(bench: Levels, promise: str, tmp_path: Path, noted: dict[str, object] | None = None) -> Deferred[None]:
    notes = {} if noted is None else noted
    kept: Deferred[None] = getattr(bench, promise)(tmp_path, notes.__setitem__)
    return kept


@pytest.mark.parametrize(("name", "promise", "words"), [(name, promise, words) for name, _, promise, words in BROKEN])
async def test_a_broken_store_is_caught(name: str, promise: str, words: str, tmp_path: Path) -> None:
    bench = globals()[f"{name}Levels"]()
    with pytest.raises(AssertionError, match=words) as caught:
        await run(bench, promise, tmp_path)
    assert re.search(r"\(seed \d+\)", str(caught.value))


@pytest.mark.parametrize("promise", [KILLED, POWER_CUT, FAILED_SYNC, DISK])
async def test_the_store_that_they_are_made_of_is_not(promise: str, tmp_path: Path) -> None:
    noted: dict[str, object] = {}
    await run(Levels(), promise, tmp_path, noted)
    counts = {
        KILLED: "crashes",
        POWER_CUT: "power cuts",
        FAILED_SYNC: "power cuts on a failing disk",
        DISK: "fault points",
    }
    assert noted[counts[promise]]


class InMemory(Levels):
    persistent = False

    def make_store(self, tmp_path: Path) -> MemoryStore:
        return MemoryStore()


class Remote(Levels):
    local_files = False


class IgnoresLocks(Levels):
    """Another process has the lock, and nobody asks for it."""

    def hold_lock(self, tmp_path: Path) -> Any:
        file = (tmp_path / "lock").open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file


class Mapped(Levels):
    """Writes past the shim."""

    class store(PickleStore):
        def save(self) -> None:
            import mmap

            super().save()
            with (self.path / "state").open("r+b") as file, mmap.mmap(file.fileno(), 0) as octets:
                octets[0] = octets[0]


async def test_a_store_that_does_not_ask_for_the_lock_is_caught(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await run(IgnoresLocks(), LOCK, tmp_path)


@pytest.mark.parametrize(
    ("kind", "promise", "why"),
    [
        (InMemory, KILLED, "not a persistent store"),
        (InMemory, POWER_CUT, "not a persistent store"),
        (InMemory, DISK, "not a persistent store"),
        (Remote, POWER_CUT, "local_files = False"),
        (Remote, DISK, "local_files = False"),
        (Mapped, POWER_CUT, "went past the shim"),
        (Levels, LOCK, r"no hold_lock\(\)"),
    ],
)
async def test_what_cannot_be_looked_at_is_skipped_aloud(
    kind: type[Levels], promise: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(pytest.skip.Exception, match=why):
        await run(kind(), promise, tmp_path)


async def test_without_a_compiler_it_is_skipped_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    for promise in (POWER_CUT, DISK):
        (tmp_path / promise).mkdir()
        with pytest.raises(pytest.skip.Exception, match="no C compiler"):
            await run(Levels(), promise, tmp_path / promise)


async def test_the_environment_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILKIT_CRASHES", "2")
    monkeypatch.setenv("MAILKIT_POWER_CUTS", "3")
    noted: dict[str, object] = {}
    for promise in (KILLED, POWER_CUT):
        (tmp_path / promise).mkdir()
        await run(Levels(), promise, tmp_path / promise, noted)
    assert (noted["crashes"], noted["power cuts"]) == (2, 3)
