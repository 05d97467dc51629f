"""Runs a coroutine function with an author's own store in a child process, which can be killed.

    one = child(bench, "acme_tests.crowds:deliver", "alice")

    async def deliver(store, say, name):  # in the child
        say("ready")

The child finds the author's contract class again, so it has to stand at the top of a module (a test file will do), and
its `make_store` has to work on a new object that has nothing but `tmp_path`.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_mail_kit.testing.contracts.promise import StoreBench, finished, running_reactor

Say = Callable[[str], None]
PR_SET_PDEATHSIG = 1


def child(bench: StoreBench, function: str, *args: str, env: Mapping[str, str] | None = None) -> Child:
    """Start ``module:function`` in a process of its own, as ``await function(store, say, *args)``.

    The store is ``make_store(bench.tmp_path)``, and is closed when the function is over. A function with the attribute
    ``wants_bench`` is given the bench, with its `tmp_path`, in the place of a store. `env` is added to the environment.
    Skips aloud where the class of `bench` cannot be found by another process.
    """
    return start(bench, __name__, {"function": function, "args": args}, env)


def start(bench: StoreBench, module: str, more: Mapping[str, object], env: Mapping[str, str] | None) -> Child:
    """Start a module of ours, which is told where the bench is found again."""
    wanted = {**found_again(type(bench)), "tmp_path": str(bench.tmp_path), **more}
    wanted |= {"path": sys.path, "reactor": type(running_reactor()).__module__}
    started = Child(str(more.get("function", module)))
    # By -c: with -m there would be two of the module, for what it imports imports it again.
    command = [sys.executable, "-c", f"from {module} import main; main()", json.dumps(wanted)]
    running_reactor().spawnProcess(started.protocol, sys.executable, command, {**os.environ, **(env or {})})
    return started


class Child:
    """A process, and the lines that it says: ``async for line in child``."""

    def __init__(self, name: str = "child") -> None:
        self.name = name
        self.protocol = _Pipes(self)
        self.complaints = b""
        """What it wrote to stderr: the traceback of a function that failed."""
        self._cut = b""
        self._lines: deque[str] = deque()
        self._code: int | None = None
        self._waiting: list[Deferred[None]] = []

    @property
    def _transport(self) -> Any:
        return self.protocol.transport

    @property
    def pid(self) -> int:
        """Its number."""
        return int(self._transport.pid or 0)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing happens where the child is gone already."""
        if self._code is None:
            try:
                self._transport.signalProcess(number)
            except ProcessExitedAlready:
                pass  # and nobody has told us yet

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        self._transport.write(line.encode() + b"\n")

    async def done(self) -> int:
        """Its exit code, when it is over; as `subprocess` has it, minus the signal's number where it was killed."""
        while self._code is None:
            await self._news()
        return self._code

    def __aiter__(self) -> Child:
        return self

    async def __anext__(self) -> str:
        """The next line, without its end. A line that was cut off by the child's death is none."""
        while not self._lines:
            if self._code is not None:
                raise StopAsyncIteration
            await self._news()
        return self._lines.popleft()

    def _news(self) -> Deferred[None]:
        news: Deferred[None] = Deferred()
        self._waiting.append(news)
        return news

    def _tell_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for news in waiting:
            news.callback(None)

    def _heard(self, octets: bytes) -> None:
        *lines, self._cut = (self._cut + octets).split(b"\n")
        self._lines.extend(line.decode() for line in lines)
        self._tell_all()

    def _over(self, code: int) -> None:
        self._code = code
        self._tell_all()


class _Pipes(ProcessProtocol):
    def __init__(self, child: Child) -> None:
        self.child = child

    def outReceived(self, data: bytes) -> None:
        self.child._heard(data)

    def errReceived(self, data: bytes) -> None:
        self.child.complaints += data

    def processEnded(self, reason: Failure) -> None:
        ended: Any = reason.value
        self.child._over(-ended.signal if ended.signal else ended.exitCode or 0)


