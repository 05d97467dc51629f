"""Stores that are broken in what they need not have: hints, lists, shared blobs, upkeep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from broken_stores import SoundAccount, SoundStore, breaks
from twisted_mail_kit.errors import BlobNotFound, Unavailable
from twisted_mail_kit.interfaces import Add, Added, Findings, Listing
from twisted_mail_kit.mail.facts import ListingSince
from twisted_mail_kit.stores.memory_draft import Draft
from twisted_mail_kit.testing.contracts.crowds import pause


@breaks("test_hints_tell_of_commits_in_order")
class HintsOutOfOrder(SoundStore):
    """The commit before is told after the last one."""

    def tell(self, account_name: str, modseq: int) -> None:
        super().tell(account_name, modseq)
        super().tell(account_name, modseq - 1)


@breaks("test_hints_tell_of_commits_in_order")
class WatchesOn(SoundStore):
    """Who has ended his watch hears on."""

    def watch_changes(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        super().watch_changes(heard)
        return lambda: None


@breaks("test_hints_come_in_the_reactor_thread")
class HintsFromAThread(SoundStore):
    """Hints come in the thread that has committed."""

    def tell(self, account_name: str, modseq: int) -> None:
        thread = Thread(target=super().tell, args=(account_name, modseq))
        thread.start()
        thread.join()


@breaks("test_a_listener_that_fails_harms_nobody")
class ListenersAreTrusted(SoundStore):
    """An error of a listener is the error of the commit that he was told of."""

    def tell(self, account_name: str, modseq: int) -> None:
        for heard in self._watchers.values():
            try:
                heard(account_name, modseq)
            except Exception as error:
                raise Unavailable(str(error)) from error


@breaks("test_a_listing_is_what_the_messages_say")
class ListingIsOld(SoundAccount):
    """Flags are listed as the message came with them."""

    async def listing(self, *said: Any) -> Listing:
        listing = await super().listing(*said)
        return listing._replace(flags=[frozenset() for _ in listing.flags])


@breaks("test_a_listing_is_what_the_messages_say")
class ListingWithoutPages(SoundAccount):
    """A listing is of all messages, however few were asked for."""

    async def listing(self, mailbox_id: str, after: int = 0, limit: int = 10_000) -> Listing:
        return await super().listing(mailbox_id, after)


@breaks("test_what_is_read_of_many_is_what_is_read_of_each")
class SummariesOfOthers(SoundAccount):
    """Where one is missing, each gets the summary of the one before it."""

    async def summaries(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        found = await super().summaries(mailbox_id, uids)
        return list(zip(uids, [summary for _, summary in found], strict=False))


@breaks("test_what_is_read_of_many_is_what_is_read_of_each")
class BodiesAreCut(SoundAccount):
    """A body that is read with others has an end."""

    async def bodies(self, mailbox_id: str, uids: Sequence[int]) -> Sequence[tuple[int, bytes]]:
        return [(uid, octets[: 64 * 1024]) for uid, octets in await super().bodies(mailbox_id, uids)]


@breaks("test_a_listing_since_is_what_the_changes_say")
class ListsNoRemovals(SoundAccount):
    """A listing of what is new leaves out what is gone."""

    async def listing_since(self, mailbox_id: str, since: int) -> ListingSince:
        return (await super().listing_since(mailbox_id, since))._replace(removed=[])


@breaks("test_a_shared_blob_goes_into_every_account")
class SharedWithOne(Draft):
    """A shared blob is the account's that was the first to add it."""

    def put_in_place(self) -> None:
        super().put_in_place()
        for blob_id in self.blobs:
            del self.account.store.shared_blobs[blob_id]


@breaks("test_a_shared_blob_is_read_only_where_it_was_added")
class SharedWithAll(SoundAccount):
    """A shared blob can be read by all accounts."""

    async def read_blob(self, blob_id: str, offset: int, size: int) -> bytes:
        try:
            return await super().read_blob(blob_id, offset, size)
        except BlobNotFound:
            if blob_id not in self.store.shared_blobs:
                raise
            return self.store.shared_blobs[blob_id][1][offset : offset + size]


