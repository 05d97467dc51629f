"""The control socket: who may speak, what is answered, and whose socket it is."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

from twisted_mail_kit.control.client import NotRunning, Told, call
from twisted_mail_kit.control.place import SOCKET
from twisted_mail_kit.control.server import Control, ControlLimits
from twisted_mail_kit.control.verbs import queue_verbs
from twisted_mail_kit.control.wire import BadRequest, Request, RequestWire, read_request
from twisted_mail_kit.errors import BadSyntax, ConfigurationError, MailError, MessageNotFound, Unavailable
from twisted_mail_kit.net.inbox import NEED_DATA


class Desk:
    """Verbs of all kinds."""

    def __init__(self) -> None:
        self.called: list[object] = []
        self.hold: Deferred[None] = Deferred()
        self.closed = False

    async def add(self, one: int, two: int = 2) -> int:
        self.called.append((one, two))
        return one + two

    async def missing(self, id: str) -> None:
        raise MessageNotFound(f"no message {id}")

    async def broken(self) -> None:
        raise RuntimeError("the secret of the house")

    async def unspeakable(self) -> object:
        return object()

    async def octets(self, count: int = 3) -> AsyncIterator[object]:
        async def pieces() -> AsyncIterator[object]:
            try:
                for number in range(count):
                    await deferLater(reactor, 0)
                    yield bytes([number]) * 65536
            finally:
                self.closed = True

        return pieces()

    async def half(self) -> AsyncIterator[object]:
        async def pieces() -> AsyncIterator[object]:
            yield {"first": 1}
            raise MessageNotFound("gone meanwhile")

        return pieces()

    async def slow(self) -> str:
        self.called.append("slow")
        await self.hold
        return "done"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def verbs(desk: Desk) -> dict[str, Any]:
    return {name: getattr(desk, name) for name in ("add", "missing", "broken", "unspeakable", "octets", "half", "slow")}


class Running:
    """A control that is open for the length of a test."""

    def __init__(self, path: Path, verbs: dict[str, Any], limits: ControlLimits | None = None) -> None:
        self.control = Control(path, reactor, verbs, limits)

    async def __aenter__(self) -> Control:
        self.control.start()
        return self.control

    async def __aexit__(self, *_: object) -> None:
        await self.control.stop()


async def asked(path: Path, verb: str, **arguments: Any) -> Any:
    return await deferToThread(call, path, verb, **arguments)


def _say(path: Path, octets: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(str(path))
        line.sendall(octets)
        heard = b""
        while more := line.recv(65536):
            heard += more
        return heard


async def test_a_verb_is_called_by_name_and_its_result_comes_back(tmp_path: Path, verbs: dict[str, Any]) -> None:
    async with Running(tmp_path / SOCKET, verbs):
        assert await asked(tmp_path / SOCKET, "add", one=1, two=40) == 41
        assert await asked(tmp_path / SOCKET, "add", one=1) == 3


async def test_an_answer_in_pieces_is_whole_and_in_order(tmp_path: Path, verbs: dict[str, Any], desk: Desk) -> None:
    pieces: list[bytes] = []
    async with Running(tmp_path / SOCKET, verbs):
        await asked(tmp_path / SOCKET, "octets", count=20, on_piece=pieces.append)
    assert b"".join(pieces) == b"".join(bytes([n]) * 65536 for n in range(20))
    assert desk.closed


async def test_our_errors_come_back_by_name_and_text(tmp_path: Path, verbs: dict[str, Any]) -> None:
    async with Running(tmp_path / SOCKET, verbs):
        with pytest.raises(Told, match="no message 0abc") as told:
            await asked(tmp_path / SOCKET, "missing", id="0abc")
        assert told.value.name == "MessageNotFound"


async def test_an_error_in_the_middle_of_pieces_is_told_after_them(tmp_path: Path, verbs: dict[str, Any]) -> None:
    pieces: list[object] = []
    async with Running(tmp_path / SOCKET, verbs):
        with pytest.raises(Told, match="gone meanwhile"):
            await asked(tmp_path / SOCKET, "half", on_piece=pieces.append)
    assert pieces == [{"first": 1}]


@pytest.mark.parametrize("verb", ["broken", "unspeakable"])
async def test_unexpected_errors_give_a_reference_and_no_text(tmp_path: Path, verbs: dict[str, Any], verb: str) -> None:
    logged: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(logged.append)
    try:
        async with Running(tmp_path / SOCKET, verbs):
            said = json.loads(await deferToThread(_say, tmp_path / SOCKET, b'{"verb": "%s"}\n' % verb.encode()))
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert said["error"] == "Unavailable"
    assert "secret" not in json.dumps(said)
    assert [one["reference"] for one in logged if "log_failure" in one] == [said["reference"]]
    assert said["reference"] in said["text"]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"add\n", "JSON"),
        (b'["add"]\n', '"verb"'),
        (b'{"verb": 3}\n', '"verb"'),
        (b'{"verb": "add", "arguments": [1]}\n', "arguments"),
        (b'{"verb": "add", "arguments": {}}\n', "one"),
        (b'{"verb": "add", "arguments": {"one": 1, "three": 3}}\n', "three"),
        (b'{"verb": "__class__"}\n', "does not know"),
        (b"[" * 900 + b"\n", "JSON"),
        (b'{"verb": "\xff"}\n', "JSON"),
        (b"x" * 5000, "at most 1000 octets"),
    ],
)
async def test_what_is_no_request_is_told_why(
    tmp_path: Path, verbs: dict[str, Any], desk: Desk, octets: bytes, words: str
) -> None:
    async with Running(tmp_path / SOCKET, verbs, ControlLimits(request=1000)):
        said = json.loads(await deferToThread(_say, tmp_path / SOCKET, octets))
    assert said["error"] == "BadSyntax"
    assert words in said["text"]
    assert desk.called == []


def test_a_request_is_the_same_however_it_is_cut() -> None:
    line = b'{"verb": "queue.show", "arguments": {"id": "0abc"}}\n'
    for size in range(1, len(line) + 1):
        wire = RequestWire(1000)
        for start in range(0, len(line), size):
            assert wire.next_event() is NEED_DATA
            wire.receive(line[start : start + size])
        assert wire.next_event() == Request("queue.show", {"id": "0abc"})


def test_a_line_without_end_is_given_up_at_the_limit_and_kept_no_longer() -> None:
    wire = RequestWire(100)
    for _ in range(100):
        wire.receive(b"x")
        assert wire.next_event() is NEED_DATA
    for _ in range(1000):
        wire.receive(b"x" * 1000)
    assert isinstance(wire.next_event(), BadRequest)
    assert len(wire._octets) == 101


def test_deep_nesting_is_no_crash() -> None:
    assert isinstance(read_request(b"[" * 200_000), BadRequest)


async def test_an_operator_who_waits_hears_that_it_goes_on(tmp_path: Path, verbs: dict[str, Any], desk: Desk) -> None:
    async with Running(tmp_path / SOCKET, verbs, ControlLimits(still=0.05)):
        waiting = deferToThread(call, tmp_path / SOCKET, "slow", seconds=0.5)
        await deferLater(reactor, 1.5)
        desk.hold.callback(None)
        assert await waiting == "done"


async def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path, verbs: dict[str, Any], desk: Desk) -> None:
    async with Running(tmp_path / SOCKET, verbs):
        with pytest.raises(MailError, match="said nothing"):
            await deferToThread(call, tmp_path / SOCKET, "slow", seconds=0.1)
        desk.hold.callback(None)


async def test_a_silent_peer_is_sent_away(tmp_path: Path, verbs: dict[str, Any]) -> None:
    async with Running(tmp_path / SOCKET, verbs, ControlLimits(patience=0.05)):
        assert await deferToThread(_say, tmp_path / SOCKET, b'{"verb"') == b""


async def test_a_reader_that_hangs_up_ends_the_pieces(tmp_path: Path, verbs: dict[str, Any], desk: Desk) -> None:
    def look_and_leave() -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(tmp_path / SOCKET))
            line.sendall(b'{"verb": "octets", "arguments": {"count": 1000000}}\n')
            line.recv(10)

    async with Running(tmp_path / SOCKET, verbs):
        await deferToThread(look_and_leave)
        for _ in range(500):
            if desk.closed:
                break
            await deferLater(reactor, 0.01)
        assert desk.closed


# --- who may speak ---------------------------------------------------------------------------------------------------


async def test_the_socket_is_for_its_owner_alone(tmp_path: Path, verbs: dict[str, Any]) -> None:
    async with Running(tmp_path / SOCKET, verbs):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
    assert not (tmp_path / SOCKET).exists()


_STRANGER = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
line = socket.socket(socket.AF_UNIX)
line.connect("control.socket")
try:
    line.sendall(b'{"verb": "add", "arguments": {"one": 1}}\\n')
except BrokenPipeError:
    pass
print(line.recv(1000).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a stranger")
async def test_a_stranger_is_turned_away_whatever_the_mode(verbs: dict[str, Any], desk: Desk) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        async with Running(folder / SOCKET, verbs):
            (folder / SOCKET).chmod(0o666)  # as if somebody had opened it by mistake
            command = [sys.executable, "-c", _STRANGER, name]
            done = await deferToThread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["error"] == "Forbidden", done.stderr
    assert desk.called == []


# --- whose socket it is ----------------------------------------------------------------------------------------------


async def test_nobody_there_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        await asked(tmp_path / SOCKET, "add", one=1)
    with pytest.raises(NotRunning):
        await asked(tmp_path / "none" / SOCKET, "add", one=1)


_KILLED = """
import os, signal, sys
from pathlib import Path
from twisted.internet import reactor
from twisted_mail_kit.control.server import Control
Control(Path(sys.argv[1]), reactor, {}).start()
reactor.callWhenRunning(lambda: os.kill(os.getpid(), signal.SIGKILL))
reactor.run()
"""


async def test_the_socket_of_a_killed_server_is_replaced(tmp_path: Path, verbs: dict[str, Any]) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path / SOCKET)]
    done = await deferToThread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / SOCKET).is_socket()
    with pytest.raises(NotRunning):
        await asked(tmp_path / SOCKET, "add", one=1)
    async with Running(tmp_path / SOCKET, verbs):
        assert await asked(tmp_path / SOCKET, "add", one=1) == 3


async def test_a_second_server_gets_a_clear_error_and_the_first_goes_on(tmp_path: Path, verbs: dict[str, Any]) -> None:
    async with Running(tmp_path / SOCKET, verbs):
        second = Control(tmp_path / SOCKET, reactor, verbs)
        with pytest.raises(ConfigurationError, match=f"another server.*process {os.getpid()}"):
            second.start()
        await second.stop()
        assert await asked(tmp_path / SOCKET, "add", one=1) == 3
    async with Running(tmp_path / SOCKET, verbs):
        assert await asked(tmp_path / SOCKET, "add", one=1) == 3


async def test_something_else_in_the_sockets_place_is_left_alone(tmp_path: Path, verbs: dict[str, Any]) -> None:
    (tmp_path / SOCKET).write_text("mine")
    with pytest.raises(ConfigurationError, match="no socket"):
        Control(tmp_path / SOCKET, reactor, verbs).start()
    assert (tmp_path / SOCKET).read_text() == "mine"
    with (tmp_path / "control.socket.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it was let go


async def test_a_folder_that_is_missing_is_a_clear_error(tmp_path: Path, verbs: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        Control(tmp_path / "none" / SOCKET, reactor, verbs).start()


async def test_a_path_too_long_for_a_sockets_address_works_too(tmp_path: Path, verbs: dict[str, Any]) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    async with Running(folder / SOCKET, verbs):
        assert (folder / SOCKET).is_socket()
        assert await asked(folder / SOCKET, "add", one=1) == 3
    assert not (folder / SOCKET).exists()


async def test_stopping_lets_a_verb_come_to_its_end(tmp_path: Path, verbs: dict[str, Any], desk: Desk) -> None:
    control = Control(tmp_path / SOCKET, reactor, verbs)
    control.start()
    waiting = asked_later(tmp_path / SOCKET, "slow")
    while not desk.called:
        await deferLater(reactor, 0.01)
    stopped = Deferred.fromCoroutine(control.stop())
    await deferLater(reactor, 0.05)
    assert not stopped.called
    desk.hold.callback(None)
    assert await waiting == "done"
    await stopped


async def test_stopping_does_not_wait_for_a_verb_for_ever(tmp_path: Path, verbs: dict[str, Any], desk: Desk) -> None:
    control = Control(tmp_path / SOCKET, reactor, verbs, ControlLimits(drain=0.1))
    control.start()
    waiting = asked_later(tmp_path / SOCKET, "slow")
    while not desk.called:
        await deferLater(reactor, 0.01)
    stopped = Deferred.fromCoroutine(control.stop())
    with pytest.raises(MailError, match="cut off"):
        await waiting
    await stopped
    desk.hold.callback(None)


async def test_a_socket_that_was_taken_away_does_not_keep_us_from_stopping(
    tmp_path: Path, verbs: dict[str, Any]
) -> None:
    control = Control(tmp_path / SOCKET, reactor, verbs)
    control.start()
    (tmp_path / SOCKET).unlink()
    await control.stop()


async def test_an_error_in_one_of_many_is_told_as_what_it_is() -> None:
    class Broken:
        async def hold(self, id: str) -> int:
            if id == "m2":
                raise MessageNotFound(id)
            raise Unavailable("the disk is full")

        def __getattr__(self, name: str) -> object:
            return None

    with pytest.raises(Unavailable, match="disk"):
        await queue_verbs(cast(Any, Broken()))["queue.hold"](ids=["m1", "m2", "m3"])


async def test_the_operators_filters_do_not_end_at_a_page() -> None:
    class Many:
        async def list(self, destination: str, *_: object) -> list[dict[str, object]]:
            *_, after, limit = _
            first = int(after or -1) + 1
            return [{"id": f"{number:05}"} for number in range(first, min(first + int(str(limit)), 1203))]

        def __getattr__(self, name: str) -> object:
            return None

    listed = queue_verbs(cast(Any, Many()))["queue.list"]
    for limit, count in ((0, 1203), (1, 1), (500, 500), (501, 501), (1202, 1202), (1203, 1203), (9999, 1203)):
        found = [one["id"] async for one in cast(Any, await listed(limit=limit))]
        assert found == [f"{number:05}" for number in range(count)]
    with pytest.raises(BadSyntax):
        await listed(limit=-1)


def asked_later(path: Path, verb: str) -> Deferred[Any]:
    return deferToThread(call, path, verb)