# --- the author's class, in both processes ---------------------------------------------------------------------------


def found_again(bench_class: type) -> dict[str, str]:
    """Where another process finds the class: module, file, name. Skips aloud where it cannot."""
    home = sys.modules.get(bench_class.__module__)
    if "<locals>" not in bench_class.__qualname__ and home is not None:
        return {"module": home.__name__, "file": _file(home), "name": bench_class.__qualname__}
    for module in list(sys.modules.values()):  # one that was made by a function has a name where it was put
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is bench_class and module is not home:
                return {"module": module.__name__, "file": _file(module), "name": name}
    pytest.skip(f"{bench_class.__qualname__} stands at the top of no module, so a child process cannot find it")


def _file(module: Any) -> str:
    return str(Path(module.__file__).resolve()) if getattr(module, "__file__", None) else ""


def find_again(wanted: Mapping[str, str]) -> type[StoreBench]:
    """The class that `found_again` described."""
    module = sys.modules.get(wanted["module"])
    if module is None:
        module = _by_name(wanted["module"], wanted["file"]) or _by_file(wanted["module"], wanted["file"])
    found: Any = module
    for name in wanted["name"].split("."):
        found = getattr(found, name)
    return found  # type: ignore[no-any-return]


def _by_name(name: str, file: str) -> Any:
    """The module of that name, if it is the one of that file."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or Path(spec.origin).resolve() != Path(file):
        return None
    return importlib.import_module(name)


def _by_file(name: str, file: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, file
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- in the child ----------------------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Write a line to stdout: it is in the pipe when this returns, whatever happens to the process then."""
    octets = line.encode() + b"\n"
    while octets:
        octets = octets[os.write(1, octets) :]


def die_with(parent: int) -> None:
    """Nobody is left behind: when the process that started this one is gone, so is this one (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def install_reactor(module: str) -> None:
    """One of the author's kind, without a kernel object: a process that is forked does not share it with its parent."""
    if "twisted.internet.reactor" in sys.modules:
        return
    if module == "twisted.internet.asyncioreactor":
        import asyncio
        import selectors

        from twisted.internet import asyncioreactor

        asyncioreactor.install(asyncio.SelectorEventLoop(selectors.PollSelector()))
    elif module in ("twisted.internet.epollreactor", "twisted.internet.pollreactor"):
        from twisted.internet import pollreactor

        pollreactor.install()
    else:
        importlib.import_module(module).install()


def function_named(name: str) -> Callable[..., Awaitable[None]]:
    """``module:function``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


def run(bench: StoreBench, function: Callable[..., Awaitable[None]], args: list[str]) -> int:
    """Run the coroutine function in the reactor; gives the exit code."""
    code = 1

    async def live() -> None:
        if getattr(function, "wants_bench", False):
            await function(bench, say, *args)
            return
        store = await finished(bench.make_store(bench.tmp_path))
        try:
            await function(store, say, *args)
        finally:
            await finished(store.close())

    async def whole() -> None:
        nonlocal code
        try:
            await live()
            code = 0
        except BaseException:
            traceback.print_exc()
        reactor.callLater(0, reactor.stop)

    reactor: Any = running_reactor()
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(whole()))
    reactor.run()
    return code


def prepared(wanted: Mapping[str, Any]) -> StoreBench:
    """The child's own bench, with a reactor that does not run yet."""
    sys.path[:] = list(wanted["path"])
    install_reactor(wanted["reactor"])
    bench = find_again(wanted)()
    bench.tmp_path = Path(wanted["tmp_path"])
    bench._open = []
    return bench


def main() -> None:
    """What `child` starts."""
    die_with(os.getppid())
    wanted = json.loads(sys.argv[1])
    bench = prepared(wanted)
    code = run(bench, function_named(wanted["function"]), wanted["args"])
    sys.stderr.flush()
    os._exit(code)  # threads that hang are no reason to stay
