"""`python -m bench [--quick] [NAME…]`: measures beside peers, and prints the tables of docs/performance.md."""

from __future__ import annotations

import os
import platform
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from bench.effort import FULL, QUICK, Effort
from bench.fanout import fanout
from bench.fulltext import fulltext
from bench.idle import idle
from bench.imap import imap
from bench.large import large
from bench.login import login
from bench.pop3 import pop3
from bench.queued import queue
from bench.receiving import bare, lmtp, receive
from bench.relaying import relay
from bench.scale import scale
from bench.start import start
from bench.store import store
from bench.table import goals
from bench.workers import workers

BENCHMARKS: dict[str, tuple[str, Callable[[Effort], None]]] = {
    "receive": ("Mail in by SMTP", receive),
    "lmtp": ("Mail in by LMTP", lmtp),
    "imap": ("IMAP", imap),
    "login": ("Logins", login),
    "pop3": ("POP3", pop3),
    "fanout": ("IDLE", fanout),
    "idle": ("Memory", idle),
    "large": ("A message of 100 MB", large),
    "start": ("Start", start),
    "relay": ("Mail out", relay),
    "workers": ("Several processes", workers),
    "bare": ("What everything that is on costs", bare),
}
LONG: dict[str, tuple[str, Callable[[Effort], None]]] = {
    "queue": ("A long queue", queue),
    "scale": ("A large store", scale),
    "fulltext": ("SEARCH beside a full-text index", fulltext),
    "store": ("The store alone", store),
}
"""Only when they are named: but for the last they take minutes."""


def machine() -> str:
    """What was measured on, so that nobody compares numbers of two machines."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    syncs = sorted(_sync_once() for _ in range(20))
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores ({model}), Linux {platform.release()}, Python"
        f" {platform.python_version()}; a write of 2 KB with its sync takes {syncs[10] * 1000:.1f} ms on this disk."
        f" Load of the machine before the start: {os.getloadavg()[0]:.1f}."
    )


def _sync_once() -> float:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 2000)
        file.flush()
        began = time.monotonic()
        os.fsync(file.fileno())
        return time.monotonic() - began


def main() -> None:
    every = BENCHMARKS | LONG
    wanted = [word for word in sys.argv[1:] if word != "--quick"]
    if unknown := [word for word in wanted if word not in every]:
        names = "\n".join(f"  {name:10} {title}" for name, (title, _) in every.items())
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are\n{names}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the servers would stay behind
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # As where a package is installed: its modules are compiled already. Peers in Python get the same.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir(), f"bench-bytecode-{os.getuid()}"))
    effort = QUICK if "--quick" in sys.argv else FULL
    print(machine(), flush=True)
    if effort is QUICK:
        print("\n**Quick: it shows that everything runs, and nothing else.**")
    failed: list[str] = []
    for name in wanted or BENCHMARKS:
        title, benchmark = every[name]
        began = time.monotonic()
        print(f"\n### {title}\n", flush=True)
        try:
            benchmark(effort)
        except (Exception, SystemExit) as problem:
            # The others are worth having all the same.
            failed.append(name)
            traceback.print_exc()
            print(f"\n**It failed: {type(problem).__name__}.**")
        print(f"{name}: {time.monotonic() - began:.0f} seconds", file=sys.stderr)
    goals.show()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


main()
