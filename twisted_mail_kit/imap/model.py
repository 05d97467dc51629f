r"""A mailbox as it is now, in memory, shared by all sessions that have it open.

Packed arrays in step with each other, ascending by UID, grown from `IAccount.changes`. What happens is written to a
short log of UIDs; each `View` reads the log at its own pace. So a thousand sessions cost one mailbox in memory, and
a NOOP costs a look at the account's modseq.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import MailboxNotFound, StateTooOld
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.interfaces import IAccount, IListing
from twisted_mail_kit.mail.facts import Listing, Mailbox, Message

if TYPE_CHECKING:
    from twisted_mail_kit.imap.view import View

Watch = Callable[[IAccount, Callable[[int], None]], Callable[[], None]]
"""``watch(account, heard)``: call ``heard(modseq)`` after each change of the account; returns what ends the watch."""

_PAGE = 1000
_LISTED = 2000
_LONGEST_LOG = 16_384

Facts = tuple[int, int, int, int, int]
"""UID, number of the flag set, modseq, size, internal date."""


_NOTHING = Listing((), (), (), (), ())


class Idler(Protocol):
    """A session in IDLE."""

    def wake(self) -> None:
        """Something has changed."""


class OpenMailbox:
    """One mailbox of one account, for all its views."""

    def __init__(self, account: IAccount, mailbox: Mailbox, watch: Watch) -> None:
        self.account = account
        self.mailbox = mailbox
        """As the store told it last; counts may be older than the arrays."""
        self.uids = array("I")
        self.flag_ids = array("H")
        self.modseqs = array("Q")
        self.sizes = array("Q")
        self.dates = array("q")
        self.modseq = -1
        """The arrays stand at this modseq of the account; -1: not read yet."""
        self.is_gone = False
        """The mailbox was deleted."""
        self.recent_from = 1
        r"""Messages from this UID on have been told to nobody in this process: they are ``\Recent`` to who comes."""
        self.keywords: dict[str, None] = {}
        """Every keyword seen in here, in that order."""
        self.flag_sets: list[frozenset[str]] = []
        self.flag_texts: list[bytes] = []
        r"""``(\Seen)``: each flag set as it is sent."""
        self.recent_texts: list[bytes] = []
        r"""``(\Seen \Recent)``: the same for recent messages."""
        self._id_of_flags: dict[frozenset[str], int] = {}
        self.log = array("q")
        """A UID: it came with other flags. A negated UID: it is gone."""
        self.log_start = 0
        """How many entries were dropped from the log's beginning."""
        self.views: set[View] = set()
        self.idlers: dict[Idler, View] = {}
        self._watch = watch
        self._unwatch: Callable[[], None] | None = None
        self._reading: list[Deferred[None]] | None = None

    # --- keeping up ------------------------------------------------------------------------------------------------

    async def refresh(self, at_least: int | None = None) -> None:
        """Bring the arrays to where the store is now; to `at_least` where that is known to be enough.

        Raises what the store raises; a deleted mailbox is no error, but `is_gone` afterwards.
        """
        while not self.is_gone:
            if self.modseq >= 0:
                wanted = await self.account.state() if at_least is None else at_least
                if wanted <= self.modseq:
                    return
            if self._reading is None:
                await self._read()
                return
            # Another session is reading just now, perhaps from before what we are to see: wait, and look again.
            waiting: Deferred[None] = Deferred()
            self._reading.append(waiting)
            await waiting

    async def _read(self) -> None:
        self._reading = []
        try:
            if self.modseq < 0:
                await self._read_all()
            else:
                try:
                    await self._read_changes()
                except StateTooOld:
                    await self._read_all()
        except MailboxNotFound:
            self.is_gone = True
        finally:
            waiting, self._reading = self._reading, None
            for one in waiting:
                one.callback(None)

    async def _read_all(self) -> None:
        modseq = await self.account.state()
        uids, flag_ids, modseqs = array("I"), array(self.flag_ids.typecode), array("Q")
        sizes, dates = array("Q"), array("q")
        # Packed as it comes: of a million messages no more than a page is ever there as objects.
        while True:
            page, is_last = await self._listing(uids[-1] if uids else 0)
            ids = self._flags_ids(page.flags)
            if self.flag_ids.typecode != flag_ids.typecode:
                flag_ids = array(self.flag_ids.typecode, flag_ids)
            uids.extend(page.uids)
            flag_ids.extend(ids)
            modseqs.extend(page.modseqs)
            sizes.extend(page.sizes)
            dates.extend(page.internal_dates)
            if is_last:
                break
        if self.modseq < 0:
            self.uids, self.flag_ids, self.modseqs, self.sizes, self.dates = uids, flag_ids, modseqs, sizes, dates
        else:
            present = set(uids)
            gone = [uid for uid in self.uids if uid not in present]
            self._merge(zip(uids, flag_ids, modseqs, sizes, dates, strict=True), gone)
        self.modseq = modseq
        # Pages are not one moment: what moved meanwhile is among the changes since before the first of them.
        await self._read_changes()

    async def _listing(self, after: int) -> tuple[Listing, bool]:
        """A page of what the store has, and whether it is the last."""
        account, mailbox_id = self.account, self.mailbox.id
        if IListing.providedBy(account):
            listing = await cast(Any, account).listing(mailbox_id, after, _LISTED)
            return listing, len(listing.uids) < _LISTED
        page = await account.messages(mailbox_id, after=after, limit=_PAGE)
        rows = [(row.uid, row.flags, row.modseq, row.size, row.internal_date) for row in page]
        return Listing(*zip(*rows, strict=True)) if rows else _NOTHING, len(rows) < _PAGE

    async def _read_changes(self) -> None:
        # All pages are gathered before any is put in: a message whose flags were set after it came stands in a later
        # page than its successor, and no view may see the successor alone.
        rows: list[Facts] = []
        removed: list[int] = []
        since, mailbox_id = self.modseq, self.mailbox.id
        while True:
            page = await self.account.changes(since, mailbox_id, _PAGE)
            rows.extend(map(self._facts, page.messages))
            removed.extend(row.uid for row in page.removed)
            for mailbox in page.mailboxes:
                if mailbox.id == mailbox_id:
                    self.mailbox = mailbox
            if mailbox_id in page.removed_mailboxes:
                self.is_gone = True
            since = page.until
            if not page.more:
                break
        self._merge(rows, removed)
        self.modseq = since

    def _flags_ids(self, flags: Sequence[frozenset[str]]) -> list[int]:
        for new in set(flags) - self._id_of_flags.keys():
            self.flags_id(new)
        known = self._id_of_flags
        return [known[one] for one in flags]

    def _facts(self, row: Message) -> Facts:
        flags_id = self._id_of_flags.get(row.flags)
        if flags_id is None:
            flags_id = self.flags_id(row.flags)
        return row.uid, flags_id, row.modseq, row.size, row.internal_date

    def flags_id(self, flags: frozenset[str]) -> int:
        """The number of a flag set."""
        number = self._id_of_flags.get(flags)
        if number is None:
            number = len(self.flag_sets)
            if number == 0xFFFF:  # far more than clients make; from here on they need more room
                self.flag_ids = array("I", self.flag_ids)
            self._id_of_flags[flags] = number
            self.flag_sets.append(flags)
            text = responses.flag_list(flags)
            self.flag_texts.append(text)
            self.recent_texts.append(text[:-1] + (b"\\Recent)" if text == b"()" else b" \\Recent)"))
            for flag in sorted(flags):
                if not flag.startswith("\\"):
                    self.keywords.setdefault(flag)
        return number

    def _merge(self, rows: Iterable[Facts], removed: Iterable[int]) -> None:
        newest: dict[int, Facts] = {}
        for row in rows:
            known = newest.get(row[0])
            if known is None or row[2] >= known[2]:
                newest[row[0]] = row
        gone = set(removed)
        uids, log = self.uids, self.log
        last = uids[-1] if uids else 0
        come: list[Facts] = []
        for uid, row in newest.items():
            if uid in gone:
                continue
            at = bisect_left(uids, uid) if uid <= last else len(uids)
            if at < len(uids) and uids[at] == uid:
                if self.modseqs[at] == row[2]:
                    continue
                log.append(uid)
                self.flag_ids[at] = row[1]
                self.modseqs[at] = row[2]
            elif uid > last:
                come.append(row)
            # else it came and went between two looks, and is not in the arrays: a store tells it as removed too
        self._remove(gone)
        come.sort()
        for uid, flags_id, modseq, size, date in come:
            uids.append(uid)
            self.flag_ids.append(flags_id)
            self.modseqs.append(modseq)
            self.sizes.append(size)
            self.dates.append(date)
        if len(log) > _LONGEST_LOG:
            self._shorten_log()

    def _remove(self, gone: set[int]) -> None:
        uids = self.uids
        places = []
        for uid in sorted(gone):
            at = bisect_left(uids, uid)
            if at < len(uids) and uids[at] == uid:
                places.append(at)
                self.log.append(-uid)
        if not places:
            return
        for column in (self.uids, self.flag_ids, self.modseqs, self.sizes, self.dates):
            _drop(column, places)

    def _shorten_log(self) -> None:
        for view in self.views:
            view.catch_up()
        self.log_start += len(self.log)
        del self.log[:]

    def trim(self) -> None:
        """Forget the log where no view lags behind."""
        end = self.log_start + len(self.log)
        if self.log and all(view.position == end for view in self.views):
            self.log_start = end
            del self.log[:]

    # --- asking ----------------------------------------------------------------------------------------------------

    def index(self, uid: int) -> int:
        """Where a UID stands in the arrays; -1: it is not (any more) here."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    @property
    def uidnext(self) -> int:
        """Greater than every UID in the arrays, and than the store said."""
        return max(self.mailbox.uidnext, self.uids[-1] + 1 if self.uids else 1)

    # --- IDLE ------------------------------------------------------------------------------------------------------

    def begin_idle(self, idler: Idler, view: View) -> None:
        """Wake it when something changes."""
        self.idlers[idler] = view
        if self._unwatch is None:
            self._unwatch = self._watch(self.account, self._heard)

    def end_idle(self, idler: Idler) -> None:
        """No more."""
        self.idlers.pop(idler, None)
        if not self.idlers and self._unwatch is not None:
            unwatch, self._unwatch = self._unwatch, None
            unwatch()

    def _heard(self, modseq: int) -> None:
        if modseq > self.modseq or self.is_gone:
            Deferred.fromCoroutine(self._tell_idlers(modseq))

    async def _tell_idlers(self, modseq: int) -> None:
        try:
            await self.refresh(modseq)
        except Exception:
            # The idlers meet the same trouble when they look themselves, and say so in their own log line.
            for idler in list(self.idlers):
                idler.wake()
            return
        for idler, view in list(self.idlers.items()):
            if self.is_gone or view.has_news():
                idler.wake()


def _drop(column: array[int], places: list[int]) -> None:
    # Few: cut them out one by one. Many: copy the runs between them.
    if len(places) < 8:
        for at in reversed(places):
            del column[at]
        return
    kept = array(column.typecode)
    start = 0
    for at in places:
        kept.extend(column[start:at])
        start = at + 1
    kept.extend(column[start:])
    column[:] = kept
