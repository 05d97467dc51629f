"""The command line, as a person types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.internet.threads import deferToThread


async def mailkit(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    """What was said on stdout and stderr, in this folder; it ends with `code`, and never with a traceback."""
    command = [sys.executable, "-W", "error", "-m", "twisted_mail_kit.cli", *arguments]
    done = await deferToThread(subprocess.run, command, cwd=folder, capture_output=True, timeout=60, check=False)
    out, told = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, out + told
    assert "Traceback" not in told
    return out, told
