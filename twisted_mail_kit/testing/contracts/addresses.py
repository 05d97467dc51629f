"""The whole contract of an accounts plugin: who has which address, and who may send as whom.

    TestAcmeAccounts = accounts_contract(make_accounts, local={"joe@example.org": "joe@example.org"})

or, where making one takes more than ``make_accounts(directory)``, a subclass of `AccountsContract`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

# Before the promises are imported: so that a broken one shows both sides of its comparison.
pytest.register_assert_rewrite(*(f"{__package__}.{name}" for name in ("part", "lookups")))

from twisted_mail_kit.testing.contracts.lookups import (  # noqa: E402
    CrowdedLookupPromises,
    HostileAddressPromises,
    KeptAddressPromises,
    LookupPromises,
)


class AccountsContract(LookupPromises, HostileAddressPromises, CrowdedLookupPromises, KeptAddressPromises):
    """Subclass me as ``Test…``, write `make_accounts`, and say which addresses there are."""


def accounts_contract(
    make: Callable[[Path], Any],
    local: Mapping[str, str] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
    make_broken: Callable[[Path], Any] | None = None,
) -> type[AccountsContract]:
    """Give the contract for accounts that are made by ``make(directory)``.

    `local`: addresses, and the accounts that they are. `aliases`: addresses, and the addresses that they lead to.
    `make_broken`: makes accounts that have lost their file, or database.
    """

    class TestAccounts(AccountsContract):
        def make_accounts(self, tmp_path: Path) -> Any:
            return make(tmp_path)

        def make_broken(self, tmp_path: Path) -> Any:
            return make_broken(tmp_path) if make_broken is not None else super().make_broken(tmp_path)

    TestAccounts.local, TestAccounts.aliases = dict(local or {}), dict(aliases or {})
    return TestAccounts
