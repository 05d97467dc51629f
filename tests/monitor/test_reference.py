"""docs/metrics.md is today's, and its rules are about numbers that there are."""

from __future__ import annotations

import re
from pathlib import Path

from twisted_mail_kit.metrics.instruments import every
from twisted_mail_kit.metrics.limits import LIMITS
from twisted_mail_kit.monitor.reference import MARK, reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_reference_of_metrics_is_todays() -> None:
    _, found, rest = DOCUMENT.read_text().partition(MARK)
    assert found
    assert rest.strip() == reference().strip(), "run `python -m twisted_mail_kit.monitor.reference`"


def test_the_rules_are_about_metrics_that_there_are() -> None:
    above, _, _ = DOCUMENT.read_text().partition(MARK)
    known = {metric.name for metric in every()}
    known |= {f"{metric.name}_bucket" for metric in every() if metric.kind == "histogram"}
    named = set(re.findall(r"\bmailkit_[a-z_0-9]+", above))
    assert len(named) >= 5
    assert named <= known
    assert set(re.findall(r"`(\w+)`, `(\w+)`\)", above)) and LIMITS.keys() >= {"logins_waiting"}
