"""Folders that a power cut does not take away."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make it, and what is missing above it, for us alone (0700); its name is durable when this returns.

    A file is synced, and gone with its folder, where the folder's own name was not: POSIX promises no more. Raises
    OSError.
    """
    missing = [one for one in (path, *path.parents) if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
    # One that is there already may have been made by somebody who died before his sync.
    for one in missing or [path]:
        try:
            above = os.open(one.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            if missing:
                raise
            return  # not ours: whoever made it for us has had time
        try:
            os.fsync(above)
        finally:
            os.close(above)
