"""Stores that are broken in their accounts: names, openings, and walls between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zope.interface import implementer

from broken_stores import SoundAccount, SoundStore, breaks
from twisted_mail_kit.errors import AccountNotFound, MailboxExists, MailboxNotFound
from twisted_mail_kit.interfaces import CreateMailbox, IBlobWriter, Mailbox, Message
from twisted_mail_kit.stores.memory_draft import Draft
from twisted_mail_kit.testing.contracts.crowds import pause


@breaks("test_the_doors_are_provided")
class WriterWithoutAbort(SoundAccount):
    """A blob's writer lacks a method of its door."""

    def new_blob(self, size_hint: int | None = None) -> Any:
        @implementer(IBlobWriter)
        class Writer:
            write, commit = super(WriterWithoutAbort, self).new_blob().write, None

        return Writer()


@breaks("test_account_names_are_compared_as_they_are_and_are_no_paths")
class NamesInLowerCase(SoundStore):
    """Alice is alice."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        return await super().open_account(name.lower(), create)


@breaks("test_account_names_are_compared_as_they_are_and_are_no_paths")
class NamesArePaths(SoundStore):
    """An account is a directory of its name, wherever that leads."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        if name.startswith("/") and name.endswith("outside"):
            Path(name).touch()
        return await super().open_account(name, create)


@breaks("test_an_empty_account_name_is_a_name_or_bad_syntax")
class NoNameIsSomebody(SoundStore):
    """An empty name is taken for a name that was left out."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        return await super().open_account(name or "nobody", create)


@breaks("test_an_account_that_nobody_made_is_not_found_however_often_it_is_asked_for")
class AppearsWhenAskedFor(SoundStore):
    """To open an account is to make it."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        return await super().open_account(name, create=True)


@breaks("test_an_account_that_nobody_made_is_not_found_however_often_it_is_asked_for")
class FoundTheSecondTime(SoundStore):
    """To ask for an account in vain leaves something of it behind."""

    asked: set[str] = set()

    async def open_account(self, name: str, create: bool = False) -> Any:
        try:
            return await super().open_account(name, create or name in self.asked)
        except AccountNotFound:
            self.asked = {*self.asked, name}
            raise


@breaks("test_an_account_that_is_there_is_opened_and_not_made_again")
class MadeAgain(SoundStore):
    """`create` begins anew what is there."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        if create:
            self.accounts.pop(name, None)
        return await super().open_account(name, create)


@breaks("test_an_account_may_be_opened_often")
class AFileEachTime(SoundStore):
    """Each opening takes a file."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        self.__dict__.setdefault("files", []).append(open("/dev/null"))  # noqa: PTH123, SIM115
        return await super().open_account(name, create)


@breaks("test_a_name_that_cannot_be_kept_is_bad_syntax")
class HalfCharactersDropped(SoundStore):
    """What cannot be kept of a name is left out."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        return await super().open_account(name.encode(errors="ignore").decode(), create)


@breaks("test_a_name_that_cannot_be_kept_is_bad_syntax")
class EndsAtNul(Draft):
    """A mailbox's name ends at a NUL."""

    def _put_mailbox(self, new: Mailbox) -> Mailbox:
        return super()._put_mailbox(new._replace(name=tuple(part.split("\0")[0] for part in new.name)))


@breaks("test_a_new_account_has_an_inbox_and_nothing_else")
class DraftsToo(SoundStore):
    """A new account has been furnished."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        is_new = name not in self.accounts
        account = await super().open_account(name, create)
        if is_new:
            await account.apply([CreateMailbox(("Drafts",), "drafts")])
        return account


@breaks("test_several_openings_stand_for_the_same_account")
class OpeningIsASnapshot(SoundStore):
    """An account's mailboxes are those that there were when it was first looked at."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        account = await super().open_account(name, create)
        handle = Handle.__new__(Handle)
        handle.__dict__, handle.seen = account.__dict__, None
        return handle


class Handle(SoundAccount):
    __slots__ = ("seen",)

    async def mailboxes(self) -> Any:
        self.seen = self.seen or await super().mailboxes()
        return self.seen

    async def apply(self, *said: Any, **more: Any) -> Any:
        return await self.store.accounts[self.name].apply(*said, **more)


@breaks("test_an_account_that_many_make_at_once_is_made_once")
class LooksThenMakes(SoundStore):
    """Between the look whether there is an account and its making, others look too."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        is_there = name in self.accounts
        await pause()
        if not is_there:
            self.accounts.pop(name, None)
        return await super().open_account(name, create)


@breaks("test_accounts_do_not_hold_each_other_up_or_mix")
class TheLastThatWasOpened(SoundStore):
    """All openings share one object, and it is of the account that was opened last."""

    one: Any = None

    async def open_account(self, name: str, create: bool = False) -> Any:
        account = await super().open_account(name, create)
        self.one = self.one or Shared.__new__(Shared)
        self.one.__dict__ = account.__dict__
        await pause()
        return self.one


class Shared(SoundAccount):
    async def apply(self, *said: Any, **more: Any) -> Any:
        return await self.store.accounts[self.name].apply(*said, **more)


@breaks("test_accounts_do_not_see_each_other")
class NoWallBetweenMailboxes(SoundAccount):
    """A mailbox is found by its id, whose ever it is."""

    async def messages(self, mailbox_id: str, *said: Any, **more: Any) -> Any:
        for account in self.store.accounts.values():
            if mailbox_id in account.mailboxes_by_id:
                return await super(SoundAccount, account).messages(mailbox_id, *said, **more)
        raise MailboxNotFound(mailbox_id)


@breaks("test_accounts_do_not_see_each_other")
class OneCounterForAll(SoundAccount):
    """What happens in one account is a change in all."""

    async def apply(self, *said: Any, **more: Any) -> Any:
        applied = await super().apply(*said, **more)
        for account in self.store.accounts.values():
            account.modseq = max(account.modseq, applied.modseq)
        return applied


@breaks("test_each_account_has_its_own_names_roles_and_counters")
class OneSentForAll(Draft):
    """A role belongs to one mailbox of the whole store."""

    def create_mailbox(self, op: CreateMailbox) -> Mailbox:
        for account in self.account.store.accounts.values():
            if op.role and op.role in {box.role for box in account.mailboxes_by_id.values()}:
                raise MailboxExists(op.role)
        return super().create_mailbox(op)


@breaks("test_a_token_of_one_account_means_nothing_in_another")
class TokensOfAll(SoundStore):
    """Accounts share their tokens."""

    async def open_account(self, name: str, create: bool = False) -> Any:
        account = await super().open_account(name, create)
        account.tokens = next(iter(self.accounts.values())).tokens
        return account


@breaks("test_equal_octets_in_two_accounts_stay_apart")
class EqualOctetsAreOne(Draft):
    """Equal octets are kept once for all accounts, and go with the last message that any one of them has."""

    def _drop(self, row: Message) -> None:
        super()._drop(row)
        octets = self.account.blobs[row.blob_id]
        for account in self.account.store.accounts.values():
            account.blobs = {one: b"" if kept == octets else kept for one, kept in account.blobs.items()}
