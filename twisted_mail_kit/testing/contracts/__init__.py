"""What every part promises, as test classes that an author puts into his own test file: a line for each.

    from twisted_mail_kit.testing.contracts import mail_store_contract

    TestAcmeStore = mail_store_contract(AcmeStore, persistent=True)

`authenticator_contract`, `accounts_contract`, `check_contract`, `delivery_contract` and `spool_contract` are for the
other doors. Where making a part takes more than ``AcmeStore(path)``, write a subclass of the contract. pytest and
pytest-twisted are all that they need. Each promise of `interfaces.py` is a test whose name says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

# Before the promises are imported: so that a broken one shows both sides of its comparison.
_PROMISES = (
    "abilities accounts blobs commits crash crowds elsewhere faults history kept machine mailboxes messages model pairs"
)
_PROMISES += " processes steps streaming streams upkeep"
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _PROMISES.split()))

from twisted_mail_kit.testing.contracts.mail_store import (  # noqa: E402
    LEVELS,
    MailStoreContract,
    mail_store_contract,
)
from twisted_mail_kit.testing.contracts.promise import promise  # noqa: E402

if TYPE_CHECKING:
    from twisted_mail_kit.testing.contracts.addresses import AccountsContract, accounts_contract
    from twisted_mail_kit.testing.contracts.authenticator import AuthenticatorContract, authenticator_contract
    from twisted_mail_kit.testing.contracts.check import CheckContract, check_contract
    from twisted_mail_kit.testing.contracts.delivery import DeliveryContract, delivery_contract
    from twisted_mail_kit.testing.contracts.spool import SpoolContract, spool_contract

_OTHERS = {
    "AccountsContract": "addresses",
    "AuthenticatorContract": "authenticator",
    "CheckContract": "check",
    "DeliveryContract": "delivery",
    "SpoolContract": "spool",
    "accounts_contract": "addresses",
    "authenticator_contract": "authenticator",
    "check_contract": "check",
    "delivery_contract": "delivery",
    "spool_contract": "spool",
}


def __getattr__(name: str) -> Any:
    """The other contracts, when they are asked for: a store's author need not import them all, nor its children."""
    if name not in _OTHERS:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_OTHERS[name]}"), name)


__all__ = [
    "LEVELS",
    "AccountsContract",
    "AuthenticatorContract",
    "CheckContract",
    "DeliveryContract",
    "MailStoreContract",
    "SpoolContract",
    "accounts_contract",
    "authenticator_contract",
    "check_contract",
    "delivery_contract",
    "mail_store_contract",
    "promise",
    "spool_contract",
]
