"""The load of SMTP and LMTP sessions, each sending message after message."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bench.drive import ONE, THREE, Line, Story, drive
from bench.table import percentile
from bench.text import message_of


@dataclass
class Load:
    """What came of it."""

    began: float
    """By time.monotonic: all sessions were greeted then."""
    seconds: float = 0.0
    """From there to the last 250."""
    generator: float = 0.0
    """CPU seconds that the generator took."""
    waits: list[float] = field(default_factory=list)
    """Seconds from the final dot to its 250, for each message."""

    @property
    def messages(self) -> int:
        return len(self.waits)

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    def percentile(self, percent: float) -> float:
        return percentile(self.waits, percent)


def send(
    port: int,
    sessions: int,
    messages: int,
    size: int,
    to: str = "joe@example.org",
    *,
    seconds: float = float("inf"),
    hello: bytes = b"EHLO",
) -> Load:
    """Send `messages` of `size` octets over `sessions` at once, or as many as there are until `seconds` are over.

    MAIL, RCPT and DATA go in one write, to every server alike. With LHLO for `hello` it is LMTP.
    """
    message_of(size)  # so that the supply is there before the clock starts
    envelope = b"MAIL FROM:<ann@example.net>\r\nRCPT TO:<%b>\r\nDATA\r\n" % to.encode()
    lines = [Line(port) for _ in range(sessions)]
    left = messages

    def greet(line: Line) -> Story:
        yield b"", ONE
        yield hello + b" load.example.net\r\n", ONE

    def send_all(line: Line) -> Story:
        nonlocal left
        while left > 0 and time.monotonic() < until:
            left -= 1
            yield envelope, THREE
            message = message_of(size) + b".\r\n"
            sent = time.monotonic()
            yield message, ONE
            load.waits.append(time.monotonic() - sent)

    def leave(line: Line) -> Story:
        yield b"QUIT\r\n", ONE

    try:
        drive(lines, greet)
        load = Load(time.monotonic())
        until, cpu = load.began + seconds, time.process_time()
        drive(lines, send_all)
        load.seconds = time.monotonic() - load.began
        load.generator = time.process_time() - cpu
        drive(lines, leave)
    finally:
        for line in lines:
            line.close()
    return load
