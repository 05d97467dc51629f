r"""Dialogues: scripts of what a client says and a server answers, played against a protocol in memory.

A script is a text; each line begins with who acts::

    # two sessions of one mailbox
    S: * OK *
    C: a1 NOOP
    S: * 2 EXPUNGE
    S: a1 OK *
    C[bob]: b1 LOGOUT
    S[bob]: ...
    S[bob]: b1 OK *
    X[bob]:

======== ==============================================================================================================
``C:``   The client sends this line and CR LF. Lines that follow each other go out in one piece: they are pipelined.
``C-:``  As ``C:``, without the CR LF.
``S:``   The server's next line is this one. ``*`` stands for any run of octets, also none; only ``* `` (star, space) at
         the beginning of a line is meant literally, as IMAP means it.
``S: ...`` Any number of lines, up to the one that the next ``S:`` tells of (or up to the close, or the end).
``X:``   The server has closed the connection, and has said nothing more before.
``D:``   The client drops the connection, without a word.
``T: 30`` The clock goes on by 30 seconds, from timer to timer.
``P: 192.0.2.7 tls`` Before a connection's first line: the client's address (``127.0.0.1`` unless told; ``unix`` for a
         unix socket) and whether there is TLS from the beginning. Without a name: for all that follow.
======== ==============================================================================================================

``C[bob]:`` or ``C2:`` speak on a connection of that name; it opens when it is first named. In what is said,
``\r \n \t \0 \\ \xHH`` are octets; any other backslash is a backslash (``\Seen``). Text is UTF-8.

Play each script whole and octet by octet::

    @pytest.mark.parametrize("chop", [None, 1], ids=["whole", "chopped"])
    @pytest.mark.parametrize("script", scripts(Path(__file__).parent / "../dialogues/pop3"))
    async def test_dialogue(script: Path, chop: int | None) -> None:
        clock = Clock()
        factory = make_factory("mx.example.org", authenticator, certificates, POP3Settings(), clock)
        await play(script, factory, clock, chop)
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock, cooperate

from twisted_mail_kit.testing.transport import MemoryTransport

Connect = Callable[[str], Any]
"""Given a connection's name, make the server's protocol for it."""


class DialogueError(AssertionError):
    """The server said something else than the script."""


class Line(NamedTuple):
    """One line of a script."""

    number: int
    who: str
    """C S X D T or P."""
    name: str
    """The connection's; empty for the one without a name."""
    text: str
    """What is said, as it stands in the script."""
    bare: bool
    """Without CR LF."""


_LINE = re.compile(r"([CSXDTP])(?:\[([^\]]+)\]|(\d+))?(-)?:(?: (.*))?")
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([rnt0\\]))|(\*)")
_OCTETS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def read_script(text: str) -> list[Line]:
    """The lines of a script. Raises DialogueError for a line that is none."""
    lines: list[Line] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.lstrip())
        if found is None:
            raise DialogueError(f"line {number} is no line of a dialogue: {line!r}")
        who, name, digits, bare, said = found.groups()
        lines.append(Line(number, who, name or digits or "", said or "", bool(bare)))
    return lines


def octets_of(text: str) -> bytes:
    """What a ``C:`` line sends."""
    return _ESCAPE.sub(lambda found: b"*" if found[3] else _octet(found), text.encode())


def pattern_of(text: str) -> re.Pattern[bytes]:
    """What an ``S:`` line allows."""
    octets = text.encode()
    pieces: list[bytes] = []
    at = 0
    if octets.startswith(b"* "):
        pieces.append(re.escape(b"* "))
        at = 2
    for found in _ESCAPE.finditer(octets, at):
        pieces.append(re.escape(octets[at : found.start()]))
        pieces.append(b".*" if found[3] else re.escape(_octet(found)))
        at = found.end()
    pieces.append(re.escape(octets[at:]))
    return re.compile(b"".join(pieces), re.DOTALL)


