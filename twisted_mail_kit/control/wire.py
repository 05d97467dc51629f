"""The control socket's words: one JSON object a line, one request a connection.

::

    C: {"verb": "queue.show", "arguments": {"id": "0kx4…"}}
    S: {"result": {…}}

A verb that answers in pieces sends any number of ``{"item": …}`` or ``{"octets": "base64"}`` lines first; one that
takes long sends ``{"still": true}`` now and then. The last line is a result or ``{"error": "MessageNotFound", "text":
"…"}``; without one, the answer was cut off.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from twisted_mail_kit.net.inbox import NEED_DATA, Signal


@frozen
class Request:
    """A verb and its arguments."""

    verb: str
    arguments: dict[str, Any]


@frozen
class BadRequest:
    """Something else; the text says what is wrong with it."""

    text: str


class RequestWire:
    """Octets to the one request of a connection; what follows it is not looked at."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._octets = bytearray()
        self._searched = 0

    def receive(self, octets: bytes) -> None:
        """Take some more."""
        self._octets += octets[: self._limit + 1 - len(self._octets)]

    def next_event(self) -> Request | BadRequest | Signal:
        """The request, once its line is whole."""
        end = self._octets.find(b"\n", self._searched)
        self._searched = len(self._octets)
        if end >= 0:
            return read_request(bytes(self._octets[:end]))
        if len(self._octets) > self._limit:
            return BadRequest(f"a request is one line of at most {self._limit} octets")
        return NEED_DATA


def read_request(line: bytes) -> Request | BadRequest:
    """What a line says."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return BadRequest("a request is one JSON object in a line")
    if not isinstance(said, dict) or not isinstance(said.get("verb"), str):
        return BadRequest('a request has a "verb"')
    arguments = said.get("arguments", {})
    if not isinstance(arguments, dict):
        return BadRequest('"arguments" are a JSON object')
    return Request(said["verb"], arguments)
