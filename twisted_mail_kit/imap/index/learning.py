"""Reading messages for an index: a page at a time, only what SEARCH looks in, and never for long in one go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.imap.index.codes import rows
from twisted_mail_kit.imap.index.mailbox import InThread, MailboxIndex
from twisted_mail_kit.imap.index.tail import mark
from twisted_mail_kit.imap.index.words import envelope_words, spans, words_in
from twisted_mail_kit.imap.pages import WHOLE, next_page
from twisted_mail_kit.interfaces import IAccount, IReadMany, Message
from twisted_mail_kit.mail.summary import StaleSummary, Summary

if TYPE_CHECKING:
    from twisted_mail_kit.imap.model import OpenMailbox

LONGEST = 4 * 1024 * 1024
"""Octets of a message's text; what has more is read at every SEARCH, as if there were no index."""
MOST_ROWS = 32
"""The same for different words: 128 KB of them."""
_PAGE = 24
"""Messages that are learned in one go: four milliseconds, where they are small."""
_THREAD = 32 * 1024
"""Text of more octets is taken apart in a thread."""

Summarize = Callable[[IAccount, Message], Awaitable[Summary]]


class Reading:
    """One mailbox that is being learned."""

    def __init__(self, model: OpenMailbox, index: MailboxIndex, summarize: Summarize, in_thread: InThread) -> None:
        self.model = model
        self.index = index
        self._summarize = summarize
        self._in_thread = in_thread

    async def page(self, breathe: Callable[[], Awaitable[None]]) -> bool:
        """Some more messages; False: there are none. Raises what the store raises."""
        uids = self.index.unknown(self.model, min(_PAGE, self.index.tail.room))
        if not uids:
            return False
        uids = next_page(self.model, uids, 0, True)
        marks = {uid: self._mark(uid) for uid in uids}
        quick = await self._quickly(uids)
        for uid in uids:
            its = quick.get(uid)
            if its is None:
                its = await self._closely(uid)
            self.index.learned(uid, marks[uid], its)
            await breathe()
        return True

    def _mark(self, uid: int) -> int:
        at = self.model.index(uid)
        return mark(self.model.sizes[at], self.model.dates[at])

    async def _quickly(self, uids: list[int]) -> dict[int, Sequence[bytes]]:
        """The rows of messages that are read many at once."""
        account: Any = self.model.account
        if not IReadMany.providedBy(account):
            return {}
        model, found = self.model, {}
        small = [model.uids[at] for at in model.places(uids) if model.sizes[at] <= WHOLE]
        summaries = dict(await account.summaries(model.mailbox.id, small))
        for uid, octets in await account.bodies(model.mailbox.id, small):
            summary = Summary(summaries.get(uid, b""))
            if summary.is_current:
                found[uid] = _rows_of(octets, summary)
        return found

    async def _closely(self, uid: int) -> Sequence[bytes]:
        """The rows of one message, of which only the text is read."""
        account = self.model.account
        for row in await account.messages(self.model.mailbox.id, [uid], limit=1):
            try:
                summary = await self._summarize(account, row)
                wanted = list(spans(summary))
                if sum(stop - start for start, stop, _, _ in wanted) > LONGEST:
                    return ()
                words = envelope_words(summary.envelope)
                for start, stop, part, is_header in wanted:
                    octets = await self._read(row.blob_id, start, stop)
                    if len(octets) > _THREAD:
                        words |= await self._in_thread(words_in, octets, part, is_header)
                    else:
                        words |= words_in(octets, part, is_header)
            except (BlobNotFound, StaleSummary):
                return ()  # SEARCH meets the same, and knows what to do
            return _bounded(words)
        return ()

    async def _read(self, blob_id: str, start: int, stop: int) -> bytes:
        pieces = []
        while start < stop:
            piece = await self.model.account.read_blob(blob_id, start, min(WHOLE, stop - start))
            if not piece:
                raise BlobNotFound(blob_id)
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)


def _rows_of(octets: bytes, summary: Summary) -> Sequence[bytes]:
    words = envelope_words(summary.envelope)
    for start, stop, part, is_header in spans(summary):
        words |= words_in(octets[start:stop], part, is_header)
    return _bounded(words)


def _bounded(words: set[bytes]) -> Sequence[bytes]:
    its = list(rows(words))
    return its if len(its) <= MOST_ROWS else ()
