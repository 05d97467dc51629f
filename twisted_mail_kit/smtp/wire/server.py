"""The server's wire: octets to commands, AUTH responses and message octets, whatever may come now."""

from __future__ import annotations

from enum import Enum

from twisted_mail_kit.net.inbox import NEED_DATA, Signal
from twisted_mail_kit.smtp.wire.commands import BadLine, Bdat, Content, Event, Response
from twisted_mail_kit.smtp.wire.data import DotReader
from twisted_mail_kit.smtp.wire.parser import parse_command
from twisted_mail_kit.smtp.wire.replies import reply

_TOO_LONG = BadLine(reply(500, "5.5.2", "Line too long"), is_too_long=True)
_BARE_LF = BadLine(reply(500, "5.5.2", "Lines end in CR LF"))
_FLOOD = 64 * 1024
"""A line without end is told of again each time that so many octets have been thrown away."""


class _Mode(Enum):
    COMMAND = "a command line"
    RESPONSE = "a line of an AUTH exchange"
    DATA = "a message up to the dot"
    CHUNK = "the octets of one BDAT"


class ServerWire:
    """Give it octets as they come; ask it for events until it needs more."""

    def __init__(self, line_length: int = 2048, response_length: int = 12288) -> None:
        self._line_length = line_length
        self._response_length = response_length
        self._mode = _Mode.COMMAND
        self._octets = b""
        self._at = 0
        """What is before this in `_octets` has been heard."""
        self._looked = 0
        """There is no LF between `_at` and this."""
        self._thrown: int | None = None
        """Octets of an overlong line that were thrown away since it was told of."""
        self._dots = DotReader()
        self._left = 0

    def receive(self, octets: bytes) -> None:
        """Take what came."""
        if self._at == len(self._octets):
            self._octets = octets
        else:
            self._octets = self._octets[self._at :] + octets
        self._looked -= self._at
        self._at = 0
        if self._looked < 0:
            self._looked = 0

    def has_more(self) -> bool:
        """Octets are here that no event has told of."""
        return self._at < len(self._octets)

    def expect_data(self) -> None:
        """354 was said: a message comes next, up to CR LF . CR LF."""
        self._mode = _Mode.DATA
        self._dots = DotReader()

    def expect_response(self) -> None:
        """334 was said: one line of an AUTH exchange comes next."""
        self._mode = _Mode.RESPONSE

    def next_event(self) -> Event | Signal:
        """The next whole event."""
        if self._mode is _Mode.DATA:
            return self._next_data()
        if self._mode is _Mode.CHUNK:
            return self._next_chunk()
        return self._next_line()

    def _next_data(self) -> Event | Signal:
        if self._at == len(self._octets):
            return NEED_DATA
        octets = self._rest()
        content, behind = self._dots.take(octets)
        if behind is not None:
            self._mode = _Mode.COMMAND
            self._octets = behind
            return Content(content, True)
        return Content(content, False) if content else NEED_DATA

    def _next_chunk(self) -> Event | Signal:
        if self._at == len(self._octets) and self._left:
            return NEED_DATA
        octets = self._rest()
        if len(octets) < self._left:
            self._left -= len(octets)
            return Content(octets, False)
        self._mode = _Mode.COMMAND
        self._octets = octets[self._left :]
        return Content(octets[: self._left], True)

    def _rest(self) -> bytes:
        octets = self._octets[self._at :] if self._at else self._octets
        self._octets = b""
        self._at = self._looked = 0
        return octets

    def _next_line(self) -> Event | Signal:
        octets, at = self._octets, self._at
        end = octets.find(b"\n", max(at, self._looked))
        if self._thrown is not None:
            return self._throw_away(end)
        if end < 0:
            self._looked = len(octets)
            if len(octets) - at > self._longest(at):
                self._thrown = 0
                self._rest()
                return self._told(_TOO_LONG)
            return NEED_DATA
        self._at = self._looked = end + 1
        if end + 1 - at > self._line_length and end + 1 - at > self._longest(at):
            return self._told(_TOO_LONG)
        if octets[end - 1 : end] != b"\r" or end == at:
            return self._told(_BARE_LF)
        line = octets[at : end - 1]
        if self._mode is _Mode.RESPONSE:
            return self._told(Response(line))
        command = parse_command(line)
        if type(command) is Bdat:
            self._mode = _Mode.CHUNK
            self._left = command.size
        return command

    def _throw_away(self, end: int) -> Event | Signal:
        assert self._thrown is not None
        if end >= 0:
            self._at = self._looked = end + 1
            self._thrown = None
            return self._next_line()
        self._thrown += len(self._rest())
        if self._thrown < _FLOOD:
            return NEED_DATA
        self._thrown = 0
        return _TOO_LONG

    def _told(self, event: Event) -> Event:
        self._mode = _Mode.COMMAND
        return event

    def _longest(self, at: int) -> int:
        # RFC 4954 4 asks for 12,288 octets in AUTH, which SASL needs; nothing else comes near 2,048.
        if self._mode is _Mode.RESPONSE or self._octets[at : at + 5].upper() == b"AUTH ":
            return self._response_length
        return self._line_length
