"""CHECK, CLOSE, UNSELECT, EXPUNGE, UID EXPUNGE (RFC 3501 6.4.1 to 6.4.3, RFC 3691, RFC 4315)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted_mail_kit.errors import MailboxNotFound
from twisted_mail_kit.imap.commands.basis import AT_ONCE, Completed
from twisted_mail_kit.imap.packed import SLICE
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
        uids = view.resolve(command.uids, by_uid=True)[0]
    await _remove_deleted(session, view, uids)
    return Completed("EXPUNGE completed")


async def _remove_deleted(session: IMAPSession, view: View, among: Sequence[int] | None) -> None:
    model = view.model
    await model.refresh()
    marks = {number for number, flags in enumerate(model.flag_sets) if "\\Deleted" in flags}
    if not marks:
        return
    if among is None:
        among = model.uids[:]
    deleted = array("I")
    for start in range(0, len(among), SLICE):
        places = model.places(list(among[start : start + SLICE]))
        if isinstance(places, range):  # as most often: one look at all of them
            numbers = model.flag_ids[places.start : places.stop]
            places = [] if marks.isdisjoint(numbers) else places
        deleted.extend([model.uids[at] for at in places if model.flag_ids[at] in marks])
        await session.breathe()
    for start in range(0, len(deleted), AT_ONCE):
        await session.account.apply([Remove(model.mailbox.id, deleted[start : start + AT_ONCE])])
