"""A maildir as the peers keep it: what it has taken would survive a power cut."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

THREADS = os.environ.get("BENCH_THREADS") == "1"
"""Keep messages in threads: the file system shares syncs among those who wait."""

_numbers = itertools.count()


class DurableMaildir:
    def __init__(self, folder: Path) -> None:
        self.new, self.tmp = folder / "new", folder / "tmp"
        self.new.mkdir()
        self.tmp.mkdir()
        self.fd = os.open(self.new, os.O_RDONLY)

    def keep(self, octets: bytes) -> None:
        name = f"{os.getpid()}.{next(_numbers)}"
        with (self.tmp / name).open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        (self.tmp / name).rename(self.new / name)
        os.fsync(self.fd)
