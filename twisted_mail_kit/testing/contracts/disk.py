"""A disk that is played from a journal: what is on it for certain, and what a power cut may leave of the rest.

The model is POSIX taken at its word:

- What was written to a file before an `fsync` or `fdatasync` *began* is there once that call has returned. Of what was
  written since, anything may be there: nothing, all, the first part, any of its blocks of 512 or 4096 octets; where a
  later block is there and an earlier one is not, there are zeros.
- A sync that fails has given up what it should have written: some of its blocks are there, others never will be,
  whatever is synced later (so do Linux's file systems).
- A name (a file made, renamed, linked, removed; a directory) is there, or gone, once its directory was synced. Of the
  changes since, anything may be there, each whole: a rename within a directory is never seen half done.
- With `names="ordered"` any sync writes down all the names that were changed before it, as the journals of ext4 and XFS
  do. Stores that lean on that can say so.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from twisted_mail_kit.testing.contracts.journal import Entry

Names = Literal["posix", "ordered"]
BLOCKS = (512, 4096)


class File:
    """A file's octets."""

    def __init__(self, octets: bytes = b"") -> None:
        self.durable = bytearray(octets)
        self.now = bytearray(octets)
        self.pending: list[tuple[int, bytes | None]] = []
        """Since the last sync: (offset, octets), or (size, None) for a truncate."""
        self.synced = 0
        """How many were made durable before those in `pending`, of all times."""

    def change(self, at: int, octets: bytes | None) -> None:
        """Write, or truncate."""
        self.pending.append((at, octets))
        _do(self.now, at, octets)

    def sync(self, upto: int) -> None:
        """Make durable what came before, counted from the file's beginning."""
        for at, octets in self.pending[: upto - self.synced]:
            _do(self.durable, at, octets)
        del self.pending[: max(upto - self.synced, 0)]
        self.synced = max(self.synced, upto)

    def give_up(self, upto: int, chance: random.Random) -> None:
        """A sync has failed: only some of what came before is on the disk."""
        size = chance.choice(BLOCKS)
        for at, piece in self.pending[: upto - self.synced]:
            for start, block in [(at, None)] if piece is None else _blocks(at, piece, size):
                if chance.random() < 0.5:
                    _do(self.durable, start, block)
        del self.pending[: max(upto - self.synced, 0)]
        self.synced = max(self.synced, upto)

    def after_power_cut(self, chance: random.Random) -> bytes:
        """What may be found."""
        octets, pending = bytearray(self.durable), self.pending
        match chance.choice(["nothing", "all", "first", "torn", "some"]) if pending else "nothing":
            case "all":
                octets = bytearray(self.now)
            case "first":
                for change in pending[: chance.randrange(len(pending) + 1)]:
                    _do(octets, *change)
            case "torn":
                last = chance.randrange(len(pending))
                for change in pending[:last]:
                    _do(octets, *change)
                at, piece = pending[last]
                if piece is not None:
                    _do(octets, at, piece[: chance.randrange(len(piece) // 512 + 1) * 512])
            case "some":
                size = chance.choice(BLOCKS)
                for at, piece in pending:
                    if piece is None:
                        if chance.random() < 0.5:
                            _do(octets, at, None)
                        continue
                    for start, block in _blocks(at, piece, size):
                        if chance.random() < 0.5:
                            _do(octets, start, block)
        return bytes(octets)


class Directory:
    """Names of files and directories."""

    def __init__(self) -> None:
        self.durable: dict[str, File | Directory] = {}
        self.now: dict[str, File | Directory] = {}
        self.pending: list[Naming] = []
        self.synced = 0

    def change(self, naming: Naming) -> None:
        """Put or take a name."""
        self.pending.append(naming)
        naming.do(self, self.now)

    def sync(self, upto: int) -> None:
        """As a file's."""
        for naming in self.pending[: upto - self.synced]:
            naming.is_durable = True
            naming.do(self, self.durable)
        del self.pending[: max(upto - self.synced, 0)]
        self.synced = max(self.synced, upto)

    def after_power_cut(self, chance: random.Random, chosen: dict[Naming, bool]) -> dict[str, File | Directory]:
        """What may be found. A rename over two directories is chosen, or not, for both."""
        names, pending = dict(self.durable), self.pending
        how = chance.choice(["nothing", "all", "first", "some"])
        first = chance.randrange(len(pending) + 1)
        for number, naming in enumerate(pending):
            wanted = {"nothing": False, "all": True, "first": number < first}.get(how, chance.random() < 0.5)
            if naming.is_durable or chosen.setdefault(naming, wanted):
                naming.do(self, names)
        return names


class Naming:
    """One change of names, which is done whole: ``(directory, name, what is there then)``."""

    def __init__(self, *changes: tuple[Directory, str, File | Directory | None]) -> None:
        self.changes = changes
        self.is_durable = False

    def do(self, directory: Directory, names: dict[str, File | Directory]) -> None:
        """Change the names of that directory."""
        for where, name, what in self.changes:
            if where is directory:
                names.pop(name, None)
                if what is not None:
                    names[name] = what


class Disk:
    """One directory and all below it; what is there when it is made, is durable."""

    def __init__(self, root: Path, names: Names = "posix") -> None:
        self.root, self.names = root, names
        self.inodes: dict[int, File | Directory] = {}
        self.past_the_shim: list[str] = []
        self._chance = random.Random(0)
        self._syncs: dict[int, list[tuple[File | Directory, int]]] = {}
        self.top = self._load(root)

    def _load(self, path: Path) -> Directory:
        directory = Directory()
        self.inodes[path.stat().st_ino] = directory
        for entry in path.iterdir():
            what: File | Directory
            if entry.is_dir():
                what = self._load(entry)
            else:
                what = self.inodes.setdefault(entry.stat().st_ino, File(entry.read_bytes()))
            directory.durable[entry.name] = directory.now[entry.name] = what
        return directory

    def play(self, entry: Entry) -> None:
        """Go on by one entry."""
        kind, inode, at, first, second = entry
        what = self.inodes.get(inode)
        if kind == "W" and isinstance(what, File):
            what.change(at, first)
        elif kind == "T" and isinstance(what, File):
            what.change(at, None)
        elif kind == "B":
            self._syncs[at] = list(self._covered(what, inode == 0))
        elif kind == "E":
            for covered, upto in self._syncs.pop(at, []):
                covered.sync(upto)
        elif kind == "F":
            for covered, upto in self._syncs.pop(at, []):
                if isinstance(covered, File):
                    covered.give_up(upto, self._chance)
        elif kind == "Z":
            self.past_the_shim.append(f"{second.decode()} of {self._name(first)}")
        elif kind in "ODLRU":
            self._rename(kind, inode, first.decode(), second.decode())

    def writes_over(self, entry: Entry) -> bool:
        """Whether octets that are durable are written over, or cut off."""
        what = self.inodes.get(entry.inode)
        return entry.kind in "WT" and isinstance(what, File) and entry.at < len(what.durable)

    def _covered(self, what: File | Directory | None, all_of_them: bool) -> Iterator[tuple[File | Directory, int]]:
        everything = [one for one in self.inodes.values() if all_of_them or one is what]
        if self.names == "ordered":
            everything += [one for one in self.inodes.values() if isinstance(one, Directory)]
        for one in everything:
            yield one, one.synced + len(one.pending)

    def _rename(self, kind: str, inode: int, first: str, second: str) -> None:
        if kind in "OD":
            self.inodes[inode] = File() if kind == "O" else Directory()
        if not first:
            return  # a file without a name, yet
        here, name = self._parent(first)
        if kind != "R":
            what = None if kind == "U" else self.inodes.get(inode)
            here.change(Naming((here, name, what)))
        elif second:
            there, new = self._parent(second)
            naming = Naming((here, name, None), (there, new, self.inodes.get(inode)))
            here.change(naming)
            if there is not here:
                there.change(naming)

    def _parent(self, path: str) -> tuple[Directory, str]:
        *above, name = Path(path).relative_to(self.root).parts
        directory = self.top
        for part in above:
            below = directory.now[part]
            assert isinstance(below, Directory), path
            directory = below
        return directory, name

    def _name(self, path: bytes) -> str:
        return os.path.relpath(os.fsdecode(path), self.root)

    def names_now(self) -> dict[int, str]:
        """What each inode is called, for stories."""
        called: dict[int, str] = {id(self.top): "."}

        def walk(directory: Directory, above: str) -> None:
            for name, what in directory.now.items():
                called[id(what)] = above + name
                if isinstance(what, Directory):
                    walk(what, f"{above}{name}/")

        walk(self.top, "")
        return {inode: called.get(id(what), "a file without a name") for inode, what in self.inodes.items()}

    # --- what is there -----------------------------------------------------------------------------------------------

    def not_seen(self) -> str:
        """In what the directory itself differs from what was played; empty where the journal tells all."""
        if self.past_the_shim:
            return self.past_the_shim[0]
        played = {name: octets for name, octets in self._files(self.top) if not name.endswith("-shm")}
        real = {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and not path.name.endswith("-shm")
        }
        for name in sorted(played.keys() | real.keys()):
            if played.get(name) != real.get(name):
                return f"a change of {name}"
        return ""

    def _files(self, directory: Directory, above: str = "") -> Iterator[tuple[str, bytes]]:
        for name, what in directory.now.items():
            if isinstance(what, Directory):
                yield from self._files(what, f"{above}{name}/")
            else:
                yield above + name, bytes(what.now)

    def cut_power(self, chance: random.Random, into: Path) -> None:
        """Put into a new directory what may be found after a power cut now."""
        found: dict[File, Path] = {}
        chosen: dict[Naming, bool] = {}

        def fill(directory: Directory, path: Path) -> None:
            path.mkdir(mode=0o700)
            for name, what in directory.after_power_cut(chance, chosen).items():
                if isinstance(what, Directory):
                    fill(what, path / name)
                elif what in found:
                    (path / name).hardlink_to(found[what])
                else:
                    found[what] = path / name
                    found[what].write_bytes(what.after_power_cut(chance))
                    found[what].chmod(0o600)

        fill(self.top, into)


def _do(octets: bytearray, at: int, piece: bytes | None) -> None:
    if piece is None:
        del octets[at:]
        octets.extend(bytes(at - len(octets)))
        return
    if at > len(octets):
        octets.extend(bytes(at - len(octets)))
    octets[at : at + len(piece)] = piece


def _blocks(at: int, piece: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    start, end = at, at + len(piece)
    while start < end:
        upto = min(end, (start // size + 1) * size)
        yield start, piece[start - at : upto - at]
        start = upto
