"""Gives a store one short life after another: a process that has imported everything, and forks.

So a life begins within milliseconds, and hundreds of them can be ended in a test.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from twisted_mail_kit.testing.contracts.child import (
    Child,
    die_with,
    function_named,
    prepared,
    run,
    say,
    start,
)
from twisted_mail_kit.testing.contracts.promise import StoreBench
from twisted_mail_kit.testing.contracts.shim import Shim


class Nursery:
    """In the test: where lives begin."""

    def __init__(self, bench: StoreBench, function: str, shim: Path | None = None) -> None:
        env = {"LD_PRELOAD": str(shim)} if shim else {}
        self.has_shim = shim is not None
        self.process: Child = start(bench, __name__, {"function": function, "shim": self.has_shim}, env)

    def life(self, directory: Path, *args: str, journal: Path | None = None) -> Life:
        """Begin one: ``function(store, say, *args)`` with the store in that directory. One at a time."""
        wanted = {"args": args, "tmp_path": str(directory), "journal": str(journal) if journal else None}
        self.process.tell(json.dumps(wanted))
        return Life(self.process)

    async def end(self) -> None:
        """Nothing is left behind."""
        self.process.kill()
        await self.process.done()

    async def __aenter__(self) -> Nursery:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()


class Life:
    """In the test: one life, and the lines that it says."""

    def __init__(self, process: Child) -> None:
        self.process = process
        self.pid = 0
        self.code: int | None = None
        """How it ended; minus the signal's number where it was killed."""

    async def lines(self) -> AsyncIterator[str]:
        """All of them, to its end. One that was cut off may be among them."""
        async for line in self.process:
            words = line.split(" ")
            if words[0] == "life" and len(words) == 2:
                self.pid = int(words[1])
                yield ""
            elif words[0] == "ended" and len(words) == 2:
                self.code = int(words[1])
                return
            else:
                yield line
        raise AssertionError(f"the child process is gone:\n{self.complaints()}")

    def kill(self) -> None:
        """SIGKILL; nothing happens where it has ended."""
        if self.pid and self.code is None:
            os.kill(self.pid, signal.SIGKILL)

    def complaints(self) -> str:
        """What was written to stderr."""
        return self.process.complaints.decode(errors="replace")[-4000:]


# --- in the child ----------------------------------------------------------------------------------------------------


def one_life(bench: StoreBench, function: Any, told: Mapping[str, Any], has_shim: bool) -> int:
    """What a fork does."""
    bench.tmp_path = Path(told["tmp_path"])
    if has_shim:
        Shim().journal(bench.tmp_path, Path(told["journal"]) if told["journal"] else None)
    say(f"life {os.getpid()}")
    return run(bench, function, told["args"])


def main() -> None:
    """What `Nursery` starts."""
    die_with(os.getppid())
    wanted = json.loads(sys.argv[1])
    bench, function = prepared(wanted), function_named(wanted["function"])
    myself = os.getpid()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            die_with(myself)
            code = 1
            try:
                code = one_life(bench, function, json.loads(line), wanted["shim"])
            finally:
                sys.stderr.flush()
                os._exit(code)  # threads that hang are no reason to stay
        _, status = os.waitpid(pid, 0)
        say(f"\nended {os.waitstatus_to_exitcode(status)}")
