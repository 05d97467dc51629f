"""STATUS (RFC 3501 6.3.10; RFC 7162 3.1.7; RFC 8438)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.outcomes import Mistake
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.mail.facts import Mailbox

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def status(session: IMAPSession, command: commands.Status) -> Completed:
    """Of one mailbox, without selecting it."""
    mailbox = await session.home.mailbox(command.mailbox)
    items = await status_items(session, mailbox, command.items)
    session.outflow.write(responses.status_line(mailbox.name, items))
    return Completed("STATUS completed")


async def status_items(session: IMAPSession, mailbox: Mailbox, names: Iterable[str]) -> list[tuple[str, int]]:
    """What STATUS, and LIST with STATUS, answer."""
    items: list[tuple[str, int]] = []
    for name in names:
        if name == "RECENT":
            items.append((name, await session.home.recent_count(mailbox)))
            continue
        if name == "HIGHESTMODSEQ":
            session.is_condstore = True
        fact = _FACTS.get(name)
        if fact is None:
            raise Mistake("There is an item in it that is not known here")
        items.append((name, max(1, mailbox.modseq) if fact == "modseq" else getattr(mailbox, fact)))
    return items


_FACTS = {
    "MESSAGES": "total",
    "UIDNEXT": "uidnext",
    "UIDVALIDITY": "uidvalidity",
    "UNSEEN": "unseen",
    "HIGHESTMODSEQ": "modseq",
    "SIZE": "size",
}
