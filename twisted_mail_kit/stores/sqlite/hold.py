"""Holding a store's files: while somebody does, no process removes any of them."""

from __future__ import annotations

import time
from pathlib import Path

from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.stores.sqlite.files import Files, OpenFile

# The lock is the store's directory itself, by flock: the kernel lets go of it when its holder dies, and there is no
# file that could be left behind. Whoever reads files that an old snapshot of the index names shares it; whoever
# removes files takes it alone, and comes back later where it is not to be had.


def hold(root: Path, files: Files, patience: float = 10.0) -> OpenFile:
    """No file of the store is removed until the answer is let go of. Waits, so not in the reactor thread.

    Raises Unavailable, OSError.
    """
    held = OpenFile(files, files.open(root))
    until = time.monotonic() + patience
    while not files.lock(held.fd, is_shared=True):
        if time.monotonic() > until:
            raise Unavailable(f"{root}: its files are being removed by another process, which does not come to an end")
        time.sleep(0.01)
    return held


def may_remove(root: Path, files: Files) -> OpenFile | None:
    """The right to remove files, until it is let go of; None: somebody reads them. Raises OSError."""
    right = OpenFile(files, files.open(root))
    return right if files.lock(right.fd) else None


def is_held(root: Path, files: Files) -> bool:
    """Whether it is readers who keep `may_remove` from being granted, and not another process that removes files."""
    right = OpenFile(files, files.open(root))
    return not files.lock(right.fd) and files.lock(right.fd, is_shared=True)
