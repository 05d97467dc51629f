"""LOGIN and AUTHENTICATE (RFC 3501 6.2.2, 6.2.3; RFC 4959)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted_mail_kit.errors import BadSyntax, LimitReached
from twisted_mail_kit.imap.commands.basis import Completed
from twisted_mail_kit.imap.outcomes import Mistake, Refusal, refusal_of
from twisted_mail_kit.imap.wire import commands, responses
from twisted_mail_kit.imap.wire.events import BadCommand, Response
from twisted_mail_kit.interfaces import IAccount

if TYPE_CHECKING:
    from twisted_mail_kit.imap.session import IMAPSession


async def login(session: IMAPSession, command: commands.Login) -> Completed:
    """RFC 3501 6.2.3."""
    if not session.may_login():
        raise Refusal("LOGIN is refused in clear text; begin with STARTTLS", b"PRIVACYREQUIRED")
    try:
        user, password = command.user.decode(), command.password.decode()
    except UnicodeDecodeError:
        raise Refusal("Authentication failed", b"AUTHENTICATIONFAILED") from None
    return _welcome(session, await session.server.authenticator.login(user, password, session.peer), "LOGIN")


async def authenticate(session: IMAPSession, command: commands.Authenticate) -> Completed:
    """RFC 3501 6.2.2."""
    doorkeeper, peer = session.server.authenticator, session.peer
    offered = [name.upper() for name in doorkeeper.mechanisms(peer)]
    if command.mechanism.upper() not in offered:
        if not offered and not session.may_login():
            raise Refusal("AUTHENTICATE is refused in clear text; begin with STARTTLS", b"PRIVACYREQUIRED")
        raise Refusal("No such mechanism", b"CANNOT")
    exchange = doorkeeper.begin(command.mechanism.upper(), peer)
    response = command.initial
    try:
        while True:
            answer = await exchange.respond(response)
            if not isinstance(answer, bytes):
                return _welcome(session, answer, "AUTHENTICATE")
            session.outflow.write(responses.challenge(answer))
            session.wire.expect_response()
            event = await session.hear()
            if isinstance(event, BadCommand):
                if event.fatal:
                    session.bye("What follows cannot be understood")
                raise refusal_of(event)
            octets = cast(Response, event).octets
            if octets is None:
                raise Mistake("AUTHENTICATE was given up")
            response = octets
    except BadSyntax:
        raise Mistake("The response is not of the mechanism's form") from None


def _welcome(session: IMAPSession, account: IAccount, name: str) -> Completed:
    try:
        session.enter(account)
    except LimitReached as problem:
        session.log.info(
            "login refused for {user} from {peer}: too many sessions", user=account.name, peer=session.peer.host
        )
        raise Refusal("Too many sessions of this account", b"LIMIT", problem.limit) from None
    return Completed(f"{name} completed", responses.capability(session.capabilities()))
