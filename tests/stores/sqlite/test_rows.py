"""What rows stand for, and what short cuts must not change."""

from __future__ import annotations

import json

import pytest

from twisted_mail_kit.mail.facts import Added, Applied, Copied
from twisted_mail_kit.stores.sqlite import rows

DAY = 86400


@pytest.mark.parametrize("today", range(20_000, 20_000 + 2 * rows.TOKEN_PERIOD))
def test_a_token_is_found_for_as_many_days_as_were_promised_in_two_places_at_most(today: int) -> None:
    periods = rows.token_periods(today * DAY + 5, 7)
    assert {rows.token_period(day) for day in range(today - 7, today + 2)} <= set(periods)
    assert len(periods) <= 2


@pytest.mark.parametrize("today", range(20_000, 20_000 + 2 * rows.TOKEN_PERIOD))
def test_what_is_forgotten_is_older_than_what_is_looked_for(today: int) -> None:
    oldest = rows.token_periods(today * DAY, 7)[0]
    assert oldest <= today - 7
    assert rows.token_period(oldest - 1) < oldest


@pytest.mark.parametrize(
    "result", [Added("m17", 2**32 - 1, 9, "1f-a0"), Copied("m2", 5, ((1, 2), (3, 4))), None], ids=lambda one: str(one)
)
def test_an_answer_comes_back_as_it_was_given(result: Added | Copied | None) -> None:
    packed = rows.pack_answer(Applied(12, (result,)))
    assert rows.unpack_answer(packed) == Applied(12, (result,), True)
    assert json.dumps(json.loads(packed), separators=(",", ":")) == packed


def test_an_answer_to_several_operations_comes_back_whole() -> None:
    results = (Added("m1", 1, 1, "1-0"), None, Added("m1", 1, 2, "1-1"))
    assert rows.unpack_answer(rows.pack_answer(Applied(3, results))).results == results
