"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7, RFC 6154)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.errors import LimitReached, MailboxExists, MailboxNotFound
from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.names import INBOX, Tree
from twisted_mail_kit.imap.outcomes import Refusal
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.imap.wire.commands import Path
from twisted_mail_kit.interfaces import CreateMailbox, DeleteMailbox, Move, Operation, UpdateMailbox
from twisted_mail_kit.mail.flags import role_of_use

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def create(session: IMAPSession, command: commands.Create) -> Completed:
    """Parents need not be made: a name above another is there by itself, as ``\\Noselect``."""
    path = command.mailbox
    tree = Tree(await session.home.mailboxes())
    if path in tree.mailboxes:
        raise MailboxExists("/".join(path))
    _check_name(session, path)
    if len(tree.mailboxes) >= session.settings.mailboxes:
        raise LimitReached("mailboxes")
    role = None
    if command.uses:
        # RFC 6154 3: what cannot be given that use is not made at all.
        roles = [role_of_use(use) for use in command.uses]
        role = roles[0]
        if len(set(roles)) > 1 or role is None:
            raise Refusal("A mailbox cannot have this use here", b"USEATTR")
        if any(mailbox.role == role for mailbox in tree.mailboxes.values()):
            raise Refusal("Another mailbox has this use already", b"USEATTR")
    await session.account.apply([CreateMailbox(path, role, subscribed=False)])
    return Completed("CREATE completed")


async def delete(session: IMAPSession, command: commands.Delete) -> Completed:
    """What is below stays, and keeps the name in LIST as ``\\Noselect``."""
    path = command.mailbox
    tree = Tree(await session.home.mailboxes())
    mailbox = tree.mailboxes.get(path)
    if mailbox is None:
        if tree.has_children(path):
            raise Refusal("It is no mailbox, only the name above others", b"HASCHILDREN")
        raise MailboxNotFound("/".join(path))
    if path == INBOX:
        raise Refusal("INBOX is never deleted", b"CANNOT")
    await session.account.apply([DeleteMailbox(mailbox.id)])
    if session.selected is not None and session.selected.model.mailbox.id == mailbox.id:
        session.leave_mailbox()
        session.outflow.write(responses.ok(None, "The mailbox that was selected is deleted", b"CLOSED"))
    return Completed("DELETE completed")


async def rename(session: IMAPSession, command: commands.Rename) -> Completed:
    """With all that is below, in one transaction. INBOX keeps its name: its messages go to the new mailbox."""
    old, new = command.mailbox, command.new_name
    tree = Tree(await session.home.mailboxes())
    if not tree.exists(old):
        raise MailboxNotFound("/".join(old))
    if new in tree.mailboxes:
        raise MailboxExists("/".join(new))
    _check_name(session, new)
    if old == INBOX:
        await _empty_inbox(session, tree, new)
        return Completed("RENAME completed")
    if new[: len(old)] == old:
        raise Refusal("A mailbox cannot go below itself", b"CANNOT")
    moved = tree.below(old)
    if old in tree.mailboxes:
        moved.append(tree.mailboxes[old])
    ops: list[Operation] = []
    for mailbox in moved:
        path = new + mailbox.name[len(old) :]
        _check_name(session, path)
        ops.append(UpdateMailbox(mailbox.id, name=path))
    await session.account.apply(ops)
    return Completed("RENAME completed")


async def subscribe(session: IMAPSession, command: commands.Subscribe) -> Completed:
    """Only mailboxes that are there can be subscribed to."""
    mailbox = await session.home.mailbox(command.mailbox)
    if mailbox.subscribed != command.on:
        await session.account.apply([UpdateMailbox(mailbox.id, subscribed=command.on)])
    return Completed("SUBSCRIBE completed" if command.on else "UNSUBSCRIBE completed")


async def _empty_inbox(session: IMAPSession, tree: Tree, new: Path) -> None:
    if len(tree.mailboxes) >= session.settings.mailboxes:
        raise LimitReached("mailboxes")
    inbox = tree.mailboxes[INBOX]
    uids: list[int] = []
    while True:
        page = await session.account.messages(inbox.id, after=uids[-1] if uids else 0, limit=1000)
        uids.extend(row.uid for row in page)
        if len(page) < 1000:
            break
        await session.breathe()
    ops: list[Operation] = [CreateMailbox(new, subscribed=False)]
    if uids:
        ops.append(Move(inbox.id, uids, "#0"))
    await session.account.apply(ops)


def _check_name(session: IMAPSession, path: Path) -> None:
    settings = session.settings
    if path == INBOX:
        raise MailboxExists("INBOX")
    if len(path) > settings.name_depth:
        raise Refusal("The name has too many levels", b"LIMIT", "name_depth")
    if not path or not all(path):
        raise Refusal("A level of the name is empty", b"CANNOT")
    for level in path:
        if len(level.encode("utf-8", "replace")) > settings.name_length:
            raise Refusal("The name is too long", b"LIMIT", "name_length")
        # Such names have broken clients, logs and exports; nobody means them.
        if not level.isprintable() or level in (".", "..") or level != level.strip():
            raise Refusal("Mailbox names are printable, without space around", b"CANNOT")
        if any(letter in "*%" for letter in level):
            raise Refusal("Mailbox names have no wildcards", b"CANNOT")