def _octet(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else _OCTETS[found[2]]


class _Connection:
    """One connection of a dialogue: what has come on it, and what was said."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self.heard = bytearray()
        self.said: list[str] = []
        self.skip_to_match = False

    def next_line(self) -> bytes | None:
        self.heard += self.transport.take()
        end = self.heard.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self.heard[:end])
        del self.heard[: end + 2]
        return line


class Dialogue:
    """Plays scripts, one after the other, on connections that stay open between them; `end` drops them all.

    `connect` is a factory, or makes the server's protocol for a connection's name. `chop` cuts what the client says
    into pieces of so many octets. `seconds` is how long, in real time, an expected line may take to come: doors that
    answer from a thread are waited for while the reactor runs. Where all doors answer at once no reactor is needed.
    """

    def __init__(
        self,
        connect: Connect | IProtocolFactory,
        clock: Clock | None = None,
        chop: int | None = None,
        *,
        seconds: float = 5.0,
        peer: str = "127.0.0.1",
        tls: bool = False,
    ) -> None:
        self.connections: dict[str, _Connection] = {}
        self._connect = connect
        self._clock = clock
        self._chop = chop
        self._seconds = seconds
        self._peers: dict[str, tuple[str, bool]] = {"": (peer, tls)}
        self._script = "dialogue"

    async def play(self, script: str | Path) -> None:
        """Play a script: a file, or the text itself. Raises DialogueError at the first line that differs."""
        text = script
        if isinstance(script, Path):
            self._script = str(script)
            text = script.read_text("utf-8")
        lines = read_script(str(text))
        at = 0
        while at < len(lines):
            line = lines[at]
            at += 1
            if line.who == "P":
                host, _, how = line.text.partition(" ")
                self._peers[line.name] = ("" if host == "unix" else host, how.strip() == "tls")
                continue
            if line.who == "T":
                await self._pass_time(float(line.text), line)
                continue
            connection = self._connection(line)
            if line.who == "C":
                octets = octets_of(line.text) + (b"" if line.bare else b"\r\n")
                connection.said.append(f"C: {line.text}")
                while at < len(lines) and lines[at].who == "C" and lines[at].name == line.name:
                    connection.said.append(f"C: {lines[at].text}")
                    octets += octets_of(lines[at].text) + (b"" if lines[at].bare else b"\r\n")
                    at += 1
                if connection.transport.disconnecting or connection.transport.is_closed():
                    raise self._error(line, connection, f"C: {line.text}", "(the server has closed the connection)")
                connection.transport.send(octets, self._chop)
                self._turn_transports()
            elif line.who == "S" and line.text == "...":
                connection.skip_to_match = True
            elif line.who == "S":
                await self._expect(line, connection)
            elif line.who == "X":
                await self._expect_close(line, connection)
            else:
                await self._turns(2)
                connection.transport.drop()
                await self._turns(2)
        for connection in self.connections.values():
            self._expect_silence(lines[-1] if lines else Line(0, "S", "", "", False), connection)

    def transport(self, name: str = "") -> MemoryTransport:
        """The transport of a connection that was opened."""
        return self.connections[name].transport

    async def end(self) -> None:
        """Drop what is still open."""
        for connection in self.connections.values():
            connection.transport.drop()
        self._turn_transports()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _connection(self, line: Line) -> _Connection:
        connection = self.connections.get(line.name)
        if connection is None:
            host, tls = self._peers.get(line.name) or self._peers[""]
            transport = MemoryTransport(host, tls=tls)
            connection = self.connections[line.name] = _Connection(transport)
            if IProtocolFactory.providedBy(self._connect):
                protocol = self._connect.buildProtocol(transport.peer)
            else:
                protocol = self._connect(line.name)
            if protocol is None:
                raise self._error(line, connection, "a connection", "(the factory wants none)")
            transport.connect(protocol)
        return connection

    async def _expect(self, line: Line, connection: _Connection) -> None:
        pattern = pattern_of(line.text)
        skipped: list[bytes] = []
        while True:
            came = await self._line(connection)
            if came is None:
                closed = "(the server closed the connection)" if connection.transport.is_closed() else "(nothing)"
                rest = [*skipped, bytes(connection.heard)] if connection.heard else skipped
                raise self._error(line, connection, f"S: {line.text}", "\n      ".join([*map(_show, rest), closed]))
            if pattern.fullmatch(came):
                connection.skip_to_match = False
                connection.said.append(f"S: {_show(came)}")
                return
            if not connection.skip_to_match:
                raise self._error(line, connection, f"S: {line.text}", f"S: {_show(came)}")
            skipped.append(came)

    async def _line(self, connection: _Connection) -> bytes | None:
        for _ in self._patience():
            line = connection.next_line()
            if line is not None:
                return line
            self._turn_transports()
            line = connection.next_line()
            if line is not None or connection.transport.is_closed():
                return line
            await _reactor_turn()
        return None

    async def _expect_close(self, line: Line, connection: _Connection) -> None:
        for _ in self._patience():
            if connection.skip_to_match:
                connection.transport.take()
                connection.heard.clear()
            self._expect_silence(line, connection, "X: (closed)")
            self._turn_transports()
            if connection.transport.is_closed():
                connection.skip_to_match = False
                return
            await _reactor_turn()
        raise self._error(line, connection, "X: (closed)", "(it is still open)")

    def _expect_silence(self, line: Line, connection: _Connection, expected: str = "(nothing more)") -> None:
        connection.heard += connection.transport.take()
        if connection.heard and not connection.skip_to_match:
            raise self._error(line, connection, expected, f"S: {_show(bytes(connection.heard))}")

    async def _pass_time(self, seconds: float, line: Line) -> None:
        clock = self._clock
        if clock is None:
            raise DialogueError(f"{self._script}, line {line.number}: there is no clock to advance")
        await self._turns(2)
        until = clock.seconds() + seconds
        # From timer to timer: one leap would ring late those that are set on the way.
        while True:
            due = [call.getTime() for call in clock.getDelayedCalls() if call.getTime() <= until]
            if not due:
                break
            clock.advance(max(0.0, min(due) - clock.seconds()))
            await self._turns(1)
        clock.advance(until - clock.seconds())
        await self._turns(1)

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            for connection in self.connections.values():
                connection.heard += connection.transport.take()
            self._turn_transports()

    def _turn_transports(self) -> None:
        if self._clock is not None:
            self._clock.advance(0)
        for connection in list(self.connections.values()):
            if connection.transport.protocol is not None:
                if connection.transport.disconnecting:
                    connection.heard += connection.transport.take()
                connection.transport.turn()

    def _patience(self) -> Iterator[None]:
        # A server that answers at once is not to wait for the first tick of the real clock.
        end = time.monotonic() + self._seconds
        yield
        while time.monotonic() < end:
            yield

    def _error(self, line: Line, connection: _Connection, expected: str, came: str) -> DialogueError:
        before = "".join(f"\n    {said}" for said in connection.said[-8:])
        name = f" on connection {line.name}" if line.name else ""
        where = f"{self._script}, line {line.number}{name}"
        return DialogueError(f"{where}\n  before:{before}\n  expected:\n    {expected}\n  came:\n    {came}")


async def play(
    script: str | Path,
    connect: Connect | IProtocolFactory,
    clock: Clock | None = None,
    chop: int | None = None,
    *,
    seconds: float = 5.0,
    peer: str = "127.0.0.1",
    tls: bool = False,
) -> None:
    """Play one script, and drop what it leaves open. See `Dialogue`."""
    dialogue = Dialogue(connect, clock, chop, seconds=seconds, peer=peer, tls=tls)
    try:
        await dialogue.play(script)
    finally:
        await dialogue.end()


def scripts(folder: Path) -> list[Any]:
    """The ``*.txt`` scripts of a folder as parameters for pytest, with their names as ids; at least one."""
    import pytest

    found = sorted(folder.resolve().glob("*.txt"))
    if not found:
        raise DialogueError(f"{folder}: no scripts")
    return [pytest.param(path, id=path.stem) for path in found]


async def _reactor_turn() -> None:
    # `cooperate` finds the running reactor by itself.
    await cooperate(iter([None])).whenDone()


def _show(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace").replace("\r", "\\r").replace("\n", "\\n")
