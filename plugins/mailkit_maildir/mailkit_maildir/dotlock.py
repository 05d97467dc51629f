"""The lock that all who write a `dovecot-uidlist` agree on: a file ``….lock`` beside it."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailkit_maildir.files import Files, sync, write_all
from mailkit_maildir.layout import OWN
from twisted_mail_kit.errors import Unavailable

LOCK = "lock"
"""The account's own lock, in `OWN`: whoever of us is at the account has it (flock)."""
STALE = 120.0
"""Seconds after which a lock that nobody touches is nobody's: Dovecot's own number."""
PAUSE = 0.01


@contextmanager
def dotlock(path: Path, files: Files, timeout: float) -> Iterator[None]:
    """Hold the lock of that file; the caller has the account's own. Raises Unavailable after so many seconds.

    It is a hard link to the account's own lock. So one that a crash has left behind is known for ours, and is no
    hindrance: nobody else of us is at the account. Another program's is taken away when its process is dead, on this
    host, or when it was not touched for two minutes.
    """
    lock, own = path.with_name(path.name + ".lock"), files.root / OWN / LOCK
    _sign(own)
    os.utime(own)  # or Dovecot takes it for one that was left behind
    end = time.monotonic() + timeout
    while True:
        try:
            _take(lock, own, files)
            break
        except FileExistsError:
            if _is_stale(lock, own.stat().st_ino):
                continue
        if time.monotonic() >= end:
            raise Unavailable(f"{lock}: another program has held it for {timeout:g} seconds; try later")
        time.sleep(PAUSE)
    try:
        yield
    finally:
        try:
            lock.unlink(missing_ok=True)
        except OSError:
            pass  # the next one of us takes it away


def _sign(own: Path) -> None:
    """Say in the lock whose it is, as Dovecot does; durably, for it may be copied with the tree after a crash."""
    said = f"{os.getpid()}:{socket.gethostname()}".encode()
    if own.read_bytes() == said:
        return
    number = os.open(own, os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_all(number, said)
        os.ftruncate(number, len(said))
        sync(number)
    finally:
        os.close(number)


def _take(lock: Path, own: Path, files: Files) -> None:
    try:
        lock.hardlink_to(own)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        os.close(files.create(lock))


def _is_stale(lock: Path, own: int) -> bool:
    """Whether it was nobody's, and is gone."""
    try:
        there = lock.stat()
        with lock.open("rb") as file:
            pid, _, host = file.read(512).decode("ascii", "replace").partition(":")
    except FileNotFoundError:
        return True
    dead = host == socket.gethostname() and pid.isdecimal() and not _is_alive(int(pid))
    if there.st_ino != own and not dead and time.time() - there.st_mtime < STALE:
        return False
    try:
        if lock.stat().st_ino == there.st_ino:
            lock.unlink()
    except FileNotFoundError:
        pass
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
