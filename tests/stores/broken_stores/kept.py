"""Stores that are broken in what they keep: over a restart, and beside another store in the same place."""

from __future__ import annotations

from itertools import count
from threading import Event, Thread
from typing import Any

from broken_stores import SoundAccount, SoundStore, breaks
from twisted_mail_kit.errors import Unavailable
from twisted_mail_kit.interfaces import Applied
from twisted_mail_kit.stores.memory import MemoryBlobWriter
from twisted_mail_kit.testing.contracts.crowds import pause


@breaks("test_everything_is_there_when_it_is_opened_again")
class KeywordsDie(SoundStore):
    """A restart takes keywords away."""

    def found_again(self) -> None:
        for account in self.accounts.values():
            for rows in account.rows.values():
                for uid, row in rows.items():
                    rows[uid] = row._replace(flags=frozenset(flag for flag in row.flags if flag.startswith("\\")))


@breaks("test_everything_is_there_when_it_is_opened_again")
class TombstonesDie(SoundStore):
    """A restart takes tombstones away, and nobody says so."""

    def found_again(self) -> None:
        for account in self.accounts.values():
            account.tombstones.clear()


@breaks("test_octets_are_there_when_it_is_opened_again")
class OctetsAreText(SoundStore):
    """A restart takes away what is no text."""

    def found_again(self) -> None:
        for account in self.accounts.values():
            for blob_id, octets in account.blobs.items():
                account.blobs[blob_id] = octets.decode(errors="ignore").encode()


@breaks("test_a_token_is_known_when_it_is_opened_again")
class TokensDie(SoundStore):
    """A restart takes tokens away."""

    def found_again(self) -> None:
        for account in self.accounts.values():
            account.tokens.clear()


@breaks("test_nothing_is_used_twice_when_it_is_opened_again")
class UidnextIsCountedAgain(SoundStore):
    """After a restart, UIDNEXT is one more than the last that is there."""

    def found_again(self) -> None:
        for account in self.accounts.values():
            for box in account.mailboxes_by_id.values():
                uidnext = max(account.rows[box.id], default=0) + 1
                account.mailboxes_by_id[box.id] = box._replace(uidnext=uidnext)


@breaks("test_nothing_is_used_twice_when_it_is_opened_again")
class UidvaliditiesBeginAgain(SoundStore):
    """A restart counts UIDVALIDITY from one."""

    def __init__(self, *said: Any) -> None:
        super().__init__(*said)
        self._uidvalidities = count(1)


@breaks("test_an_account_with_nothing_in_it_is_there_when_it_is_opened_again")
class EmptyAccountsDie(SoundStore):
    """An account is kept with its first message."""

    def found_again(self) -> None:
        for name, account in list(self.accounts.items()):
            if not account.references:
                del self.accounts[name]


@breaks("test_what_was_never_committed_is_no_hindrance")
class StumblesOverHalfABlob(SoundStore):
    """What a crash has left of a blob has to be removed by hand."""

    def found_again(self) -> None:
        if CountedWriter.begun:
            CountedWriter.begun = 0
            raise Unavailable("there is half a blob")

    class account(SoundAccount):
        def new_blob(self, size_hint: int | None = None) -> MemoryBlobWriter:
            self.writer = CountedWriter
            return super().new_blob(size_hint)


class CountedWriter(MemoryBlobWriter):
    begun = 0

    def __init__(self, keep: Any) -> None:
        super().__init__(keep)
        CountedWriter.begun += 1

    async def commit(self) -> str:
        CountedWriter.begun -= 1
        return await super().commit()


@breaks("test_closing_finishes_what_was_begun")
class LeavesInTheMiddle(SoundStore):
    """Closing gives up what was begun."""

    is_closed = False

    async def close(self) -> None:
        self.is_closed = True
        await super().close()

    class account(SoundAccount):
        async def apply(self, *said: Any, **more: Any) -> Applied:
            store = self.store
            await pause()
            if store.is_closed:  # type: ignore[attr-defined]
                raise Unavailable("the store is closed")
            return await super().apply(*said, **more)


@breaks("test_closing_lets_go_of_files_and_threads")
class FilesStayOpen(SoundStore):
    """Closing closes nothing."""

    def found_again(self) -> None:
        first = next(iter(self.accounts.values()))
        first.__dict__.setdefault("files", []).append(open("/dev/null"))  # noqa: PTH123, SIM115


@breaks("test_closing_lets_go_of_files_and_threads")
class ThreadsGoOn(SoundStore):
    """Closing ends no thread."""

    over = Event()

    def found_again(self) -> None:
        Thread(target=self.over.wait, args=(1,), daemon=True).start()


@breaks("test_two_stores_in_the_same_place_are_one")
class EachForItself(SoundStore):
    """What another store does after this one was opened is never seen."""

    def found_again(self) -> None:
        self.accounts = {name: account.twin(self) for name, account in self.accounts.items()}  # type: ignore[attr-defined]
