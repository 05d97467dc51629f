"""A spool that is killed at any moment: what was acknowledged is there, what was settled does not come back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

ROUNDS = 20


async def test_nothing_acknowledged_is_lost_and_nothing_settled_comes_back(tmp_path: Path) -> None:
    crasher = Path(__file__).with_name("crasher.py")
    output, errors, code = await getProcessOutputAndValue(
        sys.executable, [str(crasher), str(tmp_path / "queue"), str(ROUNDS), "20260101"], reactor=reactor, env=None
    )
    assert code == 0, errors.decode()[-3000:]
    counts = json.loads(output)
    assert counts["told"] > 20 * ROUNDS and counts["alive"] > 0 and counts["large"] > 0, counts