@breaks("test_a_shared_blob_waits_an_hour_for_its_messages")
class SharedForHalfAnHour(Draft):
    """A shared blob is forgotten too soon."""

    def add(self, op: Add) -> Added:
        shared = self.account.store.shared_blobs
        if op.blob_id in shared and shared[op.blob_id][0] < self.now - 1800:
            del shared[op.blob_id]
        return super().add(op)


@breaks("test_accounts_are_listed_in_order_and_in_pages")
class ListedInAnyOrder(SoundStore):
    """Accounts are listed as they were made."""

    async def account_names(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        return [name for name in self.accounts if name > after][:limit]


@breaks("test_a_removed_account_is_gone_and_the_others_stay")
class RemovedAndNotForgotten(SoundStore):
    """Who is made again after he was removed finds his octets."""

    graves: dict[str, dict[str, bytes]] = {}

    async def remove_account(self, name: str) -> None:
        octets = self.accounts[name].blobs if name in self.accounts else {}
        await super().remove_account(name)
        self.graves = {**self.graves, name: octets}

    async def open_account(self, name: str, create: bool = False) -> Any:
        account = await super().open_account(name, create)
        account.blobs |= self.graves.get(name, {})
        return account


@breaks("test_a_removed_account_does_not_come_back")
class RemovedUntilTheRestart(SoundStore):
    """A removal is not written down."""

    async def remove_account(self, name: str) -> None:
        removed = self.accounts.get(name)
        await super().remove_account(name)
        next(iter(self.accounts.values())).__dict__["removed"] = removed

    def found_again(self) -> None:
        for account in list(self.accounts.values()):
            if back := account.__dict__.pop("removed", None):
                self.accounts[back.name] = back


@breaks("test_compacting_takes_nothing_that_is_needed")
class CompactsTheGrace(SoundStore):
    """Compacting takes what has just lost its last message."""

    async def compact(self) -> Findings:
        for account in self.accounts.values():
            for blob_id in account.loose:
                account.blobs[blob_id] = b""
        return await super().compact()


@breaks("test_compacting_is_never_in_the_way_of_a_reader")
class CompactsUnderReaders(SoundStore):
    """While it is copied, a blob is nowhere."""

    async def compact(self) -> Findings:
        kept = {account: account.blobs for account in self.accounts.values()}
        for account in kept:
            account.blobs = {}
        await pause()
        for account, blobs in kept.items():
            account.blobs = blobs
        return await super().compact()


@breaks("test_a_store_in_use_has_no_problems")
class AlwaysComplains(SoundStore):
    """What is in use is found to be wrong."""

    async def check(self) -> Findings:
        return Findings({}, ["memory: it may be gone tomorrow: buy a disk"])


@breaks("test_findings_are_numbers_and_lines")
class FindingsAreProse(SoundStore):
    """What was found is told in sentences."""

    async def check(self) -> Findings:
        return Findings({"messages": "quite a few"})  # type: ignore[dict-item]


@breaks("test_a_backup_is_of_one_moment")
class BackupOfTwoMoments(SoundStore):
    """While one account is copied, mail goes into the others."""

    async def backup(self, directory: Path) -> Findings:
        self.backups[directory] = copy = type(self)(self.clock, self.backups)
        for name, account in self.accounts.items():
            copy.accounts[name] = account.twin(copy)  # type: ignore[attr-defined]
            await pause(0.02)
        return Findings({})


@breaks("test_a_backup_takes_no_place_that_is_something_elses")
class BackupAnywhere(SoundStore):
    """A backup is made wherever it is said."""

    async def backup(self, directory: Path) -> Findings:
        if directory.exists():
            (directory / "index").touch()
            return Findings({})
        return await super().backup(directory)


@breaks("test_a_backup_has_what_there_was")
class BackupOfOnce(SoundStore):
    """A backup that is there is not brought up to date."""

    async def backup(self, directory: Path) -> Findings:
        return Findings({}) if directory in self.backups else await super().backup(directory)


@breaks("test_a_backup_has_what_there_was")
class BackupIsAlive(SoundStore):
    """What happens after the backup happens in it, too."""

    async def backup(self, directory: Path) -> Findings:
        self.backups[directory] = self
        return Findings({})
