"""The whole contract of an ISpool: all the promises in one class.

    TestAcmeSpool = spool_contract(AcmeSpool, persistent=True)

or, where making a spool takes more than ``AcmeSpool(path)``, a subclass of `SpoolContract`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Before the promises are imported: so that a broken one shows both sides of its comparison.
_PROMISES = "spool_work spool_hands spool_octets spool_kept"
pytest.register_assert_rewrite(*(f"{__package__}.{name}" for name in _PROMISES.split()))

from twisted_mail_kit.testing.contracts.spool_hands import HandPromises  # noqa: E402
from twisted_mail_kit.testing.contracts.spool_kept import KeptSpoolPromises  # noqa: E402
from twisted_mail_kit.testing.contracts.spool_octets import OctetPromises  # noqa: E402
from twisted_mail_kit.testing.contracts.spool_work import WorkPromises  # noqa: E402


class SpoolContract(WorkPromises, HandPromises, OctetPromises, KeptSpoolPromises):
    """Subclass me as ``Test…`` and write `make_spool`."""


def spool_contract(make: Callable[[Path], Any], persistent: bool = False) -> type[SpoolContract]:
    """Give the contract for spools that are made by ``make(directory)``.

    `persistent`: made again with the same directory, after it was closed, it finds the same queue.
    """

    class TestSpool(SpoolContract):
        def make_spool(self, tmp_path: Path) -> Any:
            return make(tmp_path)

    TestSpool.persistent = persistent
    return TestSpool
