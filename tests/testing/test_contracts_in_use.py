"""The contract suite in an author's hands: persistent stores, silent ones, and a project without our conftest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import MailError
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryStore
from twisted_mail_kit.testing.contracts import MailStoreContract, mail_store_contract


class Forgetful(MailStoreContract):
    """Says that it is persistent, and is not."""

    persistent = True

    def make_store(self, tmp_path: Path) -> MemoryStore:
        return MemoryStore()


class Faithful(MailStoreContract):
    """Persistent, as long as the process is there."""

    def make_store(self, tmp_path: Path) -> MemoryStore:
        return MemoryStore()

    def reopen(self, store: MemoryStore) -> MemoryStore:
        return store


KEPT = [name for name in dir(MailStoreContract) if name.startswith("test_") and name.endswith("opened_again")]


@pytest.mark.parametrize("promise", KEPT)
def test_a_store_that_keeps_nothing_is_caught(promise: str, tmp_path: Path) -> Deferred[None]:
    kept: Deferred[None] = getattr(Forgetful(), promise)(tmp_path)
    return kept.addCallbacks(
        lambda _: pytest.fail("not caught"), lambda failure: failure.trap(MailError, AssertionError)
    )


@pytest.mark.parametrize("promise", KEPT)
def test_reopen_can_be_overridden(promise: str, tmp_path: Path) -> Deferred[None]:
    kept: Deferred[None] = getattr(Faithful(), promise)(tmp_path)
    return kept


def test_there_are_promises_to_keep_when_it_is_opened_again() -> None:
    assert len(KEPT) >= 4


async def test_a_store_that_never_answers_is_caught(tmp_path: Path) -> None:
    class Silent(MemoryStore):
        async def open_account(self, name: str, create: bool = False) -> MemoryAccount:
            await Deferred()
            raise AssertionError

    contract = mail_store_contract(lambda path: Silent())()
    with patch("twisted_mail_kit.testing.contracts.promise.PATIENCE", 0.05), pytest.raises(Exception, match=r"0\.05"):
        await contract.test_a_new_account_has_an_inbox_and_nothing_else(tmp_path)


AUTHORS_FILE = """
from twisted_mail_kit.interfaces import Add
from twisted_mail_kit.stores.memory import MemoryAccount, MemoryStore
from twisted_mail_kit.testing.contracts import MailStoreContract, mail_store_contract

TestOneLine = mail_store_contract(lambda path: MemoryStore())

class TestLonger(MailStoreContract):
    def make_store(self, tmp_path):
        return MemoryStore()

class Forgetting(MemoryStore):
    async def open_account(self, name, create=False):
        self.accounts.pop(name, None)
        return await super().open_account(name, create)

TestBroken = mail_store_contract(lambda path: Forgetting())
"""


@pytest.fixture(scope="module")
def authors_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """pytest in an author's project: none of our configuration, none of our conftest."""
    project = tmp_path_factory.mktemp("acme")
    (project / "test_acme.py").write_text(AUTHORS_FILE)
    (project / "pytest.ini").write_text("[pytest]\naddopts = -rs -p no:cacheprovider\n")
    wanted = "an_account or of_another_account or opened_again or told_as_it_was_given"
    command = [sys.executable, "-m", "pytest", "-v", "-k", wanted, str(project)]
    yield subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False).stdout


def test_an_author_needs_one_line(authors_run: str) -> None:
    for name in ("TestOneLine", "TestLonger"):
        assert f"test_acme.py::{name}::test_an_added_message_is_told_as_it_was_given PASSED" in authors_run
        assert f"test_acme.py::{name}::test_a_token_is_known_when_it_is_opened_again SKIPPED" in authors_run
        assert f"::{name}::" in authors_run and f"FAILED test_acme.py::{name}" not in authors_run
    assert "not a persistent store: nothing is kept when it is closed" in authors_run


def test_an_author_is_told_what_is_wrong(authors_run: str) -> None:
    assert "test_acme.py::TestBroken::test_an_account_that_is_there_is_opened_and_not_made_again FAILED" in authors_run
    assert "AccountNotFound" in authors_run
