"""The dialogues of tests/dialogues/imap, whole and octet by octet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twisted_mail_kit.testing.dialogue import scripts

SCRIPTS = scripts(Path(__file__).parent / "../dialogues/imap")


@pytest.mark.parametrize("script", [one for one in SCRIPTS if "fetch" in str(one) or "search" in str(one)])
async def test_dialogue_with_a_store_that_reads_many(make_world: Any, script: Path) -> None:
    await play(make_world(reads_many=True), script, None)


@pytest.mark.parametrize("chop", [None, 1], ids=["whole", "chopped"])
@pytest.mark.parametrize("script", scripts(Path(__file__).parent / "../dialogues/imap"))
async def test_dialogue(world: Any, script: Path, chop: int | None) -> None:
    await play(world, script, chop)


async def play(world: Any, script: Path, chop: int | None) -> None:
    dialogue = world.dialogue(chop)
    try:
        await dialogue.play(script)
    finally:
        await dialogue.end()
    assert not world.log_errors()
    assert not world.factory.sessions
