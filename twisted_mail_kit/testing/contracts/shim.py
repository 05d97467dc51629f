"""Compiles the shim that stands between a child process and its files, and speaks to it from within the child."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).with_name("diskshim.c")
WRITE, ROOM, SYNC, NAME, OPEN = 1, 2, 4, 8, 16
"""Kinds of calls: writes; all that takes room; syncs; changes of names; opening."""
_compiled: dict[str, bytes] = {}
"""By each compiler, in this process: once will do."""


def build(directory: Path) -> Path:
    """Compile it into that directory. Skips aloud where there is no `cc`, or the system is another."""
    if sys.platform != "linux" or struct.calcsize("P") != 8:
        pytest.skip("the disk shim is for 64-bit Linux: no power cuts and no faults were played")
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc): no power cuts and no faults were played")
    library = directory / "diskshim.so"
    if compiler in _compiled:
        library.write_bytes(_compiled[compiler])
        return library
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the disk shim could not be compiled: {done.stderr.strip()[-500:]}")
    _compiled[compiler] = library.read_bytes()
    return library


class Failed(NamedTuple):
    """What the shim has seen while calls had to fail."""

    calls: int
    """Of the kinds that were asked for."""
    failed: int
    syncs: int
    """How many of those that failed were syncs, or the opening of a directory for one."""
    first: str
    """The call that failed first, with its path below the directory."""


class Shim:
    """The shim in this process, which was started with it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)

    def journal(self, directory: Path, journal: Path | None) -> None:
        """From now on look at `directory`, and write down what is done there. Without a journal it is only fast: a
        sync is none."""
        error = self._library.disk_journal(str(directory).encode(), str(journal).encode() if journal else None)
        if error:
            raise OSError(error, os.strerror(error), str(journal))

    def fail(self, first: int, last: int, error: int, kinds: int) -> None:
        """The calls of these kinds fail, from the first to the last of them; error 0: writes fall short."""
        self._library.disk_fail(first, last, error, kinds)

    def has_failed(self) -> bool:
        """Whether a call has failed by now."""
        return bool(self._library.disk_failed())

    def well(self) -> Failed:
        """No call fails any more."""
        failed, syncs, first = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(512)
        calls = self._library.disk_well(ctypes.byref(failed), ctypes.byref(syncs), first, 512)
        return Failed(calls, failed.value, syncs.value, first.value.decode(errors="replace"))
