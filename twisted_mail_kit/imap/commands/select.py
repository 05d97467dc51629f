"""SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2; RFC 7162 3.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.packed import SLICE, first_place
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import commands, responses

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def select(session: IMAPSession, command: commands.Select) -> Completed:
    """Open a mailbox. Where that fails no mailbox is selected any more, as RFC 3501 6.3.1 says."""
    if session.selected is not None:
        session.leave_mailbox()
        # RFC 7162 3.2.11: what comes from here on belongs to the new mailbox.
        session.outflow.write(responses.ok(None, "The mailbox that was selected is closed", b"CLOSED"))
    if command.condstore:
        session.is_condstore = True
    mailbox = await session.home.mailbox(command.mailbox)
    view = await session.home.select(mailbox, command.read_only)
    session.selected = view
    model = view.model
    session.say([responses.exists(view.exists), responses.recent(view.recent_count())])
    session.say(view.flags_lines())
    unseen = await _first_unseen(session, view)
    if unseen:
        session.outflow.write(responses.ok(None, "The first unseen message", b"UNSEEN %d" % view.number(unseen)))
    session.say(
        [
            responses.ok(None, "UIDs are valid", b"UIDVALIDITY %d" % model.mailbox.uidvalidity),
            responses.ok(None, "The next UID", b"UIDNEXT %d" % model.uidnext),
            responses.ok(None, "The highest modseq", b"HIGHESTMODSEQ %d" % max(1, model.mailbox.modseq)),
        ]
    )
    if command.read_only:
        return Completed("EXAMINE completed", b"READ-ONLY", is_fresh=True)
    return Completed("SELECT completed", b"READ-WRITE", is_fresh=True)


async def _first_unseen(session: IMAPSession, view: View) -> int:
    """Its UID, 0: there is none."""
    model = view.model
    for start in range(0, len(model.uids), SLICE):
        unseen = [number for number, flags in enumerate(model.flag_sets) if "\\Seen" not in flags]
        at = first_place(model.flag_ids[start : start + SLICE], unseen)
        if at >= 0:
            uid = model.uids[start + at]
            return uid if uid <= view.max_uid else 0
        await session.breathe()
    return 0
