"""AUTH: one SASL exchange (RFC 4954)."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from twisted_mail_kit.errors import AuthenticationFailed, BadSyntax, ConnectionEnded, MechanismNotSupported
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.smtp.outcomes import reply_to
from twisted_mail_kit.smtp.wire.commands import Auth, BadLine, Response
from twisted_mail_kit.smtp.wire.replies import Reply, reply

if TYPE_CHECKING:
    from twisted_mail_kit.smtp.session.session import SMTPSession

_DONE = reply(235, "2.7.0", "Welcome")
_LOGGED_IN = reply(503, "5.5.1", "You are logged in already")
_NOT_OFFERED = reply(502, "5.5.1", "AUTH is not offered")
_ENCRYPT = reply(538, "5.7.11", "Not in clear text; say STARTTLS first")
_NO_MECHANISM = reply(504, "5.5.4", "No such mechanism here")
_CANCELLED = reply(501, "5.7.0", "Cancelled")
_BASE64 = reply(501, "5.5.2", "Malformed base64")
_LATER = reply(454, "4.7.0", "Cannot check that now, try again later")


async def auth(session: SMTPSession, command: Auth) -> Reply | None:
    """RFC 4954 4."""
    authenticator = session.authenticator
    if authenticator is None:
        return _NOT_OFFERED
    if session.peer.login:
        return _LOGGED_IN
    mechanisms = authenticator.mechanisms(session.peer)
    if not mechanisms and not session.peer.tls and not session.peer.is_local:
        return _ENCRYPT
    if command.mechanism not in mechanisms:
        return _NO_MECHANISM
    try:
        exchange = authenticator.begin(command.mechanism, session.peer)
        response: bytes | None = None
        if command.initial is not None:
            # "=" stands for an initial response that is there, and empty.
            response = b"" if command.initial == b"=" else _decode(command.initial)
        while isinstance(answer := await session.ask(exchange.respond(response)), bytes):
            session.outflow.write(b"334 %s\r\n" % binascii.b2a_base64(answer, newline=False))
            session.wire.expect_response()
            event = await session.hear(session.settings.time_between_commands)
            if isinstance(event, BadLine):
                if event.is_too_long:
                    limits.SMTP_LINE.value += 1
                return event.reply
            assert isinstance(event, Response)
            if event.octets == b"*":
                return _CANCELLED
            response = _decode(event.octets)
    except ConnectionEnded:
        raise
    except (AuthenticationFailed, MechanismNotSupported) as problem:
        return reply_to(problem)
    except BadSyntax:
        return _BASE64
    except Exception as problem:
        told = session.explain(problem, "login")
        return told if told.enhanced == "4.7.0" or told.code >= 500 else _LATER._replace(lines=told.lines)
    session.know(login=answer.name)
    return _DONE


def _decode(octets: bytes) -> bytes:
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        raise BadSyntax("malformed base64") from None
