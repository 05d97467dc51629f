"""The whole contract of a delivery target: a message for each recipient, whole, once, durable, or nothing at all.

    TestAcmeTarget = delivery_contract(make_target, recipients=["ann@example.net"], delivered=read_back)

or, where making one takes more than ``make_target(directory)``, a subclass of `DeliveryContract`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

# Before the promises are imported: so that a broken one shows both sides of its comparison.
pytest.register_assert_rewrite(*(f"{__package__}.{name}" for name in ("part", "transactions", "transaction_trials")))

from twisted_mail_kit.testing.contracts.transaction_trials import TransactionTrials  # noqa: E402
from twisted_mail_kit.testing.contracts.transactions import (  # noqa: E402
    RECIPIENTS,
    DestinationPromises,
    TransactionPromises,
)


class DeliveryContract(TransactionPromises, DestinationPromises, TransactionTrials):
    """Subclass me as ``Test…``, write `make_target`, and `delivered` where you can."""


def delivery_contract(
    make: Callable[[Path], Any],
    recipients: Sequence[str] = RECIPIENTS,
    delivered: Callable[[Path], Any] | None = None,
    refuses: str = "",
    make_broken: Callable[[Path], Any] | None = None,
) -> type[DeliveryContract]:
    """Give the contract for targets that are made by ``make(directory)``.

    `recipients`: two addresses at least that it delivers to. ``delivered(directory)`` reads back what was delivered
    there: a list of (address, octets), one for each recipient of each message. `refuses`: an address that it does not
    deliver to. `make_broken`: makes a target that has lost its disk, or what it delivers to.
    """

    class TestDelivery(DeliveryContract):
        def make_target(self, tmp_path: Path) -> Any:
            return make(tmp_path)

        def delivered(self, tmp_path: Path) -> Any:
            return delivered(tmp_path) if delivered is not None else super().delivered(tmp_path)

        def make_broken(self, tmp_path: Path) -> Any:
            return make_broken(tmp_path) if make_broken is not None else super().make_broken(tmp_path)

    TestDelivery.recipients, TestDelivery.refuses = tuple(recipients), refuses
    return TestDelivery
