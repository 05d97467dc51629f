"""Promises about the worst moment: a process that is killed, and a power cut."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater

from twisted_mail_kit.interfaces import Add, IMailStore, IMaintenance
from twisted_mail_kit.testing.contracts.disk import Disk, Names
from twisted_mail_kit.testing.contracts.journal import Entry, read_journal
from twisted_mail_kit.testing.contracts.lasting import Note, can_be_looked_at, how_many, lasting
from twisted_mail_kit.testing.contracts.nursery import Life, Nursery
from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, running_reactor
from twisted_mail_kit.testing.contracts.shim import build
from twisted_mail_kit.testing.contracts.steps import inbox, put_blob, read
from twisted_mail_kit.testing.contracts.witness import Broken, Event, Witness
from twisted_mail_kit.testing.contracts.workload import heard, opened

LIVE = "twisted_mail_kit.testing.contracts.workload:live"
CUTS_A_RUN = 10
OPERATIONS_A_RUN = 90


class CrashPromises(StoreBench):
    """All of it skips aloud where the store is not persistent: ``make_store`` is called in other processes too."""

    level = "crash"
    crashes = 30
    """How often a child process is killed; the environment's MAILKIT_CRASHES goes before."""
    power_cuts = 40
    """How many power cuts are played; MAILKIT_POWER_CUTS goes before."""
    crash_seed = 1
    """Another one is another course of things; MAILKIT_CRASH_SEED goes before."""
    local_files = True
    """Whether all that is durable lies below `tmp_path`. A store on a remote database says False: no power cut can be
    played for it here."""
    names_after_power_cut: Names = "posix"
    """``ordered``: any sync also keeps all names that were changed before it, as ext4 and XFS do. See `disk`."""

    @lasting
    async def test_what_was_acknowledged_survives_being_killed(self, note: Note) -> None:
        crashes, seed = how_many(self.crashes, "MAILKIT_CRASHES"), how_many(self.crash_seed, "MAILKIT_CRASH_SEED")
        can_be_looked_at(self)
        chance, witness = random.Random(seed), Witness()
        directory = self._new_directory("killed")
        done = 0
        async with Nursery(self, LIVE, self._shim()) as nursery:
            for number in range(crashes):
                life = nursery.life(directory, f"{seed}.{number}", "0", "200000")
                events = await _killed(life, chance)
                done += sum(event.kind == "done" for event in events)
                try:
                    witness.hear(events)
                    await self._looked_at(directory, witness, chance)
                except Exception as error:
                    raise Broken(
                        f"after kill {number + 1} of {crashes} (seed {seed}): {_told(error)}\n"
                        f"The last that was said:\n{witness.story()}\nThe store is in {directory}"
                    ) from error
        if not done:
            raise Broken(f"nothing was acknowledged before {crashes} kills: there is nothing to look at")
        note("crashes", crashes)
        note("acknowledged before crashes", done)

    @lasting
    async def test_what_was_acknowledged_survives_a_power_cut(self, note: Note) -> None:
        cuts = how_many(self.power_cuts, "MAILKIT_POWER_CUTS")
        note("power cuts", cuts)
        note("acknowledged before power cuts", await self._power_is_cut(cuts, ""))

    @lasting
    async def test_after_a_failed_sync_a_power_cut_takes_nothing_that_was_acknowledged(self, note: Note) -> None:
        cuts = -(-how_many(self.power_cuts, "MAILKIT_POWER_CUTS") // 2)
        note("power cuts on a failing disk", cuts)
        note("acknowledged on a failing disk", await self._power_is_cut(cuts, "faults"))

    async def _power_is_cut(self, cuts: int, faults: str) -> int:
        """Play so many power cuts; answers how much had been acknowledged."""
        seed = how_many(self.crash_seed, "MAILKIT_CRASH_SEED")
        can_be_looked_at(self)
        if not self.local_files:
            pytest.skip("local_files = False: no power cut can be played for files that are elsewhere")
        chance, witness, directory = random.Random(seed), Witness(), self._new_directory("run 1")
        shim, played, done = build(self.tmp_path), 0, 0
        async with Nursery(self, LIVE, shim) as nursery:
            while played < cuts:
                run = Run(self, directory, f"{seed}.{played}")
                await run.live(nursery, faults)
                for number in run.moments(chance, min(CUTS_A_RUN, cuts - played)):
                    played += 1
                    try:
                        await run.cut(number, witness, chance, self._new_directory(f"cut {played}"))
                    except Exception as error:
                        raise Broken(
                            f"after power cut {played} of {cuts} (seed {seed}), at entry {number} of "
                            f"{len(run.entries)} of the journal: {_told(error)}\n"
                            f"The last that was said:\n{witness.story()}\n"
                            f"The last that was done to files below {directory}:\n{run.story(number)}\n"
                            f"The store is in {self.tmp_path / f'cut {played}'}"
                        ) from error
                done += run.done
                directory, witness = run.left or self._new_directory(f"run {played}"), run.left_to or Witness()
        if not done:
            raise Broken(f"nothing was acknowledged before {played} power cuts: there is nothing to look at")
        return done

    # --- how it is done ----------------------------------------------------------------------------------------------

    def _shim(self) -> Path | None:
        """A process that is killed leaves what it has written; so with the shim its syncs need not be waited for."""
        if not self.local_files:
            return None
        try:
            return build(self.tmp_path)
        except pytest.skip.Exception:
            return None

    def _new_directory(self, name: str) -> Path:
        directory = self.tmp_path / name
        directory.mkdir(mode=0o700)
        return directory

    async def _looked_at(self, directory: Path, witness: Witness, chance: random.Random) -> None:
        """Open the store there; raise Broken where it is not as it has to be, or does not go on."""
        place, self.tmp_path = self.tmp_path, directory
        try:
            store = await self.opened(self.make_store(directory))
        finally:
            self.tmp_path = place
        await witness.look(store, chance)
        if IMaintenance.providedBy(store) and chance.random() < 0.2:
            problems = (await finished(store.check())).problems
            if problems:
                raise Broken(f"the store's own check finds: {'; '.join(problems)}")
        await _goes_on(store)
        await finished(store.close())
        self._open.remove(store)


class Run:
    """One run of a child process whose journal is kept, and the power cuts that are played from it."""

    def __init__(self, bench: CrashPromises, directory: Path, seed: str) -> None:
        self.bench, self.directory, self.seed = bench, directory, seed
        self.disk = Disk(directory, bench.names_after_power_cut)
        self.journal = bench.tmp_path / f"{directory.name}.journal"
        self.entries: Sequence[Entry] = ()
        self.done = 0
        self.left: Path | None = None
        """What one of the cuts has left, for the next run to begin with: so recovery is cut too."""
        self.left_to: Witness | None = None
        self._played = 0
        self._writing_over: list[int] = []
        self._line = b""

    async def live(self, nursery: Nursery, faults: str) -> None:
        """The run itself; it ends by itself, and in peace."""
        again = Disk(self.directory)
        args = self.seed, str(OPERATIONS_A_RUN), "60000", faults
        life = nursery.life(self.directory, *args, journal=self.journal)
        async for _ in life.lines():
            pass
        if life.code:
            raise Broken(f"the child process ended with {life.code}, and nobody had killed it:\n{life.complaints()}")
        self.entries = list(read_journal(self.journal))
        for number, entry in enumerate(self.entries, 1):
            if again.writes_over(entry):
                self._writing_over.append(number)
            again.play(entry)
        if wrong := again.not_seen():
            pytest.skip(f"{wrong} went past the shim (a shared mmap, stdio?): no power cut can be played")

    def moments(self, chance: random.Random, how_many: int) -> list[int]:
        """Where to cut: right after something was said, while something is synced, when something that was durable is
        written over, and anywhere."""
        said = [number for number, entry in enumerate(self.entries, 1) if entry.kind == "M"]
        syncing = [number for number, entry in enumerate(self.entries, 1) if entry.kind == "B"]
        anywhere = range(len(self.entries))
        kinds = [kind for kind in (said, syncing, self._writing_over, anywhere) if kind]
        return sorted(chance.choice(chance.choice(kinds)) for _ in range(how_many))

    async def cut(self, number: int, witness: Witness, chance: random.Random, into: Path) -> None:
        """Go on to that entry of the journal, cut the power, and look at what is left."""
        for entry in self.entries[self._played : number]:
            self.disk.play(entry)
            if entry.kind == "M":
                witness.hear(self._events(entry.first))
        self._played = max(self._played, number)
        into.rmdir()
        self.disk.cut_power(chance, into)
        copy = pickle.dumps(witness)
        if self.left is None or chance.random() < 0.2:
            self.left = self.bench.tmp_path / f"left by {into.name}"
            shutil.copytree(into, self.left)
            self.left_to = pickle.loads(copy)
        await self.bench._looked_at(into, pickle.loads(copy), chance)
        shutil.rmtree(into)

    def _events(self, octets: bytes) -> list[Event]:
        *lines, self._line = (self._line + octets).split(b"\n")
        events = [event for event in (heard(line.decode()) for line in lines) if event is not None]
        self.done += sum(event.kind == "done" for event in events)
        return events

    def story(self, number: int) -> str:
        """What was done to files before that entry."""
        files, names = [entry for entry in self.entries[:number] if entry.kind != "M"], self.disk.names_now()
        return "\n".join(f"    {entry.told(names.get(entry.inode, 'everything'))}" for entry in files[-12:])


async def _killed(life: Life, chance: random.Random) -> list[Event]:
    """Let it live for a while; gives what it has said."""
    reactor: Any = running_reactor()
    events: list[Event] = []
    answers = chance.choice([0, 0, 1, chance.randrange(2, 40), chance.randrange(2, 40), chance.randrange(2, 40)])
    seconds = chance.random() * (0.04 if answers == 0 else 0.005)
    killing = None
    async for line in life.lines():
        event = heard(line)
        if event is not None:
            events.append(event)
            answers -= event.kind == "done"
        if answers <= 0 and killing is None:
            killing = deferLater(reactor, seconds, life.kill)
    if killing is not None:
        await killing
    if life.code is not None and life.code >= 0:
        raise Broken(f"the child process ended with {life.code} before it was killed:\n{life.complaints()}")
    return events


async def _goes_on(store: IMailStore) -> None:
    """A store that was opened after a crash takes mail."""
    account = await opened(store, "after")
    octets = b"after the crash"
    await account.apply([Add((await inbox(account)).id, await put_blob(account, octets), 1)])
    *_, row = await account.messages((await inbox(account)).id)
    if await read(account, row.blob_id) != octets:
        raise Broken("a message that was added after the crash has other octets")


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
