"""Addresses that need no DNS: the hosts file, and localhost."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_AGAIN: Final = 5.0  # seconds: how often a file is looked at for changes

Addresses = dict[str, dict[str, tuple[str, ...]]]


class Watched:
    """A file that is read again after it has changed."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.path = path
        self._now = now
        self._looked: float | None = None
        self._stamp: tuple[int, int, int] | None = None

    def has_changed(self) -> bool:
        """Since the last time that this was asked. True the first time."""
        now = self._now()
        first = self._looked is None
        if self._looked is not None and 0 <= now - self._looked < LOOK_AGAIN:
            return False
        self._looked = now
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        except OSError:
            stamp = None
        changed = first or stamp != self._stamp
        self._stamp = stamp
        return changed


class Hosts:
    """Answers for names in the hosts file and for localhost (RFC 6761 6.3), before DNS is asked."""

    def __init__(self, path: Path | None, now: Callable[[], float]) -> None:
        self._watched = Watched(path, now) if path is not None and str(path) not in ("", ".") else None
        self._names: Addresses = {}

    def addresses(self, name: str, kind: str) -> tuple[str, ...] | None:
        """The addresses of that kind (A or AAAA), which may be none; None: not ours to say."""
        if self._watched is not None and self._watched.has_changed():
            self._names = read_hosts(self._watched.path)
        found = self._names.get(name)
        if found is not None:
            return found[kind]
        if name == "localhost" or name.endswith(".localhost"):
            return ("127.0.0.1",) if kind == "A" else ("::1",)
        return None


def read_hosts(path: Path) -> Addresses:
    """name -> kind -> addresses. Lines that are none, and a file that is not there, are passed over."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    found: Addresses = {}
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) < 2 or "%" in words[0]:
            continue
        try:
            address = ipaddress.ip_address(words[0])
        except ValueError:
            continue
        kind = "A" if address.version == 4 else "AAAA"
        for word in words[1:]:
            kinds = found.setdefault(word.lower().rstrip("."), {"A": (), "AAAA": ()})
            if str(address) not in kinds[kind]:
                kinds[kind] += (str(address),)
    return found
