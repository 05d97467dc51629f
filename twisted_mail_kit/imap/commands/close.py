"""CHECK, CLOSE, UNSELECT, EXPUNGE, UID EXPUNGE (RFC 3501 6.4.1 to 6.4.3, RFC 3691, RFC 4315)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.errors import MailboxNotFound
from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import commands
from twisted_mail_kit.interfaces import Remove

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def check(session: IMAPSession, command: commands.Check) -> Completed:
    """Everything is durable already."""
    return Completed("CHECK completed")


async def close(session: IMAPSession, command: commands.Close) -> Completed:
    """CLOSE removes what is marked as deleted without telling, and not after EXAMINE; UNSELECT removes nothing."""
    view = session.selected
    if view is not None and command.expunge and not view.is_read_only and not view.model.is_gone:
        try:
            await _remove_deleted(session, view, None)
        except MailboxNotFound:
            pass  # another session has deleted the mailbox: there is nothing left to remove
    session.leave_mailbox()
    return Completed("CLOSE completed" if command.expunge else "UNSELECT completed")


async def expunge(session: IMAPSession, command: commands.Expunge) -> Completed:
    """The EXPUNGE responses come with whatever else is new."""
    view = session.writable
    uids = None
    if command.uids is not None:
        uids = set(view.resolve(command.uids, by_uid=True)[0])
    await _remove_deleted(session, view, uids)
    return Completed("EXPUNGE completed")


async def _remove_deleted(session: IMAPSession, view: View, among: set[int] | None) -> None:
    model = view.model
    await model.refresh()
    deleted = {number for number, flags in enumerate(model.flag_sets) if "\\Deleted" in flags}
    uids = [
        uid
        for uid, number in zip(model.uids, model.flag_ids, strict=True)
        if number in deleted and (among is None or uid in among)
    ]
    if uids:
        await session.account.apply([Remove(model.mailbox.id, uids)])
