"""FETCH items compiled once into a way from rows to response lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from twisted_mail_kit.errors import BlobNotFound
from twisted_mail_kit.imap.outcomes import Mistake
from twisted_mail_kit.imap.server import Server
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import responses
from twisted_mail_kit.imap.wire.commands import Fetch, Section
from twisted_mail_kit.interfaces import IAccount, Message
from twisted_mail_kit.mail.summary import Summary

internal_date = lru_cache(maxsize=4096)(responses.internal_date)

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

# What the summary in the row knows.
_SUMMARY: dict[str, tuple[bytes, Callable[[Summary], bytes]]] = {
    "ENVELOPE": (b"ENVELOPE %b", lambda summary: summary.envelope),
    "BODY": (b"BODY %b", lambda summary: summary.body),
    "BODYSTRUCTURE": (b"BODYSTRUCTURE %b", lambda summary: summary.bodystructure),
}


class Plan:
    """What one FETCH asks for, and how it is got: from memory, from rows, from the octets."""

    def __init__(self, command: Fetch) -> None:
        names: dict[str, None] = {}
        sections: dict[bytes, Section] = {}
        for item in command.items:
            if isinstance(item, Section):
                sections[item.label] = item
            else:
                names[item.name] = None
        if command.by_uid:
            names = {"UID": None, **names}
        if command.changed_since is not None:
            names["MODSEQ"] = None
        self.names = list(names)
        unknown = [name for name in names if name not in _PACKED and name not in _ROW and name not in _SUMMARY]
        if unknown:
            raise Mistake("There is an item in it that is not known here")
        self.sections = list(sections.values())
        self.sets_seen = any(not section.peek for section in self.sections)
        self.shows_flags = "FLAGS" in names
        self.shows_modseq = "MODSEQ" in names
        self.needs_summary = any(name in _SUMMARY for name in names)
        self.needs_rows = bool(sections) or self.needs_summary or any(name in _ROW for name in names)
        pieces = [(_PACKED.get(name) or _ROW.get(name) or _SUMMARY[name])[0] for name in names]
        self._template = b"* %d FETCH (" + b" ".join(pieces) + (b"" if sections else b")\r\n")
        self._summaries: dict[int, Summary] = {}

    async def prepare(self, server: Server, account: IAccount, rows: Iterable[Message]) -> None:
        """Have the summaries of these rows, old ones made again from the octets, so that `heads` need not wait."""
        self._summaries.clear()
        if not self.needs_summary:
            return
        for row in rows:
            summary = Summary(row.summary)
            if not summary.is_current:
                try:
                    summary = await server.summary(account, row)
                except BlobNotFound:
                    continue  # it is about to go: `heads` leaves it out
            self._summaries[row.uid] = summary

    def heads(self, view: View, uids: list[int], rows: Mapping[int, Message]) -> tuple[list[bytes], list[int]]:
        """The response lines of these messages (without the end, where sections follow), and the UIDs they are for:
        those that are still there."""
        view.catch_up()
        model = view.model
        places: Sequence[int]
        first = model.index(uids[0]) if uids else -1
        if first >= 0 and model.uids[first : first + len(uids)].tolist() == uids:
            places = range(first, first + len(uids))
        else:
            uids = [uid for uid in uids if model.index(uid) >= 0]
            places = [model.index(uid) for uid in uids]
        summaries = self._summaries
        if self.needs_summary and (len(summaries) != len(uids) or any(uid not in summaries for uid in uids)):
            places = [at for at, uid in zip(places, uids, strict=True) if uid in summaries]
            uids = [uid for uid in uids if uid in summaries]
        columns: list[Column] = [view.numbers(uids)]
        for name in self.names:
            if name in _PACKED:
                columns.append(_PACKED[name][1](view, places))
            elif name in _ROW:
                columns.append(map(_ROW[name][1], [rows[uid] for uid in uids]))
            else:
                columns.append(map(_SUMMARY[name][1], map(summaries.__getitem__, uids)))
        template = self._template
        return [template % values for values in zip(*columns, strict=True)], uids
