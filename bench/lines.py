"""A client's line to an IMAP or POP3 server, on a raw socket: nothing is parsed but where an answer ends."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Sequence

from bench.drive import Unexpected

_buffer = bytearray(1 << 18)
"""All lines', one after the other: ten thousand of them are open at once."""


class IMAPLine:
    """One session, lockstep: a question, and all octets until its answer is whole."""

    def __init__(self, port: int, user: str = "joe@example.org", tls: ssl.SSLContext | None = None) -> None:
        self._tags = itertools.count(1)
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)
        self._until(b"* OK")
        self.ask(b"LOGIN %b secret" % user.encode())

    def ask(self, command: bytes) -> bytes:
        """The answer's last 64 KB or so. Raises Unexpected unless it is OK."""
        tag = b"t%d" % next(self._tags)
        self.socket.sendall(b"%b %b\r\n" % (tag, command))
        return self._until(b"\r\n" + tag + b" ", tag + b" ")[0]

    def drink(self, command: bytes) -> int:
        """How many octets the answer had."""
        tag = b"t%d" % next(self._tags)
        self.socket.sendall(b"%b %b\r\n" % (tag, command))
        return self._until(b"\r\n" + tag + b" ", tag + b" ")[1]

    def append(self, mailbox: bytes, messages: Sequence[bytes]) -> None:
        """APPEND, several at once where there are several (RFC 3502), without waiting for leave (RFC 7888)."""
        tag = b"t%d" % next(self._tags)
        parts = [b"%b APPEND %b" % (tag, mailbox)]
        for message in messages:
            parts.append(b" {%d+}\r\n%b" % (len(message), message))
        self.socket.sendall(b"".join(parts) + b"\r\n")
        self._until(b"\r\n" + tag + b" ", tag + b" ")

    def count(self, mailbox: bytes = b"INBOX") -> int:
        """How many messages a reader finds there."""
        answer = self.ask(b"STATUS %b (MESSAGES)" % mailbox)
        return int(answer.rpartition(b"(MESSAGES ")[2].partition(b")")[0])

    def idle(self) -> None:
        """Begin to wait (RFC 2177)."""
        self.socket.sendall(b"i IDLE\r\n")
        self._until(b"\r\n+ ", b"+ ")

    def close(self) -> None:
        self.socket.close()

    def _until(self, sign: bytes, at_once: bytes = b"\0") -> tuple[bytes, int]:
        """Read until a line that begins so is whole: its octets, with some before it, and how many there were."""
        total, tail = 0, b""
        while True:
            got = self.socket.recv_into(_buffer)
            if not got:
                raise Unexpected(f"the server hung up after {tail[-300:]!r}")
            total += got
            tail = tail[-65_536:] + _buffer[:got]
            if not tail.endswith(b"\r\n"):
                continue
            start = tail.rfind(b"\r\n", 0, len(tail) - 2)
            last = tail[start if start >= 0 else 0 :]
            if last.startswith((sign, at_once)) or (start < 0 and last.startswith(sign.lstrip(b"\r\n"))):
                if b" OK" not in last and b"+ " not in last:
                    raise Unexpected(last.decode("utf-8", "replace"))
                return tail, total


class POP3Line:
    """One session, logged in."""

    def __init__(self, port: int, user: str = "joe@example.org") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line(b"")
        self._line(b"USER %b\r\n" % user.encode())
        self._line(b"PASS secret\r\n")

    def stat(self) -> int:
        """How many messages there are."""
        return int(self._line(b"STAT\r\n").split()[1])

    def retrieve(self, numbers: Sequence[int]) -> int:
        """RETR of all of them in one write; how many octets the answers had."""
        self.socket.sendall(b"".join(b"RETR %d\r\n" % number for number in numbers))
        left, total, tail = len(numbers), 0, b""
        while left:
            got = self.socket.recv_into(_buffer)
            if not got:
                raise Unexpected("the server hung up")
            total += got
            heard = tail + _buffer[:got]
            left -= heard.count(b"\r\n.\r\n")
            tail = heard[-4:]
        return total

    def quit(self) -> None:
        self._line(b"QUIT\r\n")
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def _line(self, command: bytes) -> bytes:
        self.socket.sendall(command)
        heard = b""
        while not heard.endswith(b"\r\n"):
            octets = self.socket.recv(4096)
            if not octets:
                raise Unexpected(f"the server hung up after {command!r}")
            heard += octets
        if not heard.startswith(b"+OK"):
            raise Unexpected(heard.decode("utf-8", "replace"))
        return heard
