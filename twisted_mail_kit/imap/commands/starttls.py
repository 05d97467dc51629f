"""STARTTLS (RFC 3501 6.2.1, RFC 2595 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mail_kit.errors import ConnectionEnded
from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.outcomes import Mistake
from twisted_mail_kit.imap.wire import commands, responses

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def starttls(session: IMAPSession, command: commands.StartTls) -> Completed | None:
    """Put TLS under the session. A command that was pipelined behind it ends the session: a stranger may have put
    it there, and whoever says it is no client to trust."""
    if session.server.certificates is None or session.is_tls():
        session.wire.resume()
        raise Mistake("TLS is there already" if session.is_tls() else "There is no TLS here")
    if session.wire.has_leftover or session.inbox.has_more():
        session.outflow.write(responses.bad(command.tag, "Nothing may follow STARTTLS before the handshake"))
        session.bye("Nothing may follow STARTTLS before the handshake")
        session.log.info("octets behind STARTTLS from {peer} (imap)", peer=session.peer.host)
        return None
    session.outflow.write(responses.ok(command.tag, "Begin TLS negotiation now"))
    session.outflow.flush()
    if session.outflow.is_full():
        await session.outflow.drained()
    if session.transport is None:
        raise ConnectionEnded("the peer is gone")
    session.start_tls(session.server.certificates)
    return None
