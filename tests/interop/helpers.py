"""Real programs as test partners: which ones are here, and running them without stopping the reactor."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest
from twisted.internet.threads import deferToThread


class Finished(NamedTuple):
    """What a program left behind."""

    code: int
    output: str
    errors: str


def needs(program: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where the program is not installed: ``@needs("swaks")``."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


async def run_program(
    argv: Sequence[str],
    input: str | bytes | None = None,
    timeout: float = 30,
    expect: int | None = 0,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program in a thread. Fails with all it said when it ends with another code than `expect` (None: any)."""
    octets = input.encode() if isinstance(input, str) else input or b""
    done = await deferToThread(
        subprocess.run, list(argv), input=octets, capture_output=True, timeout=timeout, env=env, check=False
    )
    finished = Finished(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
    if expect is not None and finished.code != expect:
        pytest.fail(
            f"{' '.join(argv)} ended with {finished.code}:\n{finished.output[-4000:]}\n{finished.errors[-4000:]}"
        )
    return finished
