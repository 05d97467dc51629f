"""Where the control socket is, and whose it is."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from twisted_mail_kit.errors import ConfigurationError

SOCKET = "control.socket"
"""What it is called in the state folder."""


def take_lock(path: Path) -> int:
    """Lock the file for as long as the descriptor stays open. Raises ConfigurationError: a running server has it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise ConfigurationError(
            [f"{path.parent}: another server runs with this state folder (process {pid}): end it first"]
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def remove_stale(path: Path) -> None:
    """Take away the socket of a server that was killed; only the holder of the lock may know it for that."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError([f"{path}: there is something here that is no socket: take it away"])
    path.unlink()


def short_address(path: Path) -> tuple[int, str]:
    """(a descriptor to be kept open, or -1; the address to bind or connect to) for a socket's path.

    A socket's address holds about 100 octets; a deep folder is reached by its descriptor, where the system can.
    """
    if len(os.fsencode(path)) <= 100 or not Path("/proc/self/fd").is_dir():
        return -1, str(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return folder, f"/proc/self/fd/{folder}/{path.name}"
