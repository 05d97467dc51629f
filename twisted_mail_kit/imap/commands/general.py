"""CAPABILITY, NOOP, ID, ENABLE, NAMESPACE, LOGOUT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.wire import commands, responses

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def capability(session: IMAPSession, command: commands.Capability) -> Completed:
    """RFC 3501 6.1.1."""
    session.outflow.write(responses.untagged(responses.capability(session.capabilities())))
    return Completed("CAPABILITY completed")


async def noop(session: IMAPSession, command: commands.Noop) -> Completed:
    """RFC 3501 6.1.2. What is new is told after every command; this one is for those who have nothing else to say."""
    return Completed("NOOP completed")


async def identify(session: IMAPSession, command: commands.Id) -> Completed:
    """RFC 2971. The version is nobody's business before a bug report."""
    session.outflow.write(responses.id_line([(b"name", b"twisted_mail_kit")]))
    return Completed("ID completed")


async def enable(session: IMAPSession, command: commands.Enable) -> Completed:
    """RFC 5161: what is not known, or cannot be enabled, is passed over."""
    enabled = []
    for name in command.capabilities:
        if name == "CONDSTORE" and name not in enabled:
            session.is_condstore = True
            enabled.append(name)
    session.outflow.write(responses.enabled(enabled))
    return Completed("ENABLE completed")


async def namespace(session: IMAPSession, command: commands.Namespace) -> Completed:
    """RFC 2342: one's own mailboxes, and no others."""
    session.outflow.write(responses.untagged(b'NAMESPACE (("" "/")) NIL NIL'))
    return Completed("NAMESPACE completed")


async def logout(session: IMAPSession, command: commands.Logout) -> Completed:
    """RFC 3501 6.1.3. Deleted messages stay: only CLOSE and EXPUNGE remove."""
    session.leave_mailbox()
    session.bye("Goodbye")
    return Completed("LOGOUT completed")
