"""The server's ears for one IMAP connection: octets in, events out."""

from __future__ import annotations

from enum import Enum, auto

from twisted_mail_kit.imap.wire.commands import Append, Idle, StartTls
from twisted_mail_kit.imap.wire.events import (
    AppendEnd,
    BadCommand,
    ContinuationNeeded,
    Done,
    Event,
    Literal,
    Response,
)
from twisted_mail_kit.imap.wire.limits import WireLimits
from twisted_mail_kit.imap.wire.literals import Announcement, announcement
from twisted_mail_kit.imap.wire.parser import (
    AppendHead,
    decode_base64,
    parse_append_head,
    parse_command,
    read_name,
)
from twisted_mail_kit.imap.wire.reader import Bad, Reader, read_tag
from twisted_mail_kit.net.inbox import NEED_DATA, Signal


class _Hearing(Enum):
    """What the next octets are."""

    LINE = auto()  # of a command: its first, or one after a literal
    LITERAL = auto()  # of a command
    REFUSED_LITERAL = auto()  # to be thrown away
    DECISION = auto()  # nothing is read: the session has to accept or refuse APPEND's message
    MESSAGE = auto()  # APPEND's
    RESPONSE = auto()  # a line of a SASL exchange
    IDLE = auto()  # DONE
    PAUSE = auto()  # nothing is read: STARTTLS
    END = auto()  # nothing is read any more: a fatal BadCommand was given


