"""POP3 as it is spoken: each script of tests/dialogues/pop3, whole and octet by octet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pop3.kit import make_world
from twisted_mail_kit.testing.dialogue import play, scripts


@pytest.mark.parametrize("chop", [None, 1], ids=["whole", "chopped"])
@pytest.mark.parametrize("script", scripts(Path(__file__).parents[1] / "dialogues" / "pop3"))
async def test_dialogue(script: Path, chop: int | None) -> None:
    world = await make_world(certificates=object())
    await play(script, world.factory, world.clock, chop)
    assert not world.factory.sessions
    assert not world.clock.getDelayedCalls()
