"""The dialogues of tests/dialogues/imap, whole and octet by octet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.testing.dialogue import scripts


@pytest.mark.parametrize("chop", [None, 1], ids=["whole", "chopped"])
@pytest.mark.parametrize("script", scripts(Path(__file__).parent / "../dialogues/imap"))
async def test_dialogue(world: Any, script: Path, chop: int | None) -> None:
    dialogue = world.dialogue(chop)
    try:
        await dialogue.play(script)
    finally:
        await dialogue.end()
    assert not world.log_errors()
    assert not world.factory.sessions
