"""The load generator: SMTP sessions in one asyncio loop, each sending message after message."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


@dataclass
class Load:
    """What came of it."""

    messages: int
    seconds: float
    waits: list[float]
    """Seconds from the final dot to its 250, for each message."""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    def percentile(self, percent: float) -> float:
        return sorted(self.waits)[min(len(self.waits) - 1, int(len(self.waits) * percent / 100))]


def message_of(size: int) -> bytes:
    """A message of about `size` octets, text that no one would take for a benchmark's."""
    head = (
        b"From: Ann Example <ann@example.net>\r\nTo: Joe <joe@example.org>\r\nSubject: The minutes of the meeting\r\n"
        b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d@example.net>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n" % time.monotonic_ns()
    )
    line = b"It was agreed that the harbour should have a second light before the winter.\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


async def _session(port: int, count: int, size: int, to: str, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def reply(code: bytes) -> None:
        while True:
            line = await reader.readline()
            if not line.startswith(code):
                raise SystemExit(f"expected {code!r}, got {line!r}")
            if line[3:4] != b"-":
                return

    await reply(b"220")
    writer.write(b"EHLO load.example.net\r\n")
    await reply(b"250")
    for _ in range(count):
        writer.write(b"MAIL FROM:<ann@example.net>\r\nRCPT TO:<%b>\r\nDATA\r\n" % to.encode())
        for code in (b"250", b"250", b"354"):
            await reply(code)
        writer.write(message_of(size) + b".\r\n")
        began = time.monotonic()
        await reply(b"250")
        waits.append(time.monotonic() - began)
    writer.write(b"QUIT\r\n")
    await reply(b"221")
    writer.close()


async def _all(port: int, sessions: int, messages: int, size: int, to: str) -> Load:
    waits: list[float] = []
    began = time.monotonic()
    await asyncio.gather(*(_session(port, messages // sessions, size, to, waits) for _ in range(sessions)))
    return Load(len(waits), time.monotonic() - began, waits)


def send(port: int, sessions: int, messages: int, size: int, to: str = "joe@example.org") -> Load:
    """Send `messages` of `size` octets over `sessions` at once."""
    return asyncio.run(_all(port, sessions, messages, size, to))
