"""The dialogues in tests/dialogues/smtp, whole and octet by octet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.testing.dialogue import Dialogue

SCRIPTS = sorted((Path(__file__).parent.parent / "dialogues" / "smtp").glob("*/*.txt"))


@pytest.mark.parametrize("chop", [None, 1, 7], ids=["whole", "chopped", "by-seven"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: f"{script.parent.name}-{script.stem}")
async def test_dialogue(script: Path, chop: int | None, listen: Callable[..., Any]) -> None:
    listener = listen(script.parent.name)
    dialogue = Dialogue(listener.factory, listener.clock, chop)
    await dialogue.play(script)
    await dialogue.end()
    assert listener.target.open == 0, "a transaction was left open"
    assert not listener.factory.sessions
