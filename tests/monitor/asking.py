"""HTTP as a stranger speaks it."""

from __future__ import annotations

import http.client
from typing import Any


def ask(port: int, path: str = "/metrics", method: str = "GET", body: bytes | None = None, **fields: str) -> Any:
    """(status, header fields in lower case, body)."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request(method, path, body, {name.replace("_", "-"): value for name, value in fields.items()})
        answer = line.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        line.close()
