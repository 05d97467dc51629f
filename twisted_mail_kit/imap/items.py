"""FETCH items compiled once into a way from rows to response lines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any, NamedTuple, cast

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.imap.outcomes import Mistake
from twisted_mail_kit.imap.server import Server
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.imap.wire.commands import Fetch, FetchItem, Section
from twisted_mail_kit.interfaces import IAccount, IReadMany, Message
from twisted_mail_kit.mail.summary import bodies, envelopes

internal_date = lru_cache(maxsize=4096)(responses.internal_date)

_PIECE = 256 * 1024
"""Octets of summaries that are made into lines at once: some milliseconds."""

Column = Iterable[object]

# What the shared arrays of the mailbox know: piece of a line, and the column that fills it for some places.
_PACKED: dict[str, tuple[bytes, Callable[[View, Sequence[int]], Column]]] = {
    "UID": (b"UID %d", lambda view, places: map(view.model.uids.__getitem__, places)),
    "FLAGS": (b"FLAGS %b", lambda view, places: view.flag_texts(places)),
    "RFC822.SIZE": (b"RFC822.SIZE %d", lambda view, places: map(view.model.sizes.__getitem__, places)),
    "MODSEQ": (b"MODSEQ (%d)", lambda view, places: map(view.model.modseqs.__getitem__, places)),
    "INTERNALDATE": (
        b"INTERNALDATE %b",
        lambda view, places: map(internal_date, map(view.model.dates.__getitem__, places)),
    ),
}

# What the row knows.
_ROW: dict[str, tuple[bytes, Callable[[Message], bytes]]] = {
    "EMAILID": (b"EMAILID (%b)", lambda row: row.email_id.encode()),
    "THREADID": (b"THREADID (%b)", lambda row: row.thread_id.encode()),
    "SAVEDATE": (b"SAVEDATE %b", lambda row: internal_date(row.saved_date)),
}

# What summaries know: of many at once, None for one that is to be made again from the octets.
_SUMMARY: dict[str, tuple[bytes, Callable[[Iterable[bytes]], list[bytes | None]]]] = {
    "ENVELOPE": (b"ENVELOPE %b", envelopes),
    "BODY": (b"BODY %b", lambda summaries: bodies(summaries, extended=False)),
    "BODYSTRUCTURE": (b"BODYSTRUCTURE %b", lambda summaries: bodies(summaries, extended=True)),
}


class Page(NamedTuple):
    """What the store says of some messages: those that are there, and columns in step with their UIDs."""

    uids: list[int]
    rows: Mapping[int, Message]
    """Where the plan needs them."""
    summaries: list[bytes]
    """Where the plan needs them."""
    columns: dict[str, list[bytes]]
    """What `_SUMMARY` has made of them."""


def _in_pieces(summaries: list[bytes]) -> Iterator[list[bytes]]:
    """All of them; few at a time where they are large: a message may have a thousand parts."""
    if sum(map(len, summaries)) <= _PIECE:
        yield summaries
        return
    start = octets = 0
    for at, summary in enumerate(summaries, 1):
        octets += len(summary)
        if octets > _PIECE or at == len(summaries):
            yield summaries[start:at]
            start, octets = at, 0


@lru_cache(maxsize=256)
def _plan(items: tuple[FetchItem, ...], by_uid: bool, with_modseq: bool) -> Plan:
    return Plan(items, by_uid, with_modseq)


def plan_of(command: Fetch) -> Plan:
    """Clients ask for the same things again and again. Raises Mistake."""
    return _plan(command.items, command.by_uid, command.changed_since is not None)


class Plan:
    """What one FETCH asks for, and how it is got: from memory, from rows, from the octets."""

    def __init__(self, items: Sequence[FetchItem], by_uid: bool, with_modseq: bool) -> None:
        names: dict[str, None] = {}
        sections: dict[bytes, Section] = {}
        for item in items:
            if isinstance(item, Section):
                sections[item.label] = item
            else:
                names[item.name] = None
        if by_uid:
            names = {"UID": None, **names}
        if with_modseq:
            names["MODSEQ"] = None
        self.names = list(names)
        unknown = [name for name in names if name not in _PACKED and name not in _ROW and name not in _SUMMARY]
        if unknown:
            raise Mistake("There is an item in it that is not known here")
        self.sections = list(sections.values())
        self.sets_seen = any(not section.peek for section in self.sections)
        self.shows_flags = "FLAGS" in names
        self.shows_modseq = "MODSEQ" in names
        self.locates = any(section.text or section.part for section in self.sections)
        """It has to be found out where a section is."""
        self._from_summary = [name for name in names if name in _SUMMARY]
        self._needs_summaries = self.locates or bool(self._from_summary)
        self._needs_rows = any(name in _ROW for name in names)
        self.needs_facts = self._needs_rows or self._needs_summaries
        self.needs_store = self.needs_facts or bool(self.sections)
        pieces = [(_PACKED.get(name) or _ROW.get(name) or _SUMMARY[name])[0] for name in names]
        self._template = b"* %d FETCH (" + b" ".join(pieces) + (b"" if sections else b")\r\n")
        self.whole = b""
        """Where what is asked for are whole messages: the end of a line, and the next one up to the octets."""
        first = self.sections[0] if len(self.sections) == 1 else None
        if first is not None and not first.text and not first.part and first.partial is None:
            self.whole = b")\r\n" + self._template + (b" " if names else b"") + first.label + b" {%d}\r\n"

    async def read(
        self,
        server: Server,
        account: IAccount,
        mailbox_id: str,
        uids: list[int],
        breathe: Callable[[], Awaitable[None]],
    ) -> Page:
        """Ask the store for what it is asked for, so that `heads` need not wait. Old summaries are made again."""
        reads_many = IReadMany.providedBy(account)
        if not (self._needs_rows or self._needs_summaries or (self.sections and not reads_many)):
            return Page(uids, {}, [], {})
        rows: dict[int, Message] = {}
        summaries: list[bytes] = []
        if self._needs_rows or not reads_many:
            for row in await account.messages(mailbox_id, uids, limit=len(uids)):
                rows[row.uid] = row
                summaries.append(row.summary)
            there = list(rows)
        else:
            pairs = await cast(Any, account).summaries(mailbox_id, uids)
            there = [uid for uid, _ in pairs]
            summaries = [summary for _, summary in pairs]
        columns: dict[str, list[bytes | None]] = {name: [] for name in self._from_summary}
        if columns:
            for some in _in_pieces(summaries):
                for name, column in columns.items():
                    column += _SUMMARY[name][1](some)
                await breathe()
        if any(None in column for column in columns.values()):
            old = [at for at, one in enumerate(next(iter(columns.values()))) if one is None]
            gone = set()
            for at in old:
                try:
                    row = rows.get(there[at]) or (await account.messages(mailbox_id, [there[at]]))[0]
                    summaries[at] = (await server.summary(account, row)).octets
                except (BlobNotFound, IndexError):
                    gone.add(at)  # it is about to go
                    continue
                for name, column in columns.items():
                    (column[at],) = _SUMMARY[name][1]((summaries[at],))
            if gone:
                stay = [at not in gone for at in range(len(there))]
                there, summaries = list(compress(there, stay)), list(compress(summaries, stay))
                columns = {name: list(compress(column, stay)) for name, column in columns.items()}
        return Page(there, rows, summaries, cast(dict[str, list[bytes]], columns))

    def heads(self, view: View, page: Page, sizes: Sequence[int] = ()) -> tuple[list[bytes], list[int]]:
        """The response lines of these messages (without the end, where sections follow), and the UIDs they are for:
        those that are still there. With `sizes`, of the octets of each, what `whole` says."""
        view.catch_up()
        model, uids, ready = view.model, page.uids, page.columns
        places = model.places(uids)
        if len(places) < len(uids):
            stay = [model.index(uid) >= 0 for uid in uids]
            uids = list(compress(uids, stay))
            ready = {name: list(compress(column, stay)) for name, column in ready.items()}
            sizes = list(compress(sizes, stay)) if sizes else ()
        columns: list[Column] = [view.numbers(uids)]
        for name in self.names:
            if name in _PACKED:
                columns.append(_PACKED[name][1](view, places))
            elif name in _ROW:
                columns.append(map(_ROW[name][1], [page.rows[uid] for uid in uids]))
            else:
                columns.append(ready[name])
        if sizes:
            columns.append(sizes)
        template = self.whole if sizes else self._template
        return [template % values for values in zip(*columns, strict=True)], uids
