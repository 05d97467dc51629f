"""A small file that is there whole or not at all, and that nobody else may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def put_in_place(path: Path, octets: bytes) -> None:
    """Write the file, with mode 0600, in place of what it held; durable on return. Raises OSError: all is as it was."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(handle)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
