"""COPY and MOVE (RFC 3501 6.4.7, RFC 6851, RFC 4315)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.errors import MailboxNotFound, MessageNotFound
from twisted_mail_kit.imap.commands.basis import Completed, resolve
from twisted_mail_kit.imap.outcomes import Refusal
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.interfaces import Copied, Copy, Move

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def copy(session: IMAPSession, command: commands.Copy) -> Completed:
    """All or nothing: with a message that is gone already, and named by its number, nothing is done."""
    name = "MOVE" if command.move else "COPY"
    view = session.writable if command.move else session.view
    uids, some_gone = resolve(view, command.messages, command.by_uid)
    try:
        target = await session.home.mailbox(command.mailbox)
    except MailboxNotFound:
        raise _try_create() from None
    if some_gone:
        raise MessageNotFound("RFC 2180 4.4")
    if not uids:
        return Completed(f"{name} completed; there was nothing to do")
    make = Move if command.move else Copy
    try:
        applied = await session.account.apply([make(view.model.mailbox.id, uids, target.id)])
    except MailboxNotFound:
        await view.model.refresh()
        if view.model.is_gone:
            raise
        raise _try_create() from None
    copied = applied.results[0]
    assert isinstance(copied, Copied)
    code = responses.copyuid(copied.uidvalidity, copied.pairs)
    if command.move:
        # RFC 6851 4.3: before the EXPUNGE responses, so that a client can tell what went where.
        if code:
            session.outflow.write(responses.ok(None, "Moved", code))
        return Completed("MOVE completed")
    return Completed("COPY completed", code)


def _try_create() -> Refusal:
    return Refusal("No such mailbox; make it first", b"TRYCREATE")
