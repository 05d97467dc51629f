r"""A mailbox as it is now, in memory, shared by all sessions that have it open.

Packed columns, ascending by UID, grown from what the store says has changed. What happens is written to a short log of
packed sets of UIDs; each `View` reads the log at its own pace. So a thousand sessions cost one mailbox in memory, and
a NOOP costs a look at the account's modseq.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import MailboxNotFound, StateTooOld
from twisted_mail_kit.imap.packed import NOTHING, SLICE, Columns, Packed, Step
from twisted_mail_kit.imap.turns import Turns
from twisted_mail_kit.imap.uidset import UidSet
from twisted_mail_kit.interfaces import IAccount, IListing
from twisted_mail_kit.mail.facts import Applied, FlagsSet, Listing, Mailbox, Message
from twisted_mail_kit.mail.operations import SetFlags, flags_after

if TYPE_CHECKING:
    from twisted_mail_kit.imap.view import View

Watch = Callable[[IAccount, Callable[[int], None]], Callable[[], None]]
"""``watch(account, heard)``: call ``heard(modseq)`` after each change of the account; returns what ends the watch."""

_PAGE = 1000
_LISTED = 2000
_LONGEST_LOG = 1000

Facts = tuple[int, frozenset[str], int, int, int]
"""UID, flags, modseq, size, internal date."""


class Idler(Protocol):
    """A session in IDLE."""

    def wake(self) -> None:
        """Something has changed."""


class OpenMailbox(Packed):
    """One mailbox of one account, for all its views."""

    def __init__(
        self,
        account: IAccount,
        mailbox: Mailbox,
        watch: Watch,
        turns: Turns | None = None,
        grown: Callable[[OpenMailbox], None] | None = None,
    ) -> None:
        super().__init__()
        self.account = account
        self.mailbox = mailbox
        """As the store told it last; counts may be older than the columns."""
        self.modseq = -1
        """The columns stand at this modseq of the account; -1: not read yet."""
        self.is_gone = False
        """The mailbox was deleted."""
        self.recent_from = 1
        r"""Messages from this UID on have been told to nobody in this process: they are ``\Recent`` to who comes."""
        self.log: list[Step] = []
        """What has become of messages that were here."""
        self.log_start = 0
        """How many entries were dropped from the log's beginning."""
        self.views: set[View] = set()
        self.idlers: dict[Idler, View] = {}
        self._watch = watch
        self._unwatch: Callable[[], None] | None = None
        self._turns = turns
        """None: nobody else is to have a turn."""
        self._grown = grown
        """Is called after the columns have changed."""
        self._reading: list[Deferred[None]] | None = None

    # --- keeping up ------------------------------------------------------------------------------------------------

    async def refresh(self, at_least: int | None = None) -> None:
        """Bring the columns to where the store is now; to `at_least` where that is known to be enough.

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
        if self._turns is not None:
            self._turns.begin()
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
            if self._grown is not None:
                self._grown(self)
            waiting, self._reading = self._reading, None
            for one in waiting:
                one.callback(None)
        self._wake_idlers()

    def take_flags(self, op: SetFlags, applied: Applied) -> bool:
        """Put in what `op`, the only one of its commit, has changed, without asking the store. Answers whether it
        could: not where something else has come in between.

        Where the commit's modseq is the next one after that of the columns, nothing has: they are what the store had
        before it, so what it has now can be told.
        """
        (result,) = applied.results
        assert isinstance(result, FlagsSet)
        uids = result.changed
        if applied.modseq != self.modseq + 1 or self._reading is not None or self.is_gone or len(uids) > SLICE:
            return False
        places = self.places(list(uids))
        before = [self.flag_ids[at] for at in places]
        after = {number: self.flags_id(flags_after(op, self.flag_sets[number])) for number in set(before)}
        if not before or len(before) < len(uids) or any(old == new for old, new in after.items()):
            return False  # a store that says what cannot be: it is asked
        widths = self.flag_ids.itemsize + self.modseqs.itemsize
        changed = self.change(array("I", uids), [after[number] for number in before], [applied.modseq] * len(uids))
        self._note((changed, NOTHING))
        self.mailbox = self.mailbox._replace(modseq=applied.modseq)
        self.modseq = applied.modseq
        if self._grown is not None and widths != self.flag_ids.itemsize + self.modseqs.itemsize:
            self._grown(self)
        self._wake_idlers()
        return True

    async def _read_all(self) -> None:
        modseq = await self.account.state()
        columns = Columns()
        # Packed as it comes: of a million messages no more than a page is ever there as objects.
        while True:
            page, is_last = await self._listing(columns.uids[-1] if columns.uids else 0)
            await self._in_turns(self.pack(page, columns))
            if is_last:
                break
        if self.modseq < 0:
            self.take(columns)
        else:
            gone = UidSet()
            for some in self.missing(columns):
                gone.update(some)
                await self._turn()
            await self._merge(columns, gone)
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
        return _listed(map(_facts, page)), len(page) < _PAGE

    async def _read_changes(self) -> None:
        account = self.account
        if IListing.providedBy(account):
            news = await cast(Any, account).listing_since(self.mailbox.id, self.modseq)
            columns, removed = Columns(), UidSet()
            await self._in_turns(self.pack(news.changed, columns))
            for start in range(0, len(news.removed), SLICE):
                removed.update(news.removed[start : start + SLICE])
                await self._turn()
            await self._merge(columns, removed)
            self.mailbox = news.mailbox
            self.modseq = news.until
        else:
            await self._read_pages_of_changes()

    async def _read_pages_of_changes(self) -> None:
        # All pages are gathered before any is put in: a message whose flags were set after it came stands in a later
        # page than its successor, and no view may see the successor alone.
        blocks: dict[int, dict[int, Facts]] = {}
        removed = UidSet()
        since, mailbox_id = self.modseq, self.mailbox.id
        while True:
            page = await self.account.changes(since, mailbox_id, _PAGE)
            for start in range(0, len(page.messages), SLICE):
                for facts in map(_facts, page.messages[start : start + SLICE]):
                    block = blocks.setdefault(facts[0] // SLICE, {})
                    known = block.get(facts[0])
                    if known is None or facts[2] >= known[2]:
                        block[facts[0]] = facts
                await self._turn()
            for start in range(0, len(page.removed), SLICE):
                removed.update(row.uid for row in page.removed[start : start + SLICE])
                await self._turn()
            for mailbox in page.mailboxes:
                if mailbox.id == mailbox_id:
                    self.mailbox = mailbox
            if mailbox_id in page.removed_mailboxes:
                self.is_gone = True
            since = page.until
            if not page.more:
                break
        columns = Columns()
        for number in sorted(blocks):
            await self._in_turns(self.pack(_listed(sorted(blocks[number].values())), columns))
        await self._merge(columns, removed)
        self.modseq = since

    async def _merge(self, news: Columns, removed: UidSet) -> None:
        for changed, gone in self.merge(news, removed):
            # In the same turn in which the columns changed: a view's numbers stand on both.
            if changed or gone:
                self._note((changed, gone))
            await self._turn()

    def _note(self, step: Step) -> None:
        self.log.append(step)
        if len(self.log) > _LONGEST_LOG:
            self._shorten_log()

    async def _in_turns(self, pieces: Iterable[None]) -> None:
        for _ in pieces:
            await self._turn()

    async def _turn(self) -> None:
        if self._turns is not None:
            await self._turns.give()

    def _shorten_log(self) -> None:
        for view in self.views:
            view.catch_up()
        self.log_start += len(self.log)
        self.log.clear()

    def trim(self) -> None:
        """Forget the log where no view lags behind."""
        end = self.log_start + len(self.log)
        if self.log and all(view.position == end for view in self.views):
            self.log_start = end
            self.log.clear()

    # --- asking ----------------------------------------------------------------------------------------------------

    @property
    def uidnext(self) -> int:
        """Greater than every UID in the columns, and than the store said."""
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

    def _wake_idlers(self) -> None:
        """Those that have something to tell now, whoever's command it was that has brought it here."""
        if not self.idlers:
            return
        for idler, view in list(self.idlers.items()):
            if self.is_gone or view.has_news():
                idler.wake()


def _facts(row: Message) -> Facts:
    return row.uid, row.flags, row.modseq, row.size, row.internal_date


def _listed(facts: Iterable[Facts]) -> Listing:
    columns = list(zip(*facts, strict=True))
    return Listing(*columns) if columns else Listing((), (), (), (), ())
