"""Many conversations at once over one epoll: what the load generators are made of.

A conversation is a generator. It yields what to send and how to know that the answer is whole, and gets the answer.
There is no parsing and no object a line, so that the generator is not what is measured.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Generator, Iterable

IsWhole = Callable[[bytearray], bool]
Story = Generator[tuple[bytes, IsWhole], bytes, None]


class Unexpected(Exception):
    """A server said something else than the benchmark needs."""


def replies(count: int) -> IsWhole:
    """So many SMTP or LMTP replies, each with a 2 or a 3 in front."""

    def is_whole(heard: bytearray) -> bool:
        if heard[-1:] != b"\n":
            return False
        lines = heard.splitlines()
        final = [line for line in lines if line[3:4] != b"-"]
        for line in final:
            if line[:1] not in b"23":
                raise Unexpected(heard.decode("utf-8", "replace"))
        return len(final) >= count

    return is_whole


ONE, THREE = replies(1), replies(3)


def tagged(tag: bytes) -> IsWhole:
    """IMAP's answer to the command of that tag, which has to be OK."""
    ok, tag = tag + b" OK", tag + b" "

    def is_whole(heard: bytearray) -> bool:
        if heard[-2:] != b"\r\n":
            return False
        last = heard[heard.rfind(b"\r\n", 0, len(heard) - 2) + 2 if heard.count(b"\r\n") > 1 else 0 :]
        if last.startswith(tag) and not last.startswith(ok):
            raise Unexpected(last.decode("utf-8", "replace"))
        return last.startswith(ok)

    return is_whole


class Line:
    """A connection and where its conversation is."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.heard = bytearray()
        self.unsent = memoryview(b"")
        self.is_whole = ONE

    def close(self) -> None:
        self.socket.close()


def drive(lines: Iterable[Line], tell: Callable[[Line], Story], timeout: float = 120.0) -> None:
    """Carry on all conversations until each has ended. The connections stay open."""
    poll = select.epoll()
    stories: dict[int, tuple[Line, Story]] = {}
    try:
        for line in lines:
            number = line.socket.fileno()
            poll.register(number, select.EPOLLIN)
            stories[number] = line, tell(line)
            _go_on(poll, line, stories, None)
        while stories:
            events = poll.poll(timeout)
            if not events:
                raise Unexpected(f"no answer on {len(stories)} connections within {timeout:.0f} seconds")
            for number, event in events:
                line, _ = stories[number]
                if event & select.EPOLLOUT:
                    _send(poll, line)
                if event & ~select.EPOLLOUT and number in stories:
                    octets = line.socket.recv(1 << 18)
                    if not octets:
                        raise Unexpected(f"the server hung up after {bytes(line.heard[-300:])!r}")
                    line.heard += octets
                    if line.is_whole(line.heard):
                        heard = bytes(line.heard)
                        line.heard.clear()
                        _go_on(poll, line, stories, heard)
    finally:
        poll.close()


def _go_on(poll: select.epoll, line: Line, stories: dict[int, tuple[Line, Story]], heard: bytes | None) -> None:
    number = line.socket.fileno()
    story = stories[number][1]
    try:
        octets, line.is_whole = next(story) if heard is None else story.send(heard)
    except StopIteration:
        poll.unregister(number)
        del stories[number]
        return
    line.unsent = memoryview(octets)
    if octets:
        _send(poll, line)


def _send(poll: select.epoll, line: Line) -> None:
    had_to_wait = False
    try:
        while line.unsent:
            line.unsent = line.unsent[line.socket.send(line.unsent) :]
    except BlockingIOError:
        had_to_wait = True
    poll.modify(line.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if had_to_wait else 0))
