"""HELO, EHLO, LHLO and STARTTLS: who is there, what we can do, and TLS."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_mail_kit.smtp.wire.commands import Hello, StartTls
from twisted_mail_kit.smtp.wire.replies import Reply, reply
from twisted_mail_kit.smtp.wire.states import State

if TYPE_CHECKING:
    from twisted_mail_kit.smtp.session.session import SMTPSession


async def hello(session: SMTPSession, command: Hello) -> Reply | None:
    """RFC 5321 4.1.1.1, RFC 2033 4.1. Raises what the target raises; all is as before then."""
    if (command.verb == "LHLO") is not session.is_lmtp:
        return reply(500, "5.5.1", f"Say {'LHLO' if session.is_lmtp else 'EHLO'}")
    if session.talks_ahead():
        # RFC 2920 3.1: EHLO is the last of a group; nobody knows before its answer that we take groups at all.
        return session.send_away_the_hasty(command.verb)
    session.know_tls()
    peer = replace(session.peer, name=command.name, esmtp=command.verb != "HELO")
    await session.ask(session.target.greeted(peer))
    await session.forget_transaction()
    session.peer = peer
    session.state = State.GREETED
    if not peer.esmtp:
        return reply(250, "", session.hostname)
    return reply(250, "", f"{session.hostname} greets {command.name}", *extensions(session))


def extensions(session: SMTPSession) -> list[str]:
    """What the answer to EHLO offers to this peer, now."""
    settings = session.settings
    offered = [
        "PIPELINING",
        f"SIZE {settings.message_size}",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "BINARYMIME",
        "ENHANCEDSTATUSCODES",
        "DSN",
        f"LIMITS MAILMAX={settings.messages} RCPTMAX={settings.recipients}",
        "HELP",
    ]
    if session.certificates is not None and not session.is_tls():
        offered.append("STARTTLS")
    if session.authenticator is not None and not session.peer.login:
        mechanisms = session.authenticator.mechanisms(session.peer)
        if mechanisms:
            offered.append(f"AUTH {' '.join(mechanisms)}")
    if session.offers_requiretls():
        offered.append("REQUIRETLS")
    return offered


async def start_tls(session: SMTPSession, command: StartTls) -> Reply | None:
    """RFC 3207."""
    if session.is_tls():
        return reply(503, "5.5.1", "TLS is on already")
    if session.certificates is None:
        return reply(502, "5.5.1", "STARTTLS is not offered")
    if session.is_ahead():
        # What follows in clear text may be a stranger's, who wants it to be taken for the client's under TLS.
        session.log.warn("commands behind STARTTLS from {peer}", peer=session.caller)
        return session.end(reply(554, "5.5.0", "STARTTLS has to be the last command of a group"))
    await session.forget_transaction()
    session.say(reply(220, "2.0.0", "Go ahead"))
    # RFC 3207 4.2: forget what was said before TLS, the name and the login too.
    session.start_tls(session.certificates)
    session.state = State.NEW
    return None
