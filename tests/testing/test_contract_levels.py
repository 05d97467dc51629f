"""The levels: chosen, marked, and each promise of streaming and processes able to fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import AccountNotFound, MailError
from twisted_mail_kit.interfaces import Applied, Changes, Message, Operation
from twisted_mail_kit.stores.memory import MemoryStore
from twisted_mail_kit.stores.sqlite import SQLiteStore
from twisted_mail_kit.stores.sqlite.account import SQLiteAccount
from twisted_mail_kit.stores.sqlite.elsewhere import SQLiteReader
from twisted_mail_kit.testing.contracts import LEVELS, MailStoreContract, mail_store_contract
from twisted_mail_kit.testing.contracts.crowds import pause
from twisted_mail_kit.testing.contracts.mail_store import promises

# --- which are held ----------------------------------------------------------------------------------------------


def held(contract: type[MailStoreContract]) -> set[str]:
    return {
        getattr(contract, name).level
        for name in dir(contract)
        if callable(getattr(contract, name, None))
        if name.startswith("test_")
    }


def test_every_level_has_promises_and_every_promise_a_level() -> None:
    assert {test.level for _, test in promises()} == set(LEVELS)
    for _, test in promises():
        assert [mark.name for mark in test.pytestmark] == [test.level]


def test_only_the_chosen_levels_appear() -> None:
    def make(path: Path) -> MemoryStore:
        return MemoryStore()

    assert held(mail_store_contract(make)) == set(LEVELS)
    assert held(mail_store_contract(make, levels=["core", "crash"])) == {"core", "crash"}

    class Some(MailStoreContract):
        levels = ("core", "model")

    class Others(Some):
        levels = ("abilities",)

    assert (held(Some), held(Others)) == ({"core", "model"}, {"abilities"})
    with pytest.raises(ValueError, match="no such level: speed"):
        mail_store_contract(make, levels=["speed"])


def test_the_markers_work_in_a_strict_project_without_our_conftest(tmp_path: Path) -> None:
    (tmp_path / "test_acme.py").write_text(
        "from twisted_mail_kit.stores.memory import MemoryStore\n"
        "from twisted_mail_kit.testing.contracts import mail_store_contract\n"
        "TestAcme = mail_store_contract(lambda path: MemoryStore())\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -p no:cacheprovider\n")
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-m", "not core and not crash", str(tmp_path)]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "test_hints_tell_of_commits_in_order" in told.stdout
    assert "test_a_uid_is_never_used_twice" not in told.stdout and "being_killed" not in told.stdout


# --- defects: at the top of the module, so that child processes find them ------------------------------------------

BROKEN: list[tuple[type[MailStoreContract], str, str]] = []


class Levels(MailStoreContract):
    """SQLite with accounts that break something."""

    persistent = True
    large = 40 << 20
    many = 3_000
    account: type[SQLiteAccount] = SQLiteAccount

    def make_store(self, tmp_path: Path) -> SQLiteStore:
        broken = self.account

        class Store(SQLiteStore):
            async def open_account(self, name: str, create: bool = False) -> SQLiteAccount:
                account = await super().open_account(name, create)
                account.__class__ = broken
                return account

        return Store(tmp_path, reactor)


def breaks(promise: str, words: str = "") -> Callable[[type], type]:
    def note(contract: type[MailStoreContract]) -> type[MailStoreContract]:
        BROKEN.append((contract, promise, words))
        return contract

    return note


@breaks("test_a_large_message_passes_through_little_memory", "MB of memory")
@breaks("test_a_large_message_holds_nobody_up", "held up")
@breaks("test_a_large_message_comes_out_as_it_went_in", "octets are others")
class HoldsTheMessage(Levels):
    class account(SQLiteAccount):
        held = bytearray()

        async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
            octets = await super().read_blob(blob_id, offset, size)
            if not self.held and len(octets) == size:
                time.sleep(1.5)
                octets = octets[:-1] + b"?"
            self.held.extend(octets)
            return octets


@breaks("test_a_large_mailbox_is_told_page_by_page", "failed|assert")
class PagesLoseOne(Levels):
    class account(SQLiteAccount):
        async def messages(
            self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
        ) -> Sequence[Message]:
            rows = await super().messages(mailbox_id, uids, after, limit)
            return rows[1:] if after == 1000 else rows


@breaks("test_a_large_mailbox_passes_through_little_memory", "MB of memory")
@breaks("test_a_large_mailbox_holds_nobody_up", "held up")
@breaks("test_a_page_costs_the_same_everywhere_in_a_large_mailbox", "listing: a page takes")
class SkipsToThePage(Levels):
    mailbox_ceiling = 32 << 20

    class account(SQLiteAccount):
        held = bytearray()

        async def messages(
            self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
        ) -> Sequence[Message]:
            time.sleep(after / 3000)
            self.held.extend(b"x" * (20 << 20))
            return await super().messages(mailbox_id, uids, after, limit)


@breaks("test_what_a_process_was_answered_is_seen_by_all", "not yet seen")
class RemembersItsState(Levels):
    class account(SQLiteAccount):
        known: dict[str, int] = {}

        async def state(self) -> int:
            return self.known.setdefault(self.name, await super().state())


@breaks("test_a_token_does_its_work_once_over_all_processes", "in two ways|more than once|total")
class TokensOfTheProcess(Levels):
    class account(SQLiteAccount):
        seen: dict[tuple[str, str], Applied] = {}

        async def apply(
            self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None
        ) -> Applied:
            if token is not None and (self.name, token) in self.seen:
                return self.seen[self.name, token]._replace(replayed=True)
            applied = await super().apply(ops, if_state)
            if token is not None:
                self.seen[self.name, token] = applied
            return applied


@breaks("test_no_update_is_lost_between_processes", "n45|frozenset")
class LosesUpdates(Levels):
    class account(SQLiteAccount):
        async def apply(
            self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None
        ) -> Applied:
            await pause(0.05)  # so that somebody comes in between
            return await super().apply(ops, None, token)


@breaks("test_commits_become_visible_in_their_order_in_every_process", "missed|appeared|AssertionError")
class CommitsAppearLate(Levels):
    class account(SQLiteAccount):
        calls = 0

        async def changes(self, since: int, mailbox_id: str | None = None, limit: int = 1000) -> Changes:
            page = await super().changes(since, mailbox_id, limit)
            type(self).calls += 1
            if self.calls % 2 and len(page.messages) > 1:
                return page._replace(messages=page.messages[1:])  # the first comes with a later call
            return page


@breaks("test_what_two_processes_do_at_once_is_all_done", "assert")
@breaks("test_what_four_processes_do_at_once_is_all_done", "assert")
class LosesSomeOfManyProcesses(Levels):
    class account(SQLiteAccount):
        calls = 0

        async def apply(
            self, ops: Sequence[Operation], if_state: int | None = None, token: str | None = None
        ) -> Applied:
            type(self).calls += 1
            if self.calls == 7:
                return self.last
            self.last = await super().apply(ops, if_state, token)
            type(self).last = self.last
            return self.last


@breaks("test_an_account_that_several_processes_make_is_made_once", "made twice")
class UidvalidityOfTheProcess(Levels):
    class account(SQLiteAccount):
        async def mailboxes(self) -> Any:
            return [box._replace(uidvalidity=os.getpid()) for box in await super().mailboxes()]


@breaks("test_a_process_that_is_killed_does_not_hinder_the_others", "is not there|used|assert")
class AcknowledgesTooSoon(Levels):
    class account(SQLiteAccount):
        calls = 0

        async def messages(
            self, mailbox_id: str, uids: Sequence[int] | None = None, after: int = 0, limit: int = 1000
        ) -> Sequence[Message]:
            return [row for row in await super().messages(mailbox_id, uids, after, limit) if row.uid % 5]


@breaks("test_hints_tell_of_the_commits_of_other_processes", "no hint came")
class NoHints(Levels):
    seen_within = 0.3

    def make_store(self, tmp_path: Path) -> SQLiteStore:
        store = super().make_store(tmp_path)
        store.watch_changes = lambda heard: lambda: None  # never hears of others, nor of itself
        return store


class ReaderBroken(Levels):
    factory = ""

    def make_store(self, tmp_path: Path) -> SQLiteStore:
        store = super().make_store(tmp_path)
        _, arguments = store.read_elsewhere()
        store.read_elsewhere = lambda: (f"{__name__}.{self.factory}", arguments)
        return store


@breaks("test_what_was_acknowledged_is_read_elsewhere", "==")
class ReadsAsOfOnce(ReaderBroken):
    factory = "Reader"


class Reader(SQLiteReader):
    async def open_account(self, name: str, create: bool = False) -> SQLiteAccount:
        account = await super().open_account(name)
        account.__class__ = RemembersItsState.account
        return account


@breaks("test_an_account_does_not_appear_by_being_read_elsewhere", "the reader is gone")
class SaysItInOtherWords(ReaderBroken):
    factory = "ReaderOfAll"


class ReaderOfAll(SQLiteReader):
    async def open_account(self, name: str, create: bool = False) -> SQLiteAccount:
        try:
            return await super().open_account(name)
        except AccountNotFound as error:
            raise KeyError(name) from error


@pytest.mark.parametrize(("contract", "promise", "words"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_store_is_caught(
    contract: type[MailStoreContract], promise: str, words: str, tmp_path: Path
) -> Deferred[None]:
    kept: Deferred[None] = getattr(contract(), promise)(tmp_path)

    def caught(failure: Any) -> None:
        assert issubclass(failure.type, (AssertionError, MailError)), failure
        assert re.search(words, str(failure.value)), failure

    def missed(_: None) -> None:
        pytest.fail(f"{contract.__name__} was not caught by {promise}")

    return kept.addCallbacks(missed, caught)


def test_every_promise_of_these_levels_is_proven_able_to_fail() -> None:
    levels = ("streaming", "processes")
    assert {name for name, test in promises() if test.level in levels} <= {promise for _, promise, _ in BROKEN}