class IMAPWire:
    """Pure: no transport, no clock. Never raises for what a client sends. See `wire/events.py` for the ways it goes.

    A command is gathered whole, with its literals, and read once. In memory there is never more than one command
    (`WireLimits.command`) and what came after it in the same reads.
    """

    __slots__ = (
        "_buffer",
        "_hearing",
        "_is_append",
        "_is_message_over",
        "_is_silent",
        "_line_size",
        "_missing",
        "_parts",
        "_problem",
        "_searched",
        "_size",
        "_tag",
        "_waits",
        "limits",
        "utf8",
    )

    def __init__(self, limits: WireLimits | None = None, utf8: bool = False) -> None:
        self.limits = limits or WireLimits()
        """May be replaced between two commands: less before login, for one."""
        self.utf8 = utf8
        """RFC 6855: mailbox names are UTF-8 instead of modified UTF-7; set by the session after ENABLE."""
        self._hearing = _Hearing.LINE
        self._buffer = bytearray()
        self._searched = 0  # no line end before here in the buffer
        self._tag: bytes | None = None  # of the command that is being heard, or done
        self._parts: list[bytes] = []  # lines and literals of the command so far
        self._line_size = 0  # octets of its lines
        self._size = 0  # octets of all
        self._missing = 0  # octets of the literal that are still to come
        self._waits = False
        self._is_append = False
        self._is_message_over = False  # the line that comes is what follows APPEND's message
        self._problem: BadCommand | None = None  # to be told when the command is over
        self._is_silent = False  # the command was answered already: say nothing when it is over

    # --- for the inbox ---------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        """Take what came."""
        if self._hearing is not _Hearing.END:
            self._buffer += octets

    def next_event(self) -> Event | Signal:
        """The next event, or NEED_DATA."""
        while True:
            hearing = self._hearing
            event: Event | Signal | None
            if hearing is _Hearing.LINE:
                event = self._hear_line()
            elif hearing is _Hearing.LITERAL:
                event = self._hear_literal()
            elif hearing is _Hearing.REFUSED_LITERAL:
                event = self._hear_refused_literal()
            elif hearing is _Hearing.MESSAGE:
                event = self._hear_message()
            elif hearing is _Hearing.IDLE:
                event = self._hear_done()
            elif hearing is _Hearing.RESPONSE:
                event = self._hear_response()
            elif hearing is _Hearing.DECISION:
                raise RuntimeError("accept_literal or refuse_literal comes first")
            else:
                return NEED_DATA
            if event is not None:
                return event

    # --- for the session -------------------------------------------------------------------------------------------

    @property
    def has_leftover(self) -> bool:
        """Octets are here that are in no event yet: the client is pipelining, or in the middle of a line."""
        return bool(self._buffer)

    @property
    def literal_waits(self) -> bool:
        """After `Append`: the client waits for a continuation before it sends the message (it is no LITERAL+)."""
        return self._waits

    def accept_literal(self) -> bool:
        """After `Append`: let the message come. True: the client waits, send it a continuation first."""
        self._decide()
        self._hearing = _Hearing.MESSAGE
        return self._waits

    def refuse_literal(self) -> None:
        """After `Append`: the session says NO (now). A message that comes nevertheless is read and thrown away."""
        self._decide()
        if self._waits:
            self._begin()
        else:
            self._is_silent = True
            self._hearing = _Hearing.REFUSED_LITERAL

    def expect_response(self) -> None:
        """After `Authenticate`, and each `Response` but the last: the next line is the client's response."""
        self._hearing = _Hearing.RESPONSE

    def resume(self) -> None:
        """After `Idle` or `StartTls` that was refused, or an IDLE ended by the server: commands come next."""
        if self._hearing in (_Hearing.IDLE, _Hearing.PAUSE):
            self._begin()

    # --- octets ----------------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        with memoryview(self._buffer) as view:
            octets = bytes(view[:size])
        del self._buffer[:size]  # moves nothing as a rule: a bytearray has a logical start
        self._searched = 0
        return octets

    def _take_line(self) -> bytes | Event | Signal:
        """A line with its end, NEED_DATA, or a fatal event. What is too long does not depend on how it was cut."""
        room = self.limits.line - self._line_size
        end = self._buffer.find(b"\n", self._searched, room) + 1
        if end:
            self._line_size += end
            return self._take(end)
        self._searched = min(len(self._buffer), room)
        if len(self._buffer) <= room:
            return NEED_DATA
        if self._hearing is _Hearing.LINE and not self._line_size:
            self._tag = read_tag(bytes(self._buffer[:256]))
        return self._give_up(Bad("The line is too long", b"TOOBIG", limit="line"))

    # --- lines of commands -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A new command comes next."""
        self._hearing = _Hearing.LINE
        self._parts = []
        self._line_size = self._size = 0
        self._is_append = self._is_message_over = self._is_silent = False
        self._problem = None

    def _hear_line(self) -> Event | Signal | None:
        if not self._line_size:
            # Hot path: one command, whole, and nothing after it.
            buffer = self._buffer
            if not buffer:
                return NEED_DATA
            size = len(buffer)
            if (
                buffer.endswith(b"\r\n")
                and not buffer.endswith(b"}\r\n")
                and size <= self.limits.line
                and buffer.find(b"\n", self._searched) == size - 1
            ):
                self._parts.append(self._take(size))
                return self._finish()
        line = self._take_line()
        if not isinstance(line, bytes):
            return line
        is_first = self._line_size == len(line)
        if is_first:
            self._tag = read_tag(line)
        announced = announcement(line)
        if not line.endswith(b"\r\n"):
            # RFC 3501 2.2: lines end with CR LF. Where a literal was meant, nobody knows what is a command any more.
            if announced:
                return self._give_up(Bad("Lines end with CR LF"))
            self._doom(Bad("Lines end with CR LF"))
        elif self._is_message_over and line != b"\r\n":
            self._doom(Bad("There is more than the command takes"))
        self._parts.append(line)
        self._size += len(line)
        if announced:
            if is_first:
                self._check_name(line)
            return self._hear_announcement(announced)
        return self._finish()

    def _check_name(self, line: bytes) -> None:
        """Before a literal is let in: is it for a command that there is?"""
        reader = Reader(line, self.limits)
        try:
            reader.tag()
            self._is_append = read_name(reader) is None
        except Bad as problem:
            self._doom(problem)

    def _finish(self) -> Event | None:
        """The command is whole."""
        parts, problem = self._parts, self._problem
        is_silent, is_message_over = self._is_silent, self._is_message_over
        self._begin()
        if is_silent:
            return None
        if problem is not None:
            return problem
        if is_message_over:
            return AppendEnd()
        octets = parts[0] if len(parts) == 1 else b"".join(parts)
        try:
            command = parse_command(octets[:-2], self.limits, self.utf8)
        except Bad as bad:
            if len(parts) == 1:
                self._tag = read_tag(octets)
            return self._bad(bad)
        self._tag = command.tag
        if isinstance(command, Idle):
            self._hearing = _Hearing.IDLE
        elif isinstance(command, StartTls):
            self._hearing = _Hearing.PAUSE
        return command

    # --- literals --------------------------------------------------------------------------------------------------

    def _hear_announcement(self, announced: Announcement) -> Event | None:
        size, waits = announced.size, announced.waits
        self._missing = size
        if self._is_append and self._problem is None and not self._is_message_over:
            head = self._read_append_head(announced)
            if head is not None:
                return self._hear_message_announcement(head, announced)
        if announced.is_binary:
            self._doom(Bad("Binary literals are not taken here"))
        if self._problem is not None or self._is_silent:
            if waits:
                return self._finish()  # told before the literal is sent, so it is not sent
            if size > max(self.limits.literal, self.limits.message if self._is_append else 0):
                return self._give_up(Bad("The literal is too big", b"TOOBIG", limit="literal"))
            self._parts = []
            self._hearing = _Hearing.REFUSED_LITERAL
            return None
        if size > self.limits.literal or self._size + size > self.limits.command:
            # RFC 7888 4: what was not asked for cannot be refused; reading it only to throw it away is work for free.
            if not waits:
                return self._give_up(Bad("The literal is too big", b"TOOBIG", limit="literal"))
            self._doom(Bad("The literal is too big", b"TOOBIG", limit="literal"))
            return self._finish()
        self._hearing = _Hearing.LITERAL
        return ContinuationNeeded() if waits else None

    def _hear_literal(self) -> Signal | None:
        if len(self._buffer) < self._missing:
            return NEED_DATA
        self._parts.append(self._take(self._missing))
        self._size += self._missing
        self._hearing = _Hearing.LINE
        return None

    def _hear_refused_literal(self) -> Signal | None:
        here = min(self._missing, len(self._buffer))
        del self._buffer[:here]
        self._missing -= here
        if self._missing:
            return NEED_DATA
        self._hearing = _Hearing.LINE
        return None

    # --- APPEND ----------------------------------------------------------------------------------------------------

    def _read_append_head(self, announced: Announcement) -> AppendHead | None:
        before = b"".join((*self._parts[:-1], self._parts[-1][: announced.start]))
        try:
            return parse_append_head(before, self.limits, self.utf8)
        except Bad as problem:
            self._doom(problem)
            return None

    def _hear_message_announcement(self, head: AppendHead, announced: Announcement) -> Event | None:
        self._is_message_over = True  # whatever comes after it is not read by the grammar
        self._parts = []
        if announced.size > self.limits.message:
            if not announced.waits:
                return self._give_up(Bad("The message is too big", b"TOOBIG", limit="message"))
            self._doom(Bad("The message is too big", b"TOOBIG", b"NO", limit="message"))
            return self._finish()
        if announced.is_binary:
            return self._hear_announcement(announced)
        self._waits = announced.waits
        self._hearing = _Hearing.DECISION
        assert self._tag is not None
        return Append(self._tag, head.mailbox, head.flags, head.internal_date, announced.size)

    def _decide(self) -> None:
        if self._hearing is not _Hearing.DECISION:
            raise RuntimeError("No literal of APPEND waits for a decision")

    def _hear_message(self) -> Event | Signal:
        if self._missing and not self._buffer:
            return NEED_DATA
        octets = self._take(min(self._missing, len(self._buffer)))
        self._missing -= len(octets)
        if not self._missing:
            self._hearing = _Hearing.LINE
        return Literal(octets, last=not self._missing)

    # --- lines between commands ------------------------------------------------------------------------------------

    def _hear_done(self) -> Event | Signal:
        line = self._take_answer()
        if not isinstance(line, bytes):
            return line
        if line.upper() == b"DONE\r\n":
            return Done()
        return self._bad(Bad("IDLE ends with DONE"))

    def _hear_response(self) -> Event | Signal:
        line = self._take_answer()
        if not isinstance(line, bytes):
            return line
        if line == b"*\r\n":
            return Response(None)
        try:
            if not line.endswith(b"\r\n"):
                raise Bad("Lines end with CR LF")
            return Response(decode_base64(line[:-2]))
        except Bad as problem:
            return self._bad(problem)

    def _take_answer(self) -> bytes | Event | Signal:
        line = self._take_line()
        if isinstance(line, bytes):
            announced = announcement(line)
            if announced and not announced.waits:
                # A command at the wrong time; its literal is on the way and must not be read as commands.
                return self._give_up(Bad("A command comes too early"))
            self._begin()
        return line

    # --- problems --------------------------------------------------------------------------------------------------

    def _bad(self, problem: Bad, fatal: bool = False) -> BadCommand:
        return BadCommand(self._tag, problem.text, problem.code, fatal, problem.status, problem.limit)

    def _doom(self, problem: Bad) -> None:
        """The command is not done; say why (the first reason) when all of it is here."""
        if self._problem is None:
            self._problem = self._bad(problem)

    def _give_up(self, problem: Bad) -> BadCommand:
        self._begin()
        self._hearing = _Hearing.END
        self._buffer.clear()
        return self._bad(problem, fatal=True)
