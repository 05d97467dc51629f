"""Which messages a SEARCH program means: cheap keys from memory, then the others row by row (RFC 3501 6.4.4)."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.imap.commands.basis import resolve_spans
from twisted_mail_kit.imap.glance import Glance, by_envelopes, needs_octets
from twisted_mail_kit.imap.packed import SLICE
from twisted_mail_kit.imap.pages import WHOLE, next_page
from twisted_mail_kit.imap.searchtext import (
    ENVELOPE_FIELDS,
    Haystack,
    body_texts,
    envelope_text,
    fits,
    fold,
    header_holds,
    header_values,
    may_hold,
    sent_day,
)
from twisted_mail_kit.imap.wire.commands import (
    All,
    And,
    Date,
    HasFlag,
    Header,
    ModSeq,
    Not,
    Numbers,
    Or,
    SearchKey,
    Size,
    Text,
)
from twisted_mail_kit.interfaces import IReadMany, Message
from twisted_mail_kit.mail.summary import Summary

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession

_GLANCES = 32
"""Messages that are glanced at in one go."""
_FEW_SUMMARIES = 1 / 8
_FEW_BODIES = 3 / 4
"""Of messages in a row so many are looked at as quickly as all of them: a store reads neighbours together."""
_SLICE = 256 * 1024
_THREAD = 128 * 1024
"""A part of more octets is decoded and searched in a thread."""
_DAY = 86_400

Sieve = Callable[[Sequence[int]], Sequence[int]]
"""Those of ascending places in the columns of the mailbox that match."""


class Matching:
    """One SEARCH at work."""

    def __init__(self, session: IMAPSession) -> None:
        self.session = session
        self.view = session.view
        self.model = self.view.model
        self._sets: dict[Numbers, tuple[list[int], list[int]]] = {}
        """First and last UIDs of the ranges that they mean."""

    async def run(self, program: SearchKey) -> Sequence[int]:
        """The UIDs that match, ascending."""
        self._resolve_sets(program)
        keys = program.keys if isinstance(program, And) else (program,)
        sieves: list[Sieve] = []
        deep: list[SearchKey] = []
        for key in keys:
            sieve = self._cheap(key)
            if sieve is None:
                deep.append(key)
            else:
                sieves.append(sieve)
        found = await self._by_memory(sieves)
        if not deep:
            return found
        # What reads the message's text comes last.
        deep.sort(key=_cost)
        key = deep[0] if len(deep) == 1 else And(tuple(deep))
        session = self.session
        return await session.server.indexes.search(
            session.home,
            self.model,
            found,
            key,
            lambda uids: self._by_row(uids, key),
            _FEW_SUMMARIES if _cost(key) < 2 else _FEW_BODIES,
        )

    async def _by_memory(self, sieves: list[Sieve]) -> array[int]:
        self.view.catch_up()
        max_uid, last = self.view.max_uid, 0
        found = array("I")
        while True:
            # Between two slices the mailbox may change: the next one begins after the last UID, wherever that is now.
            uids = self.model.uids
            start = bisect_right(uids, last)
            stop = min(start + SLICE, bisect_right(uids, max_uid))
            if start >= stop:
                return found
            places: Sequence[int] = range(start, stop)
            for sieve in sieves:
                places = sieve(places)
            found.extend([uids[at] for at in places])
            last = uids[stop - 1]
            await self.session.breathe()

    async def _by_row(self, uids: Sequence[int], key: SearchKey) -> list[int]:
        account, mailbox_id = self.session.account, self.model.mailbox.id
        reads_many, reads_octets = IReadMany.providedBy(account), needs_octets(key)
        found: list[int] = []
        start = 0
        while start < len(uids):
            page = next_page(self.model, uids, start, reads_octets)
            start += len(page)
            answers: dict[int, bool] = {}
            if reads_many:
                answers = await self._at_a_glance(page, key, reads_octets)
            unknown = [uid for uid in page if uid not in answers]
            for row in await account.messages(mailbox_id, unknown, limit=len(unknown)) if unknown else ():
                try:
                    answers[row.uid] = await self._matches(key, Candidate(self.session, row))
                except BlobNotFound:
                    pass  # gone meanwhile: it matches nothing
                await self.session.breathe()
            found += [uid for uid in page if answers.get(uid)]
        return found

    async def _at_a_glance(self, uids: list[int], key: SearchKey, reads_octets: bool) -> dict[int, bool]:
        """What can be said without looking closer."""
        account: Any = self.session.account
        model, octets = self.model, {}
        summaries = await account.summaries(model.mailbox.id, uids)
        if reads_octets:
            small = [model.uids[at] for at in model.places(uids) if model.sizes[at] <= WHOLE]
            octets = dict(await account.bodies(model.mailbox.id, small))
        answers = by_envelopes(key, summaries)
        if answers is not None:
            await self.session.breathe()
            return answers
        answers = {}
        for count, (uid, packed) in enumerate(summaries):
            if not count % _GLANCES:
                await self.session.breathe()
            summary = Summary(packed)
            if summary.is_current:
                answer = Glance(summary, octets.get(uid)).matches(key)
                if answer is not None:
                    answers[uid] = answer
        return answers

    def _resolve_sets(self, key: SearchKey) -> None:
        if isinstance(key, Numbers):
            uids = self.model.uids
            spans = resolve_spans(self.view, key.ranges, key.by_uid)
            self._sets[key] = [uids[start] for start, _ in spans], [uids[stop - 1] for _, stop in spans]
        elif isinstance(key, And):
            for one in key.keys:
                self._resolve_sets(one)
        elif isinstance(key, Or):
            self._resolve_sets(key.left)
            self._resolve_sets(key.right)
        elif isinstance(key, Not):
            self._resolve_sets(key.key)

    # --- from memory -----------------------------------------------------------------------------------------------

    def _cheap(self, key: SearchKey) -> Sieve | None:
        model = self.model
        if isinstance(key, All):
            return lambda places: places
        if isinstance(key, HasFlag):
            if key.flag == "\\Recent":
                return lambda places: [at for at in places if self.view.is_recent(model.uids[at])]
            return self._with_flag(key.flag)
        if isinstance(key, Numbers):
            return lambda places: [at for at in places if self._is_meant(key, model.uids[at])]
        if isinstance(key, Size):
            if key.larger:
                return lambda places: [at for at in places if model.sizes[at] > key.octets]
            return lambda places: [at for at in places if model.sizes[at] < key.octets]
        if isinstance(key, ModSeq):
            return lambda places: [at for at in places if model.modseqs[at] >= key.modseq]
        if isinstance(key, Date) and key.which == "internal":
            return lambda places: [at for at in places if fits(key, model.dates[at] // _DAY)]
        if isinstance(key, Not):
            sieve = self._cheap(key.key)
            return None if sieve is None else _all_but(sieve)
        if isinstance(key, And):
            sieves = [self._cheap(one) for one in key.keys]
            found = [sieve for sieve in sieves if sieve is not None]
            return _one_after_the_other(found) if len(found) == len(sieves) else None
        if isinstance(key, Or):
            left, right = self._cheap(key.left), self._cheap(key.right)
            return None if left is None or right is None else _either(left, right)
        return None

    def _with_flag(self, flag: str) -> Sieve:
        model = self.model
        has: set[int] = set()
        looked_at = 0

        def sieve(places: Sequence[int]) -> Sequence[int]:
            nonlocal looked_at
            # Other sets may come up while others have their turn.
            has.update(
                number for number, flags in enumerate(model.flag_sets[looked_at:], looked_at) if _has_flag(flags, flag)
            )
            looked_at = len(model.flag_sets)
            numbers = model.flag_ids
            return [at for at in places if numbers[at] in has]

        return sieve

    def _is_meant(self, key: Numbers, uid: int) -> bool:
        firsts, lasts = self._sets[key]
        at = bisect_left(lasts, uid)
        return at < len(lasts) and firsts[at] <= uid

    # --- from rows and octets --------------------------------------------------------------------------------------

    async def _matches(self, key: SearchKey, message: Candidate) -> bool:
        row = message.row
        if isinstance(key, And):
            for one in key.keys:
                if not await self._matches(one, message):
                    return False
            return True
        if isinstance(key, Or):
            return await self._matches(key.left, message) or await self._matches(key.right, message)
        if isinstance(key, Not):
            return not await self._matches(key.key, message)
        if isinstance(key, Header):
            return await message.has_header(key)
        if isinstance(key, Text):
            return await message.has_text(key)
        if isinstance(key, Date):
            if key.which == "sent":
                day = sent_day((await message.summary()).envelope)
                return day is not None and fits(key, day)
            return fits(key, (row.saved_date if key.which == "saved" else row.internal_date) // _DAY)
        if isinstance(key, HasFlag):
            return self.view.is_recent(row.uid) if key.flag == "\\Recent" else _has_flag(row.flags, key.flag)
        if isinstance(key, Numbers):
            return self._is_meant(key, row.uid)
        if isinstance(key, Size):
            return row.size > key.octets if key.larger else row.size < key.octets
        if isinstance(key, ModSeq):
            return row.modseq >= key.modseq
        return True


class Candidate:
    """A message that is being looked at; what was read of it is kept until the next one."""

    def __init__(self, session: IMAPSession, row: Message) -> None:
        self.session = session
        self.row = row
        self._summary: Summary | None = None
        self._header: bytes | None = None

    async def summary(self) -> Summary:
        """Its summary."""
        if self._summary is None:
            self._summary = await self.session.server.summary(self.session.account, self.row)
        return self._summary

    async def has_header(self, key: Header) -> bool:
        """HEADER, FROM, SUBJECT …"""
        needle = fold(key.text)
        field = ENVELOPE_FIELDS.get(key.name)
        if field is not None and needle:
            envelope = (await self.summary()).envelope
            if not may_hold(envelope, needle):
                return False
            return needle in fold(envelope_text(envelope, field))
        values = header_values(await self._header_octets(), key.name)
        return any(needle in fold(value) for value in values)

    async def has_text(self, key: Text) -> bool:
        """TEXT, BODY."""
        needle = fold(key.text)
        if key.headers and header_holds(await self._header_octets(), needle):
            return True
        for part, is_header in body_texts((await self.summary()).root):
            start, stop = (part.header_start, part.body_start) if is_header else (part.body_start, part.end)
            octets = await self._read(start, stop)
            haystack = Haystack(octets, part, is_header)
            if await self._search(haystack, needle):
                return True
            await self.session.breathe()
        return False

    async def _search(self, haystack: Haystack, needle: str) -> bool:
        reactor: Any = self.session.clock
        if haystack.size <= _THREAD or not IReactorThreads.providedBy(reactor):
            return haystack.holds(needle)
        found: bool = await deferToThreadPool(reactor, reactor.getThreadPool(), haystack.holds, needle)
        return found

    async def _header_octets(self) -> bytes:
        if self._header is None:
            self._header = await self._read(0, (await self.summary()).header_size)
        return self._header

    async def _read(self, start: int, stop: int) -> bytes:
        pieces = []
        while start < stop:
            piece = await self.session.account.read_blob(self.row.blob_id, start, min(_SLICE, stop - start))
            if not piece:
                raise BlobNotFound(self.row.blob_id)
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)


def _all_but(sieve: Sieve) -> Sieve:
    def rest(places: Sequence[int]) -> Sequence[int]:
        found = set(sieve(places))
        return [at for at in places if at not in found]

    return rest


def _one_after_the_other(sieves: list[Sieve]) -> Sieve:
    def rest(places: Sequence[int]) -> Sequence[int]:
        for sieve in sieves:
            places = sieve(places)
        return places

    return rest


def _either(left: Sieve, right: Sieve) -> Sieve:
    return lambda places: sorted({*left(places), *right(places)})


def _has_flag(flags: frozenset[str], flag: str) -> bool:
    if flag in flags:
        return True
    if flag.startswith("\\"):
        return False
    # RFC 3501 9: keywords are compared without regard to case.
    folded = flag.lower()
    return any(one.lower() == folded for one in flags)


def _cost(key: SearchKey) -> int:
    if isinstance(key, Text):
        return 3
    if isinstance(key, Header):
        return 1 if key.name in ENVELOPE_FIELDS and key.text else 2
    if isinstance(key, And):
        return max(map(_cost, key.keys), default=0)
    if isinstance(key, Or):
        return max(_cost(key.left), _cost(key.right))
    return _cost(key.key) if isinstance(key, Not) else 0
