"""Which messages a SEARCH program means: cheap keys from memory, then the others row by row (RFC 3501 6.4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.imap.commands.basis import resolve
from twisted_mail_kit.imap.searchtext import (
    ENVELOPE_FIELDS,
    Haystack,
    body_texts,
    decoded_header,
    envelope_text,
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
from twisted_mail_kit.interfaces import Message
from twisted_mail_kit.mail.summary import Summary

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession

_PAGE = 500
_SLICE = 256 * 1024
_THREAD = 128 * 1024
"""A part of more octets is decoded and searched in a thread."""
_DAY = 86_400

Test = Callable[[int], bool]
"""Of a place in the arrays of the mailbox."""


class Matching:
    """One SEARCH at work."""

    def __init__(self, session: IMAPSession) -> None:
        self.session = session
        self.view = session.view
        self.model = self.view.model
        self._sets: dict[Numbers, frozenset[int]] = {}

    async def run(self, program: SearchKey) -> list[int]:
        """The UIDs that match, ascending."""
        self._resolve_sets(program)
        keys = program.keys if isinstance(program, And) else (program,)
        tests: list[Test] = []
        deep: list[SearchKey] = []
        for key in keys:
            test = self._cheap(key)
            if test is None:
                deep.append(key)
            else:
                tests.append(test)
        found = self._by_memory(tests)
        if not deep:
            return found
        # What reads the message's text comes last.
        deep.sort(key=_cost)
        return await self._by_row(found, deep[0] if len(deep) == 1 else And(tuple(deep)))

    def _by_memory(self, tests: list[Test]) -> list[int]:
        self.view.catch_up()
        uids, max_uid = self.model.uids, self.view.max_uid
        places: list[int] = list(range(len(uids)))
        for test in tests:
            places = list(filter(test, places))
        return [uid for at in places if (uid := uids[at]) <= max_uid]

    async def _by_row(self, uids: list[int], key: SearchKey) -> list[int]:
        found: list[int] = []
        for start in range(0, len(uids), _PAGE):
            page = uids[start : start + _PAGE]
            for row in await self.session.account.messages(self.model.mailbox.id, page, limit=len(page)):
                try:
                    if await self._matches(key, Candidate(self.session, row)):
                        found.append(row.uid)
                except BlobNotFound:
                    pass  # gone meanwhile: it matches nothing
                await self.session.breathe()
        return found

    def _resolve_sets(self, key: SearchKey) -> None:
        if isinstance(key, Numbers):
            self._sets[key] = frozenset(resolve(self.view, key.ranges, key.by_uid)[0])
        elif isinstance(key, And):
            for one in key.keys:
                self._resolve_sets(one)
        elif isinstance(key, Or):
            self._resolve_sets(key.left)
            self._resolve_sets(key.right)
        elif isinstance(key, Not):
            self._resolve_sets(key.key)

    # --- from memory -----------------------------------------------------------------------------------------------

    def _cheap(self, key: SearchKey) -> Test | None:
        model = self.model
        if isinstance(key, All):
            return lambda at: True
        if isinstance(key, HasFlag):
            if key.flag == "\\Recent":
                return lambda at: self.view.is_recent(model.uids[at])
            has = {number for number, flags in enumerate(model.flag_sets) if _has_flag(flags, key.flag)}
            return lambda at: model.flag_ids[at] in has
        if isinstance(key, Numbers):
            wanted = self._sets[key]
            return lambda at: model.uids[at] in wanted
        if isinstance(key, Size):
            if key.larger:
                return lambda at: model.sizes[at] > key.octets
            return lambda at: model.sizes[at] < key.octets
        if isinstance(key, ModSeq):
            return lambda at: model.modseqs[at] >= key.modseq
        if isinstance(key, Date) and key.which == "internal":
            return lambda at: _fits(key, model.dates[at] // _DAY)
        if isinstance(key, Not):
            test = self._cheap(key.key)
            return None if test is None else lambda at: not test(at)
        if isinstance(key, And):
            tests = [self._cheap(one) for one in key.keys]
            found = [test for test in tests if test is not None]
            return (lambda at: all(test(at) for test in found)) if len(found) == len(tests) else None
        if isinstance(key, Or):
            left, right = self._cheap(key.left), self._cheap(key.right)
            return None if left is None or right is None else lambda at: left(at) or right(at)
        return None

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
                return day is not None and _fits(key, day)
            return _fits(key, (row.saved_date if key.which == "saved" else row.internal_date) // _DAY)
        if isinstance(key, HasFlag):
            return self.view.is_recent(row.uid) if key.flag == "\\Recent" else _has_flag(row.flags, key.flag)
        if isinstance(key, Numbers):
            return row.uid in self._sets[key]
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
        needle = Haystack.fold(key.text)
        field = ENVELOPE_FIELDS.get(key.name)
        if field is not None and needle:
            envelope = (await self.summary()).envelope
            if not may_hold(envelope, needle):
                return False
            return needle in Haystack.fold(envelope_text(envelope, field))
        values = header_values(await self._header_octets(), key.name)
        return any(needle in Haystack.fold(value) for value in values)

    async def has_text(self, key: Text) -> bool:
        """TEXT, BODY."""
        needle = Haystack.fold(key.text)
        if key.headers and needle in Haystack.fold(decoded_header(await self._header_octets())):
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


def _has_flag(flags: frozenset[str], flag: str) -> bool:
    if flag in flags:
        return True
    if flag.startswith("\\"):
        return False
    # RFC 3501 9: keywords are compared without regard to case.
    folded = flag.lower()
    return any(one.lower() == folded for one in flags)


def _fits(key: Date, day: int) -> bool:
    if key.relation == "before":
        return day < key.day
    return day == key.day if key.relation == "on" else day >= key.day


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
