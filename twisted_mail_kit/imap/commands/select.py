"""SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2; RFC 7162 3.1.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted_mail_kit.imap.commands.basis import Completed
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
    unseen = _first_unseen(view.model.flag_sets, model.flag_ids)
    if unseen:
        session.outflow.write(responses.ok(None, "The first unseen message", b"UNSEEN %d" % unseen))
    session.say(
        [
            responses.ok(None, "UIDs are valid", b"UIDVALIDITY %d" % model.mailbox.uidvalidity),
            responses.ok(None, "The next UID", b"UIDNEXT %d" % model.uidnext),
            responses.ok(None, "The highest modseq", b"HIGHESTMODSEQ %d" % max(1, model.mailbox.modseq)),
        ]
    )
    if command.read_only:
        return Completed("EXAMINE completed", b"READ-ONLY")
    return Completed("SELECT completed", b"READ-WRITE")


def _first_unseen(flag_sets: list[frozenset[str]], flag_ids: Iterable[int]) -> int:
    unseen = {number for number, flags in enumerate(flag_sets) if "\\Seen" not in flags}
    return next((at for at, number in enumerate(flag_ids, 1) if number in unseen), 0)
