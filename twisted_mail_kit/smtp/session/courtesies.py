"""NOOP, HELP, VRFY, EXPN and QUIT: what says nothing about a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.smtp.wire.commands import Expn, Help, Noop, Quit, Vrfy
from twisted_mail_kit.smtp.wire.replies import Reply, reply

if TYPE_CHECKING:
    from twisted_mail_kit.smtp.session.session import SMTPSession

_NOOP = reply(250, "2.0.0", "Still here")
_HELP = reply(214, "2.0.0", "MAIL, RCPT, DATA, as in RFC 5321")
_VRFY = reply(252, "2.5.2", "Send some mail, and see")
_EXPN = reply(502, "5.5.1", "EXPN is not offered")


async def noop(session: SMTPSession, command: Noop) -> Reply | None:
    """RFC 5321 4.1.1.9."""
    return _NOOP


async def give_help(session: SMTPSession, command: Help) -> Reply | None:
    """RFC 5321 4.1.1.8."""
    return _HELP


async def vrfy(session: SMTPSession, command: Vrfy) -> Reply | None:
    """RFC 5321 3.5.3, 7.3: who is here is nobody's business."""
    return _VRFY


async def expn(session: SMTPSession, command: Expn) -> Reply | None:
    """As VRFY."""
    return _EXPN


async def leave(session: SMTPSession, command: Quit) -> Reply | None:
    """RFC 5321 4.1.1.10."""
    return session.end(reply(221, "2.0.0", f"{session.hostname} Goodbye"))
