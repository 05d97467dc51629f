"""Asking a running server over its control socket: the standard library's sockets alone, so that it is quick."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted_mail_kit.control.place import short_address
from twisted_mail_kit.errors import MailError

Piece = Callable[[Any], None]
"""Is given each item, or run of octets, of an answer that comes in pieces."""


class NotRunning(MailError):
    """Nobody listens on the socket: no server runs with this state folder."""


class Told(MailError):
    """The server's own error: `name` is that of a class in `twisted_mail_kit.errors`, as a rule."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def call(path: Path, verb: str, *, on_piece: Piece | None = None, seconds: float = 60.0, **arguments: object) -> Any:
    """Ask, wait for the answer, and give its result; blocks, but for at most `seconds` without a word.

    Raises NotRunning, Told, and MailError where the answer is cut off.
    """
    question = json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n"
    with _connect(path, seconds) as line, line.makefile("rb") as answers:
        try:
            line.sendall(question)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have said why, before it hung up
        while True:
            said = _next(answers, seconds)
            if "error" in said:
                raise Told(str(said["error"]), str(said.get("text", "")))
            if "result" in said:
                return said["result"]
            if on_piece is not None and "octets" in said:
                on_piece(base64.b64decode(said["octets"]))
            elif on_piece is not None and "item" in said:
                on_piece(said["item"])


def _next(answers: Any, seconds: float) -> dict[str, Any]:
    try:
        said = json.loads(answers.readline())
    except TimeoutError:
        raise MailError(f"the server has said nothing for {seconds:.0f} seconds") from None
    except (ConnectionResetError, ValueError):
        raise MailError("the server's answer was cut off") from None
    return said if isinstance(said, dict) else {}


def _connect(path: Path, seconds: float) -> socket.socket:
    folder, line = -1, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder, address = short_address(path)
        line.settimeout(seconds)
        line.connect(address)
        return line
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        line.close()
        raise NotRunning(f"{path}: no server is running") from None
    except OSError as problem:
        line.close()
        raise MailError(f"{path}: the server cannot be asked: {problem.strerror or problem}") from None
    finally:
        if folder >= 0:
            os.close(folder)
