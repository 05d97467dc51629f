r"""What is kept in memory of a mailbox's messages: some 20 octets each, in columns, and the flag sets that they have.

All that goes over many messages comes in pieces: a generator that yields after each, so that whoever drives it can let
others have their turn. At each yield the columns are in step with each other.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from itertools import compress

from twisted_mail_kit.imap.uidset import UidSet
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.mail.facts import Listing

SLICE = 4096
"""Messages in a piece: a millisecond or two."""
FEW = 8
"""So many removals are cut out where they are; for more the columns are copied without them."""

_WIDER = {"H": "I", "I": "q", "q": "Q"}
NOTHING = UidSet()

Step = tuple[UidSet, UidSet]
"""What a piece has done to messages that were there: (those of other flags, those that are gone)."""


def extended(column: array[int], values: Sequence[int]) -> array[int]:
    """The column with these at its end; another one, of wider items, where they are too great for it."""
    length = len(column)
    if isinstance(values, array) and values.typecode != column.typecode:
        values = values.tolist()
    try:
        column.extend(values)
    except OverflowError:
        del column[length:]
        return extended(array(_WIDER[column.typecode], column), values)
    return column


def replaced(column: array[int], at: int, values: Sequence[int]) -> array[int]:
    """The column with these in the place of what was there; another one where they are too great for it."""
    while True:
        try:
            column[at : at + len(values)] = array(column.typecode, values)
        except OverflowError:
            column = array(_WIDER[column.typecode], column)
        else:
            return column


def first_place(column: array[int], wanted: Collection[int]) -> int:
    """Where the first of these numbers stands in the column; -1: none of them does."""
    if len(wanted) > FEW:
        wanted = frozenset(wanted)
        return next((at for at, number in enumerate(column) if number in wanted), -1)
    # Hot path: SELECT looks for the first unseen message, which in most mailboxes stands near the end.
    octets, width, first = column.tobytes(), column.itemsize, -1
    for number in wanted:
        if number >> 8 * width:
            continue  # it does not fit, so it is not there
        sought = array(column.typecode, (number,)).tobytes()
        at = octets.find(sought)
        while at > 0 and at % width:
            at = octets.find(sought, at + 1)
        if at >= 0:
            first, octets = at // width, octets[:at]  # another one is of interest only before it
    return first


class Columns:
    """Messages, ascending by UID, in step with each other."""

    __slots__ = ("dates", "flag_ids", "modseqs", "sizes", "uids")

    def __init__(self) -> None:
        self.uids = array("I")
        self.flag_ids = array("H")
        """The number of each one's flag set."""
        self.modseqs = array("I")
        self.sizes = array("I")
        self.dates = array("I")

    def append(
        self,
        uids: Sequence[int],
        flag_ids: Sequence[int],
        modseqs: Sequence[int],
        sizes: Sequence[int],
        dates: Sequence[int],
    ) -> None:
        """Put these after the others."""
        self.uids = extended(self.uids, uids)
        self.flag_ids = extended(self.flag_ids, flag_ids)
        self.modseqs = extended(self.modseqs, modseqs)
        self.sizes = extended(self.sizes, sizes)
        self.dates = extended(self.dates, dates)

    def take(self, other: Columns) -> None:
        """Be what the other one is."""
        for name in Columns.__slots__:
            setattr(self, name, getattr(other, name))

    @property
    def octets(self) -> int:
        """What the columns hold."""
        return sum(len(column) * column.itemsize for column in (getattr(self, name) for name in Columns.__slots__))

    def index(self, uid: int) -> int:
        """Where a UID stands in the columns; -1: it is not (any more) here."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    def places(self, uids: list[int]) -> Sequence[int]:
        """Where those of ascending UIDs stand that are here."""
        first = self.index(uids[0]) if uids else -1
        if first >= 0 and self.uids[first : first + len(uids)].tolist() == uids:
            return range(first, first + len(uids))
        return [at for at in map(self.index, uids) if at >= 0]


class Packed(Columns):
    """Columns, and the flag sets that their numbers stand for."""

    def __init__(self) -> None:
        super().__init__()
        self.keywords: dict[str, None] = {}
        """Every keyword seen in here, in that order."""
        self.flag_sets: list[frozenset[str]] = []
        self.flag_texts: list[bytes] = []
        r"""``(\Seen)``: each flag set as it is sent."""
        self.recent_texts: list[bytes] = []
        r"""``(\Seen \Recent)``: the same for recent messages."""
        self._id_of_flags: dict[frozenset[str], int] = {}

    def flags_id(self, flags: frozenset[str]) -> int:
        """The number of a flag set."""
        number = self._id_of_flags.get(flags)
        if number is None:
            number = self._id_of_flags[flags] = len(self.flag_sets)
            self.flag_sets.append(flags)
            text = responses.flag_list(flags)
            self.flag_texts.append(text)
            self.recent_texts.append(text[:-1] + (b"\\Recent)" if text == b"()" else b" \\Recent)"))
            for flag in sorted(flags):
                if not flag.startswith("\\"):
                    self.keywords.setdefault(flag)
        return number

    def pack(self, page: Listing, into: Columns) -> Iterator[None]:
        """Put what a store has listed at the end of columns."""
        known = self._id_of_flags
        for start in range(0, len(page.uids), SLICE):
            stop = start + SLICE
            flags = page.flags[start:stop]
            for new in set(flags) - known.keys():
                self.flags_id(new)
            into.append(
                page.uids[start:stop],
                [known[one] for one in flags],
                page.modseqs[start:stop],
                page.sizes[start:stop],
                page.internal_dates[start:stop],
            )
            yield

    # --- merging -----------------------------------------------------------------------------------------------------

    def missing(self, present: Columns) -> Iterator[list[int]]:
        """UIDs in here that are not there, piece by piece."""
        there = present.uids
        for start in range(0, len(self.uids), SLICE):
            some = self.uids[start : start + SLICE]
            low, high = bisect_left(there, some[0]), bisect_left(there, some[-1] + 1)
            kept = set(there[low:high]) if high - low <= 4 * SLICE else {uid for uid in some if present.index(uid) >= 0}
            yield [uid for uid in some if uid not in kept]

    def merge(self, news: Columns, removed: UidSet) -> Iterator[Step]:
        """Put in what came and changed, take out what is gone. Rows that are here already with the same modseq are no
        news; those of unknown UIDs below the greatest came and went between two looks."""
        last = self.uids[-1] if self.uids else 0
        known = bisect_left(news.uids, last + 1)
        for start in range(0, known, SLICE):
            stop = min(start + SLICE, known)
            some = slice(start, stop)
            yield self.change(news.uids[some], news.flag_ids[some], news.modseqs[some]), NOTHING
        if removed:
            yield from self._remove(removed)
        for start in range(known, len(news.uids), SLICE):
            stop = start + SLICE
            columns = [getattr(news, name)[start:stop] for name in ("uids", "flag_ids", "modseqs", "sizes", "dates")]
            if removed:
                stays = [uid not in removed for uid in columns[0]]
                columns = [array(column.typecode, compress(column, stays)) for column in columns]
            self.append(*columns)
            yield NOTHING, NOTHING

    def change(self, uids: array[int], flag_ids: Sequence[int], modseqs: Sequence[int]) -> UidSet:
        """Other flags and modseqs for those of these that are here; UIDs ascend. Answers which have changed."""
        at = self.index(uids[0])
        if at >= 0 and self.uids[at : at + len(uids)] == uids:
            before = self.modseqs[at : at + len(uids)]
            changed = [uid for uid, old, new in zip(uids, before, modseqs, strict=True) if old != new]
            self.flag_ids = replaced(self.flag_ids, at, flag_ids)
            self.modseqs = replaced(self.modseqs, at, modseqs)
            return UidSet(changed)
        changed = []
        for uid, flag_id, modseq in zip(uids, flag_ids, modseqs, strict=True):
            at = self.index(uid)
            if at < 0 or self.modseqs[at] == modseq:
                continue
            changed.append(uid)
            try:
                self.flag_ids[at] = flag_id
                self.modseqs[at] = modseq
            except OverflowError:
                self.flag_ids = replaced(self.flag_ids, at, (flag_id,))
                self.modseqs = replaced(self.modseqs, at, (modseq,))
        return UidSet(changed)

    def _remove(self, removed: UidSet) -> Iterator[Step]:
        if len(removed) < FEW:
            gone = [uid for uid in removed if self.index(uid) >= 0]
            for at in reversed([self.index(uid) for uid in gone]):
                for name in Columns.__slots__:
                    del getattr(self, name)[at]
            yield NOTHING, UidSet(gone)
            return
        # Nobody sees the copy before it is whole.
        rest, went = Columns(), UidSet()
        for start in range(0, len(self.uids), SLICE):
            stop = start + SLICE
            uids = self.uids[start:stop]
            here = set(removed.between(uids[0], uids[-1]))
            columns = [uids, self.flag_ids[start:stop], self.modseqs[start:stop]]
            columns += [self.sizes[start:stop], self.dates[start:stop]]
            if here:
                stays = [uid not in here for uid in uids]
                went.update([uid for uid in uids if uid in here])
                columns = [array(column.typecode, compress(column, stays)) for column in columns]
            rest.append(*columns)
            yield NOTHING, NOTHING
        self.take(rest)
        yield NOTHING, went
