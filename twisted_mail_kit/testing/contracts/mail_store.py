"""The whole contract of an IMailStore: all the promises in one class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted_mail_kit.testing.contracts.abilities import AbilityPromises
from twisted_mail_kit.testing.contracts.accounts import AccountPromises
from twisted_mail_kit.testing.contracts.blobs import BlobPromises
from twisted_mail_kit.testing.contracts.commits import CommitPromises
from twisted_mail_kit.testing.contracts.crowds import CrowdPromises
from twisted_mail_kit.testing.contracts.history import HistoryPromises
from twisted_mail_kit.testing.contracts.kept import KeptPromises
from twisted_mail_kit.testing.contracts.mailboxes import MailboxPromises
from twisted_mail_kit.testing.contracts.messages import MessagePromises
from twisted_mail_kit.testing.contracts.model import ModelPromises


class MailStoreContract(
    AccountPromises,
    MailboxPromises,
    MessagePromises,
    CommitPromises,
    CrowdPromises,
    HistoryPromises,
    BlobPromises,
    KeptPromises,
    AbilityPromises,
    ModelPromises,
):
    """Subclass me as ``Test…`` and write `make_store`."""


def mail_store_contract(make: Callable[[Path], Any], persistent: bool = False) -> type[MailStoreContract]:
    """Give the contract for stores that are made by ``make(directory)``.

    `persistent`: made again with the same directory, after it was closed, it finds the same mail.
    """

    class TestMailStore(MailStoreContract):
        def make_store(self, tmp_path: Path) -> Any:
            return make(tmp_path)

    TestMailStore.persistent = persistent
    return TestMailStore
