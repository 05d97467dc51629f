r"""FETCH (RFC 3501 6.4.5, RFC 7162 3.1.4): what is known about messages, and their octets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from twisted_mail_kit.errors import BlobNotFound, MessageNotFound
from twisted_mail_kit.imap.commands.basis import Completed, resolve
from twisted_mail_kit.imap.items import Plan
from twisted_mail_kit.imap.sections import SectionReader
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import commands
from twisted_mail_kit.interfaces import Applied, Message, SetFlags

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession

_PACKED_PAGE = 2000
_ROW_PAGE = 500
_SECTION_PAGE = 100


async def fetch(session: IMAPSession, command: commands.Fetch) -> Completed:
    """Page by page; what a page needs from the store is asked for once.

    Messages that another session has removed, and that were named by their number, are left out, and the answer is
    NO [EXPUNGEISSUED] (RFC 2180 4.1.3).
    """
    view = session.view
    plan = Plan(command)
    if plan.shows_modseq:
        session.is_condstore = True
    uids, some_gone = resolve(view, command.messages, command.by_uid)
    if command.changed_since is not None:
        model, since = view.model, command.changed_since
        uids = [uid for uid in uids if model.modseqs[model.index(uid)] > since]
    size = _SECTION_PAGE if plan.sections else _ROW_PAGE if plan.needs_rows else _PACKED_PAGE
    for start in range(0, len(uids), size):
        page = uids[start : start + size]
        marking = await _mark_seen(session, view, page, plan)
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


async def _send(session: IMAPSession, view: View, page: list[int], plan: Plan) -> int:
    rows: dict[int, Message] = {}
    if plan.needs_rows:
        for row in await session.account.messages(view.model.mailbox.id, page, limit=len(page)):
            rows[row.uid] = row
        page = [uid for uid in page if uid in rows]
        await plan.prepare(session.server, session.account, rows.values())
    # From here to the end of the loop over lines nothing waits: numbers and flags are of one moment.
    heads, page = plan.heads(view, page, rows)
    if plan.shows_flags:
        session.say(view.new_keywords())
        view.forget_pending(page)
    if not plan.sections:
        session.outflow.write(b"".join(heads))
        return len(page)
    sent = 0
    for uid, head in zip(page, heads, strict=True):
        reader = SectionReader(session, rows[uid])
        try:
            await reader.send(head, plan.sections)
            sent += 1
        except Exception as problem:
            if reader.has_begun:
                # A literal was promised that cannot be kept: the stream makes no sense any more.
                session.abort()
                raise
            if not isinstance(problem, BlobNotFound):
                raise
        await session.breathe()
    return sent


async def _mark_seen(session: IMAPSession, view: View, page: list[int], plan: Plan) -> Deferred[Applied] | None:
    r"""\Seen, for a page in one transaction. Where FLAGS are asked for it is done first, otherwise meanwhile; the
    new flags are told with whatever else is new."""
    if not plan.sets_seen or view.is_read_only:
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
