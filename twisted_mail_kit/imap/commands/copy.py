"""COPY and MOVE (RFC 3501 6.4.7, RFC 6851, RFC 4315)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted_mail_kit.errors import MailboxNotFound, MessageNotFound
from twisted_mail_kit.imap.commands.basis import AT_ONCE, Completed, resolve
from twisted_mail_kit.imap.outcomes import Refusal
from twisted_mail_kit.imap.view import View
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.interfaces import Copied, Copy, Move, Remove

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
    try:
        code = await (_move if command.move else _copy)(session, view, uids, target.id)
    except MailboxNotFound:
        await view.model.refresh()
        if view.model.is_gone:
            raise
        raise _try_create() from None
    return Completed(f"{name} completed", code)


async def _move(session: IMAPSession, view: View, uids: Sequence[int], target: str) -> bytes:
    for start in range(0, len(uids), AT_ONCE):
        moved = await _do(session, Move(view.model.mailbox.id, uids[start : start + AT_ONCE], target))
        code = responses.copyuid(moved.uidvalidity, responses.copied_sets(moved.pairs))
        # RFC 6851 4.3: before the EXPUNGE responses, so that a client can tell what went where.
        if code:
            session.outflow.write(responses.ok(None, "Moved", code))
        await session.breathe()
    return b""


async def _copy(session: IMAPSession, view: View, uids: Sequence[int], target: str) -> bytes:
    made, sets, uidvalidity = array("I"), [], 0
    try:
        for start in range(0, len(uids), AT_ONCE):
            copied = await _do(session, Copy(view.model.mailbox.id, uids[start : start + AT_ONCE], target))
            made.extend([uid for _, uid in copied.pairs])
            sets.append(responses.copied_sets(copied.pairs))
            uidvalidity = copied.uidvalidity
            await session.breathe()
    except Exception:
        # RFC 3501 6.4.7: the mailbox is to be what it was before.
        for start in range(0, len(made), AT_ONCE):
            await _remove(session, target, made[start : start + AT_ONCE])
        raise
    return responses.copyuid(uidvalidity, *sets)


async def _do(session: IMAPSession, op: Copy | Move) -> Copied:
    copied = (await session.account.apply([op])).results[0]
    assert isinstance(copied, Copied)
    return copied


async def _remove(session: IMAPSession, mailbox_id: str, uids: Sequence[int]) -> None:
    try:
        await session.account.apply([Remove(mailbox_id, uids)])
    except MailboxNotFound:
        pass  # there is nothing left to be what it was


def _try_create() -> Refusal:
    return Refusal("No such mailbox; make it first", b"TRYCREATE")
