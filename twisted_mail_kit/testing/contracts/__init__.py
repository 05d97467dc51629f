"""What every store promises, as a test class that an author puts into his own test file.

    from twisted_mail_kit.testing.contracts import mail_store_contract

    TestAcmeStore = mail_store_contract(AcmeStore, persistent=True)

or, where making a store takes more than ``AcmeStore(path)``, a subclass of `MailStoreContract`. pytest and
pytest-twisted are all that it needs. Each promise of `interfaces.py` is a test whose name says it.
"""

from __future__ import annotations

import pytest

# Before the promises are imported: so that a broken one shows both sides of its comparison.
_PROMISES = (
    "abilities accounts blobs commits crash crowds faults history kept mailboxes messages model pairs processes steps"
)
_PROMISES += " machine streaming streams"
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _PROMISES.split()))

from twisted_mail_kit.testing.contracts.mail_store import (  # noqa: E402
    LEVELS,
    MailStoreContract,
    mail_store_contract,
)
from twisted_mail_kit.testing.contracts.promise import promise  # noqa: E402

__all__ = ["LEVELS", "MailStoreContract", "mail_store_contract", "promise"]
