"""The whole contract of a check: at every step of a session it answers, whatever strangers say.

    TestAcmeCheck = check_contract(make_check, refuses=b"Subject: casino\\r\\n\\r\\nHello.\\r\\n")

or, where making one takes more than ``make_check(directory)``, a subclass of `CheckContract`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Before the promises are imported: so that a broken one shows both sides of its comparison.
pytest.register_assert_rewrite(*(f"{__package__}.{name}" for name in ("part", "questions")))

from twisted_mail_kit.testing.contracts.questions import (  # noqa: E402
    CrowdedQuestionPromises,
    HostileQuestionPromises,
    KeptQuestionPromises,
    QuestionPromises,
)


class CheckContract(QuestionPromises, HostileQuestionPromises, CrowdedQuestionPromises, KeptQuestionPromises):
    """Subclass me as ``Test…`` and write `make_check`."""


def check_contract(
    make: Callable[[Path], Any],
    accepts: bytes | None = None,
    refuses: bytes | None = None,
    make_broken: Callable[[Path], Any] | None = None,
) -> type[CheckContract]:
    """Give the contract for checks that are made by ``make(directory)``.

    `accepts` and `refuses`: a message that is to pass, and one that is not. `make_broken`: makes a check that has lost
    its file, or database.
    """

    class TestCheck(CheckContract):
        def make_check(self, tmp_path: Path) -> Any:
            return make(tmp_path)

        def make_broken(self, tmp_path: Path) -> Any:
            return make_broken(tmp_path) if make_broken is not None else super().make_broken(tmp_path)

    TestCheck.accepts, TestCheck.refuses = accepts, refuses
    return TestCheck
