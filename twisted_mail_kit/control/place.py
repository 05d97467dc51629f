"""Where the control socket is, and whose it is."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from twisted_mail_kit.errors import ConfigurationError

SOCKET = "control.socket"
"""What it is called in the state folder."""


LOCK = f"{SOCKET}.lock"
"""The file in the state folder that a running server has locked."""
PATIENCE = 10.0
"""Seconds for which a server waits for commands that are at work on its files."""


def take_lock(path: Path, is_shared: bool = False, patience: float = PATIENCE) -> int:
    """Lock the file for as long as the descriptor stays open; the kernel lets go of it for a process that is killed.

    Whoever changes the files for itself (a server, a repair) has it alone. Commands that may be at it together share
    it; whoever wants it alone waits for them. Raises ConfigurationError: somebody has it, or it cannot be opened.
    """
    lock, may_write = _open(path)
    kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    until = time.monotonic() + patience
    while not _is_granted(lock, kind):
        problem = ""
        if not is_shared and not _is_granted(lock, fcntl.LOCK_SH):
            problem = f"another server runs with this state folder{_holder(lock)}: end it first"
        elif time.monotonic() > until:
            problem = (
                f"a server starts, or ends, with this state folder{_holder(lock)}: try again"
                if is_shared
                else "a mailkit command is at work on the files of this state folder: let it come to its end"
            )
        if problem:
            os.close(lock)
            raise ConfigurationError([f"{path.parent}: {problem}"])
        if not is_shared:
            fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(0.02)
    if may_write and not is_shared:
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        except OSError:
            pass  # a full disk; who we are is only told
    return lock


def _open(path: Path) -> tuple[int, bool]:
    """(a descriptor to lock, whether it may be written to). Where all is read-only, it is what is there already."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600), True
    except OSError as problem:
        if problem.errno == errno.EROFS:
            for there in (path, path.parent):
                try:
                    return os.open(there, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), False
                except OSError:
                    continue
        raise ConfigurationError([f"{path}: cannot be opened: {problem.strerror}: see whose it is"]) from None


def _is_granted(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: int) -> str:
    """Who has it, where that is known: one that was killed has left its number there, until the next one writes."""
    try:
        pid = int(os.pread(lock, 20, 0))
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (OSError, ValueError, OverflowError):
        return ""
    return f" (process {pid})"


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
