r"""FETCH (RFC 3501 6.4.5, RFC 7162 3.1.4): what is known about messages, and their octets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import BlobNotFound, MessageNotFound
from twisted_mail_kit.imap.commands.basis import Completed, resolve
from twisted_mail_kit.imap.items import Page, Plan, plan_of
from twisted_mail_kit.imap.packed import Columns
from twisted_mail_kit.imap.pages import WHOLE, next_page
from twisted_mail_kit.imap.sections import SectionReader, written
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import commands
from twisted_mail_kit.interfaces import Applied, IReadMany, Message, SetFlags
from twisted_mail_kit.mail.summary import Summary

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession

_PACKED_PAGE = 2000
_LINES = 256
"""Lines that are written before it is looked whether the client reads them."""


async def fetch(session: IMAPSession, command: commands.Fetch) -> Completed:
    """Page by page; what a page needs from the store is asked for once.

    Messages that another session has removed, and that were named by their number, are left out, and the answer is
    NO [EXPUNGEISSUED] (RFC 2180 4.1.3).
    """
    view = session.view
    plan = plan_of(command)
    if plan.shows_modseq:
        session.is_condstore = True
    uids, some_gone = resolve(view, command.messages, command.by_uid)
    start = 0
    while start < len(uids):
        page = _page(view, uids, start, plan)
        start += len(page)
        if command.changed_since is not None:
            page = _changed(view, page, command.changed_since)
        marking = await _mark_seen(session, view, page, plan) if plan.sets_seen else None
        try:
            sent = await _send(session, view, page, plan)
        finally:
            if marking is not None:
                await marking
        some_gone = some_gone or sent < len(page)
        await session.breathe()
    if some_gone and not command.by_uid:
        raise MessageNotFound("RFC 2180 4.1.3")
    return Completed("FETCH completed")


def _page(view: View, uids: Sequence[int], start: int, plan: Plan) -> list[int]:
    if len(uids) == 1:
        return [uids[0]]
    if plan.needs_store:
        return next_page(view.model, uids, start, bool(plan.sections))
    return list(uids[start : start + _PACKED_PAGE])


def _changed(view: View, page: list[int], since: int) -> list[int]:
    """Those that have changed since then, and those that are gone."""
    model = view.model
    places = model.places(page)
    kept = [model.uids[at] for at in places if model.modseqs[at] > since]
    return kept if len(places) == len(page) else sorted({*kept, *(uid for uid in page if model.index(uid) < 0)})


async def _send(session: IMAPSession, view: View, uids: list[int], plan: Plan) -> int:
    account, mailbox_id = session.account, view.model.mailbox.id
    reads_many = IReadMany.providedBy(account)
    if plan.needs_facts or not reads_many:
        page = await plan.read(session.server, account, mailbox_id, uids, session.breathe)
    else:
        page = Page(uids, {}, [], {})
    pairs: Sequence[tuple[int, bytes]] = ()
    if plan.sections and reads_many:
        # Hot path: one question for all small messages of a page, and as few reads as they lie apart.
        small = _small(view.model, page.uids)
        pairs = await cast(Any, account).bodies(mailbox_id, small) if small else ()
    whole = [octets for _, octets in pairs] if plan.whole and len(pairs) == len(page.uids) else []
    # From here to the end of the loop over lines nothing waits: numbers and flags are of one moment.
    heads, uids = plan.heads(view, page, list(map(len, whole)))
    if plan.shows_flags:
        session.say(view.new_keywords())
        view.forget_pending(uids)
    if whole:
        if len(uids) < len(whole):
            there = set(uids)
            whole = [octets for uid, octets in pairs if uid in there]
        session.outflow.write(_lines(heads, whole))
        return len(uids)
    if not plan.sections:
        for start in range(0, len(heads), _LINES):
            session.outflow.write(b"".join(heads[start : start + _LINES]))
            if session.outflow.is_full():
                await session.breathe()
        return len(uids)
    bodies = dict(pairs)
    summaries = dict(zip(page.uids, page.summaries, strict=True)) if plan.locates else {}
    sent = 0
    for uid, head in zip(uids, heads, strict=True):
        octets = bodies.get(uid)
        summary = Summary(summaries[uid]) if plan.locates else None
        if octets is not None and (summary is None or summary.is_current):
            session.outflow.write(written(head, plan.sections, octets, summary))
            sent += 1
        else:
            row = page.rows.get(uid) or next(iter(await account.messages(mailbox_id, [uid])), None)
            sent += row is not None and await _send_slowly(session, row, head, plan)
    return sent


def _small(model: Columns, uids: list[int]) -> list[int]:
    """Those that are there and small."""
    places, sizes = model.places(uids), model.sizes
    if isinstance(places, range) and places and max(sizes[places.start : places.stop]) <= WHOLE:
        return uids
    return [model.uids[at] for at in places if sizes[at] <= WHOLE]


def _lines(heads: list[bytes], octets: list[bytes]) -> bytes:
    """Whole messages as they are sent; see `Plan.whole`. Hot path: all bodies of a mailbox, each copied once."""
    if not heads:
        return b""
    pieces = [b")\r\n"] * (2 * len(heads) + 1)
    heads[0] = heads[0].removeprefix(b")\r\n")
    pieces[0:-1:2], pieces[1:-1:2] = heads, octets
    return b"".join(pieces)


async def _send_slowly(session: IMAPSession, row: Message, head: bytes, plan: Plan) -> bool:
    """A message that is large, or lies somewhere else; whether it is there."""
    reader = SectionReader(session, row)
    try:
        await reader.send(head, plan.sections)
    except Exception as problem:
        if reader.has_begun:
            # A literal was promised that cannot be kept: the stream makes no sense any more.
            session.abort()
            raise
        if not isinstance(problem, BlobNotFound):
            raise
        return False
    await session.breathe()
    return True


async def _mark_seen(session: IMAPSession, view: View, page: list[int], plan: Plan) -> Deferred[Applied] | None:
    r"""\Seen, for a page in one transaction. Where FLAGS are asked for it is done first, otherwise meanwhile; the
    new flags are told with whatever else is new."""
    if view.is_read_only:
        return None
    model = view.model
    places = [(uid, model.index(uid)) for uid in page]
    unseen = [uid for uid, at in places if at >= 0 and "\\Seen" not in model.flag_sets[model.flag_ids[at]]]
    if not unseen:
        return None
    marking = Deferred.fromCoroutine(
        session.account.apply([SetFlags(model.mailbox.id, unseen, add=frozenset({"\\Seen"}))])
    )
    if plan.shows_flags:
        applied = await marking
        await model.refresh(applied.modseq)
        return None
    return marking
