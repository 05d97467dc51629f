"""The played disk: what was synced is there after a power cut; of the rest, anything may be."""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from twisted_mail_kit.testing.contracts import shim
from twisted_mail_kit.testing.contracts.disk import Disk, Names
from twisted_mail_kit.testing.contracts.journal import HEAD, Entry, read_journal

Played = Callable[..., tuple[Disk, list[Entry]]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def played(library: Path, tmp_path: Path) -> Played:
    """Runs Python in a process with the shim, on a directory that has a file already; gives the disk that it left."""

    def play(code: str, names: Names = "posix") -> tuple[Disk, list[Entry]]:
        root = tmp_path / "root"
        root.mkdir()
        (root / "old").write_bytes(b"o" * 2000)
        disk = Disk(root, names)
        begin = (
            "import ctypes, os, sys; os.chdir(sys.argv[1])\n"
            "ctypes.CDLL(None).disk_journal(os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]))\n"
            "def put(name, octets, mode=os.O_CREAT):\n"
            "    fd = os.open(name, os.O_RDWR | mode); os.write(fd, octets); return fd\n"
            "def sync(): os.fsync(os.open('.', os.O_RDONLY))\n"
        )
        command = [sys.executable, "-c", begin + code, str(root), str(tmp_path / "journal")]
        subprocess.run(command, env={"LD_PRELOAD": str(library)}, check=True)
        entries = list(read_journal(tmp_path / "journal"))
        for entry in entries:
            disk.play(entry)
        return disk, entries

    return play


def left(disk: Disk, tmp_path: Path, times: int = 200) -> list[dict[str, bytes]]:
    """What many power cuts leave."""
    found = []
    for seed in range(times):
        into = tmp_path / f"cut {seed}"
        disk.cut_power(random.Random(seed), into)
        found.append(
            {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}
            | {f"{path.relative_to(into)}/": b"" for path in into.rglob("*") if path.is_dir()}
        )
    return found


def test_what_was_synced_is_there(played: Played, tmp_path: Path) -> None:
    disk, _ = played("fd = put('new', b'n' * 5000); os.fsync(fd); sync()")
    assert not disk.not_seen()
    assert all(one == {"old": b"o" * 2000, "new": b"n" * 5000} for one in left(disk, tmp_path))


def test_what_was_not_synced_may_be_there_by_any_of_its_blocks(played: Played, tmp_path: Path) -> None:
    disk, _ = played("fd = put('old', b'1' * 1024); os.pwrite(fd, b'2' * 1024, 1024); os.ftruncate(fd, 1536)")
    whole = {one["old"] for one in left(disk, tmp_path, 400)}
    assert b"o" * 2000 in whole and b"1" * 1024 + b"2" * 512 in whole
    assert b"1" * 1024 + b"o" * 976 in whole, "the first part"
    assert b"o" * 512 + b"1" * 512 + b"2" * 512 in whole, "later blocks, and not the first"
    assert len(whole) > 10


def test_a_sync_covers_what_came_before_it_alone(played: Played, tmp_path: Path) -> None:
    disk, _ = played("fd = put('old', b'1' * 1000); os.fdatasync(fd); os.pwrite(fd, b'2' * 1000, 1000)")
    found = {one["old"] for one in left(disk, tmp_path)}
    assert {octets[:512] for octets in found} == {b"1" * 512}
    assert {octets[1536:] for octets in found} == {b"o" * 464, b"2" * 464}


def test_a_name_needs_the_sync_of_its_directory(played: Played, tmp_path: Path) -> None:
    disk, _ = played("fd = put('new', b'n'); os.fsync(fd)")
    assert {tuple(sorted(one)) for one in left(disk, tmp_path)} == {("old",), ("new", "old")}


def test_with_ordered_names_any_sync_keeps_them(played: Played, tmp_path: Path) -> None:
    disk, _ = played("fd = put('new', b'n'); os.fsync(fd)", "ordered")
    assert {tuple(sorted(one)) for one in left(disk, tmp_path)} == {("new", "old")}


def test_a_rename_is_never_half_done(played: Played, tmp_path: Path) -> None:
    disk, _ = played("fd = put('new', b'n'); os.fsync(fd); sync(); os.rename('new', 'old')")
    found = {tuple(sorted(one.items())) for one in left(disk, tmp_path)}
    assert found == {(("new", b"n"), ("old", b"o" * 2000)), (("old", b"n"),)}


def test_a_rename_to_another_directory_is_never_half_done(played: Played, tmp_path: Path) -> None:
    disk, _ = played("os.mkdir('sub'); sync(); os.rename('old', 'sub/old')")
    assert {tuple(sorted(one)) for one in left(disk, tmp_path)} == {("old", "sub/"), ("sub/", "sub/old")}


def test_a_file_that_was_renamed_before_its_sync_may_be_empty(played: Played, tmp_path: Path) -> None:
    disk, _ = played("put('new', b'n' * 600); os.rename('new', 'old'); sync()")
    assert {b"", b"n" * 600} < {one["old"] for one in left(disk, tmp_path)}


def test_a_removal_may_come_undone(played: Played, tmp_path: Path) -> None:
    disk, _ = played("os.unlink('old')")
    assert {tuple(one) for one in left(disk, tmp_path)} == {(), ("old",)}


def test_links_and_new_inodes_are_followed(played: Played, tmp_path: Path) -> None:
    disk, _ = played(
        "os.link('old', 'two'); os.unlink('old'); fd = put('old', b'other'); os.fsync(fd); os.mkdir('d'); "
        "os.rmdir('d'); fd = os.dup(put('x', b'')); os.writev(fd, [b'a', b'b']); os.fsync(fd); sync(); os.sync()"
    )
    assert left(disk, tmp_path, 5) == [{"old": b"other", "two": b"o" * 2000, "x": b"ab"}] * 5


def test_appending_and_o_dsync(played: Played, tmp_path: Path) -> None:
    disk, _ = played("fd = put('old', b'end', os.O_APPEND | os.O_DSYNC)")
    assert left(disk, tmp_path, 5) == [{"old": b"o" * 2000 + b"end"}] * 5


def test_what_is_said_stands_among_the_writes(played: Played) -> None:
    _, entries = played("fd = put('new', b'n'); os.write(1, b'said\\n'); os.fsync(fd)")
    assert "".join(entry.kind for entry in entries) == "OWMBE"
    assert entries[2].first == b"said\n"


def test_what_goes_past_the_shim_is_known(played: Played) -> None:
    disk, _ = played("import mmap; m = mmap.mmap(os.open('old', os.O_RDWR), 0); m[0] = 65")
    assert disk.not_seen() == "mmap of old"


def test_a_journal_that_was_cut_off_is_read_to_its_last_entry(tmp_path: Path) -> None:
    entry = HEAD.pack(b"W", 1, 2, 3, 0) + b"abc"
    (tmp_path / "journal").write_bytes(entry * 2 + entry[:-1])
    assert list(read_journal(tmp_path / "journal")) == [Entry("W", 1, 2, b"abc", b"")] * 2


def test_there_is_a_compiler_where_programs_are_required(pytestconfig: pytest.Config) -> None:
    assert shutil.which("cc") or not pytestconfig.getoption("--require-programs")


def test_the_shim_is_not_in_this_process() -> None:
    with pytest.raises(AttributeError):
        _ = ctypes.CDLL(None).disk_well
